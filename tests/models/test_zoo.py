"""Trained models as their exporters left them, each compiled for symbolic sizes and compared with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import tgen

pytestmark = [pytest.mark.fetch, pytest.mark.peer("onnxruntime")]
Feeds = dict[str, np.ndarray]
rng = np.random.default_rng


def bert_inputs(batch: int, seq: int) -> Feeds:
    ids = rng(seq).integers(1000, 20000, (batch, seq))
    mask = (np.arange(seq) < np.linspace(seq, seq // 2, batch).astype(int)[:, None]).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def picture(name: str) -> Callable[..., Feeds]:
    return lambda *shape: {name: rng(shape[-1]).random(shape, np.float32)}


def sound(batch: int, rate: int) -> Feeds:
    """36 ms of sound, the state of the cells before them; which of two networks it is for depends on the rate."""
    draw = rng(batch)
    samples = draw.random((batch, rate * 36 // 1000), np.float32) - 0.5
    return {"input": samples, "state": draw.random((2, batch, 128), np.float32), "sr": np.array(rate)}


def windows_of_text(count: int) -> Feeds:
    """Numbers of letters and of kinds of letters, as floats, around each place."""
    return {name: rng(count).integers(0, 12, (count, 21)).astype(np.float32) for name in ("input_1", "input_2")}


def letters(words: int, longest: int) -> Feeds:
    """One of 59 letters at each place; nothing behind a word's end."""
    one = np.eye(59, dtype=np.float32)[rng(words).integers(0, 59, (words, longest))]
    return {"lstm_input": one * (np.arange(longest) < np.arange(longest, longest - words, -1)[:, None])[..., None]}


def speech(batch: int, samples: int) -> Feeds:
    """Sound; all of it belongs to the first of a batch, less to the next."""
    lengths = samples - 160 * np.arange(batch)
    return {"waveforms": rng(batch).standard_normal((batch, samples), np.float32), "waveforms_lens": lengths}


@dataclass(frozen=True)
class Case:
    """sizes: arguments of `feeds`, one tuple a run.

    tolerance: of the largest value of an output; float32 through a deep network, or numbers quantised in the run, one of which may be
        rounded to the other side. least: what is taken for that at least, 1 where outputs are
        sigmoids of noise, far below 1: ONNX Runtime's are off by a bit of 1.
    """

    feeds: Callable[..., Feeds]
    sizes: tuple[tuple[int, ...], ...]
    tolerance: float = 1e-5
    least: float = 0.0


CASES = {
    "silero-vad": Case(sound, ((1, 16000), (3, 16000), (2, 8000)), tolerance=5e-6, least=1.0),
    "ocr-recognition": Case(picture("x"), ((1, 3, 48, 320), (2, 3, 48, 104)), tolerance=5e-5),
    "ocr-orientation": Case(picture("x"), ((1, 3, 48, 192), (2, 3, 64, 100))),
    "ocr-detection": Case(picture("x"), ((1, 3, 96, 160), (2, 3, 64, 96)), tolerance=5e-7, least=1.0),
    "vit-saliency": Case(picture("input_image"), ((1, 3, 224, 224),)),
    "magika": Case(lambda n: {"bytes": rng(n).integers(0, 257, (n, 2048), np.int32)}, ((1,), (3,))),
    "ddddocr": Case(picture("input1"), ((1, 1, 64, 160), (1, 1, 64, 75))),
    "minilm-int8": Case(bert_inputs, ((1, 33), (3, 10))),
    "words-thai": Case(windows_of_text, ((1,), (7,)), tolerance=5e-6, least=1.0),
    "words-by-letters": Case(letters, ((1, 9), (3, 14))),
    "speaker-features": Case(speech, ((1, 4000), (3, 6480)), tolerance=5e-5),
    "seizures": Case(picture("x"), ((1, 100, 33), (2, 100, 20)), tolerance=5e-6, least=1.0),
    "tashkeel": Case(lambda *shape: {"input": rng(shape[-1]).integers(1, 31, shape)}, ((1, 33), (2, 10)), tolerance=0.02),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_as_onnx_runtime(name: str, known_model: Callable[[str], Path]) -> None:
    import onnxruntime

    path, case = known_model(name), CASES[name]
    run = tgen.compile(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # else sums of 8-bit products saturate
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for size in case.sizes:
        feeds = case.feeds(*size)
        found = run.run(feeds)
        wanted = session.run(None, feeds)
        for label, x, y in zip((output.name for output in session.get_outputs()), found.values(), wanted, strict=True):
            scale = max(np.abs(y).max(), case.least)
            np.testing.assert_allclose(x, y, rtol=0, atol=case.tolerance * scale, err_msg=f"{label} {size}")
