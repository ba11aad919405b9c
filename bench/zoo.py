"""Trained models of other people beside ONNX Runtime and OpenVINO: every contestant in a process of its own, in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import tgen
from tgen.bench import compare
from tgen.bench.rows import Row
from tgen.models.known import fetch_model

from .report import Measurement, Settings, Table

PEERS = ("onnxruntime", "openvino")
SIZES = {
    "ocr-detection": {"DynamicDimension_0": 1, "DynamicDimension_1": 480, "DynamicDimension_2": 640},
    "ocr-recognition": {"DynamicDimension_0": 1, "DynamicDimension_1": 320},
    "ocr-orientation": {"x_0": 1, "x_2": 48, "x_3": 192},
    "magika": {"unk__214": 1},
    "ddddocr": {"image_width": 160},
    "minilm-int8": {"batch": 1, "sequence": 64},
    "vit-saliency": {},
    "seizures": {"batch": 1, "time": 100},
    "words-by-letters": {"unk__487": 1, "unk__488": 9},
    "speaker-features": {"batch_size": 1, "N": 16000},
    "silero-vad": {"input_0": 1, "input_1": 576, "state_1": 1},
    "kokoro": {"sequence_length": 50},
}
FIXED = {"silero-vad": {"sr": 16000}}  # inputs that are constants in what is measured
# Inputs that may not be just any numbers. How long speech takes depends on the voice; the numbers of one are tenths.
GIVEN = {"kokoro": {"style": np.linspace(-0.2, 0.2, 256, dtype=np.float32)[None], "speed": np.ones(1, np.float32)}}
AIM = "≥ 1.5× faster than the best peer (geometric mean); compiled in ≤ 5 s cold, ≤ 0.3 s cached"
HEADINGS = ("sizes", "tgen ms", *PEERS, "difference", "compiled cold / cached, s")


def measurements() -> list[Measurement]:
    return [_zoo(name) for name in SIZES]


def _zoo(name: str) -> Measurement:
    def run(settings: Settings) -> Table:
        with TemporaryDirectory() as folder:
            return _measured(name, _fixed(fetch_model(name), FIXED.get(name, {}), Path(folder)), settings)

    return Measurement(f"zoo-{name}", AIM, run)


def _measured(name: str, path: Path, settings: Settings) -> Table:
    cold, cached = _start_seconds(path, cache=False), min(_start_seconds(path, cache=True) for _ in range(2))
    timing = {"threads": settings.threads, "rounds": settings.rounds, "burst": settings.burst}
    report = compare(path, PEERS, shapes=SIZES[name], given=GIVEN.get(name), **timing)
    tgen_row, *peers = report.rows
    errors = [row.error for row in peers if row.error is not None]
    sizes = ", ".join(f"{k} {v}" for k, v in SIZES[name].items()) or "fixed"
    difference = f"{max(errors):.1e}" if errors else "–"
    cells = [sizes, f"{tgen_row.median:.3g}", *map(_peer, peers), difference, f"{cold:.1f} / {cached:.2f}"]
    return Table(HEADINGS, [cells])


def _fixed(path: Path, values: Mapping[str, int], folder: Path) -> Path:
    """The model with these inputs as constants, in a file of its own in `folder`; itself if there are none."""
    if not values:
        return path
    import onnx

    model = onnx.load(path)
    kept = [given for given in model.graph.input if given.name not in values]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.array(v, np.int64), k) for k, v in values.items())
    onnx.save(model, folder / path.name)
    return folder / path.name


def _start_seconds(path: Path, cache: bool) -> float:
    """Seconds of a compilation, reading the model included."""
    start = time.perf_counter()
    tgen.compile(path, cache=cache)
    return time.perf_counter() - start


def _peer(row: Row) -> str:
    if row.failed:
        return f"not measured: {row.failed}"
    return f"{row.median:.3g} ({row.ratio:.2f}×, {row.ratio_low:.2f}–{row.ratio_high:.2f})"
