"""Kokoro, text to speech: compiled whole, and compared with ONNX Runtime section by section.

Its sound says nothing. The model quantises what it computes again and again, so a difference of 3e-7 puts a number on the other side of a
rounding, later layers make more of it, and in the end words take other times. ONNX Runtime differs as much from itself when one weight
changes by 4e-6.

So the model is cut at every value that is about to jump. tgen computes the whole, values at the cuts are further outputs. ONNX Runtime gets
it cut open, and computes each section from tgen's values:

    tgen            … ─▶ x ──────▶ quantised ─▶ …       x is an output, too
    ONNX Runtime    … ─▶ x'   x ─▶ quantised ─▶ …       x is an input, x' an output that is compared with it

Both round the same bits to the same integers; between two cuts only float32 arithmetic differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tgen

pytestmark = [pytest.mark.fetch, pytest.mark.peer("onnxruntime"), pytest.mark.slow]

LSTM = "DynamicQuantizeLSTM"
JUMPS = {"DynamicQuantizeLinear", LSTM, "Round", "Floor", "Greater", "Less"}  # results do not follow the first input smoothly
# Two more cuts. Phases of a voice's overtones grow to thousands, where float32 steps by thousandths: the sines of equal ones are compared.
PHASES = "/decoder/decoder/generator/m_source/l_sin_gen/Transpose_3_output_0"
LENGTHS = "/encoder/Gather_output_0"  # i64[tokens]: for how many frames each is spoken
FRAME = 600  # samples


@dataclass(frozen=True)
class Limit:
    """Differences that are allowed, of a tensor's largest value: of one element, and the mean of all."""

    most: float
    mean: float


# Half of the tensors differ by less than 4e-7, all but one by less than 1e-5. That one is a normalisation over 13,561 samples, of which a
# channel's mean is 84 times its deviation, and so is what rounding the mean comes to: 3e-5, most of it ONNX Runtime's (by float64).
# Means of differences are below 6e-7. A step of quantisation is 4e-3; where one weight of a layer is off by one, 4 of 5 sections notice.
FLOAT = Limit(most=1e-4, mean=2e-6)
# No cut is possible inside of these, which quantise their state at each turn, by steps of 2/255 at most. In an eighth of the runs one of its
# numbers is rounded to the other side, and the turns that follow differ by what rounding makes of that: within 2 steps, a 40th of one in
# the mean, in 270 runs on three targets. The other runs agree to 3e-6.
STEPS = Limit(most=4 * 2 / 255, mean=0.1 * 2 / 255)


def utterance(tokens: int) -> dict[str, np.ndarray]:
    """Random sounds between two pauses, and a voice that nobody has."""
    draw = np.random.default_rng(tokens)
    sounds = draw.integers(40, 161, (1, tokens))
    sounds[0, [0, -1]] = 0
    style = (draw.standard_normal((1, 256)) * 0.1).astype(np.float32)
    return {"tokens": sounds, "style": style, "speed": np.ones(1, np.float32)}


def cuts(model: Any) -> dict[str, Limit]:
    """The values where the model is cut, and how well what leads to each must agree."""
    made = {name for node in model.graph.node for name in node.output}

    def found() -> Iterator[tuple[str, Limit]]:
        yield from ((name, FLOAT) for name in (PHASES, LENGTHS))
        for node in model.graph.node:
            if node.op_type in JUMPS and node.input[0] in made:
                yield node.input[0], FLOAT
            if node.op_type == LSTM:
                yield node.output[0], STEPS

    return dict(found())


def with_outputs(path: Path, names: Iterable[str]) -> Any:
    """The model that gives these values, too."""
    import onnx

    model = onnx.load(path)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return model


def cut_open(path: Path, values: Mapping[str, np.ndarray]) -> Any:
    """A session of the model that is given these values, and gives what it would have made of its own accord: x' for x."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = [f"{name}'" if name in values else name for name in node.output]
    for name, value in values.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, None))
        model.graph.output.append(onnx.ValueInfoProto(name=f"{name}'"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # each operator by itself
    options.add_session_config_entry("session.x64quantprecision", "1")  # else sums of 8-bit products saturate
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def misfit(found: np.ndarray, wanted: np.ndarray, limit: Limit) -> str:
    """What is wrong about what tgen found; nothing if they agree."""
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return f"{found.dtype}{list(found.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    if found.dtype.kind != "f":
        return "" if np.array_equal(found, wanted) else f"{np.sum(found != wanted)} of {found.size} differ"
    apart = np.abs(found - wanted) / np.abs(wanted).max(initial=1e-30)
    most, mean = apart.max(initial=0), apart.mean()
    return "" if most <= limit.most and mean <= limit.mean else f"differs by {most:.1e}, {mean:.1e} in the mean"


def test_as_onnx_runtime(known_model: Callable[[str], Path]) -> None:
    import onnx

    path = known_model("kokoro")
    limits = cuts(onnx.load(path))
    run = tgen.compile(with_outputs(path, limits), cache=False)
    session = None
    for tokens in (50, 23):
        feeds = utterance(tokens)
        found = run.run(feeds)
        lengths = found[LENGTHS]
        assert lengths.shape == (tokens,) and lengths.min() >= 1
        assert found["audio"].shape == (FRAME * lengths.sum(),)
        assert all(np.isfinite(value).all() for value in found.values())
        values = {name: found[name] for name in limits}
        session = session or cut_open(path, values)
        labels = [output.name.removesuffix("'") for output in session.get_outputs()]
        wanted = dict(zip(labels, session.run(None, feeds | values)))
        assert wanted.keys() == found.keys()
        misfits = {name: misfit(found[name], value, limits.get(name, FLOAT)) for name, value in wanted.items()}
        assert not any(misfits.values()), "\n".join(f"{tokens} {name} {text}" for name, text in misfits.items() if text)
