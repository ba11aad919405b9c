"""MiniLM beside other runtimes: every contestant in a process of its own, in turns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tgen.bench import compare

from .report import ROW_HEADINGS, Measurement, Settings, Table, need_bf16, need_feature, row_text

LENGTHS = (16, 128, 256)
FLOAT32 = ("onnxruntime", "openvino", "torch", "torch-inductor")
BFLOAT16 = ("openvino-bf16", "torch-bf16", "torch-inductor-bf16")
AIMS = {
    (16, "medium"): "≥ 1.7× faster than OpenVINO bf16",
    (128, "medium"): "≥ 2.5× faster than OpenVINO bf16",
    (256, "medium"): "≥ 2.3× faster than OpenVINO bf16",
    (128, "highest"): "≥ 1.7× faster than the best float32 peer, error no worse",
    (128, "high"): "≥ 3× faster than the best float32 peer, error ≤ 2e-5 of max",
}
NO_AMX = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "DNNL_MAX_CPU_ISA": "AVX512_CORE"}  # what OpenVINO and torch obey


def measurements() -> list[Measurement]:
    """highest, high and medium at each length, and highest with AMX hidden."""
    found = [_minilm(length, precision) for precision in ("highest", "high", "medium") for length in LENGTHS]
    return [*found, Measurement("minilm-128-highest-avx512", "AMX hidden: ≥ 1.3× faster than the best float32 peer", _without_amx)]


def _minilm(length: int, precision: str) -> Measurement:
    def run(settings: Settings) -> Table:
        if precision != "highest":
            need_bf16()
        peers = BFLOAT16 if precision == "medium" else FLOAT32
        return _compared(settings, length, precision, peers)

    return Measurement(f"minilm-{length}-{precision}", AIMS.get((length, precision), ""), run)


def _without_amx(settings: Settings) -> Table:
    need_feature("avx512f")
    with _environment(NO_AMX):
        return _compared(settings, 128, "highest", FLOAT32, "avx512")


def _compared(settings: Settings, length: int, precision: str, peers: Sequence[str], target: str = "host") -> Table:
    report = compare(
        settings.folder,
        peers,
        shapes={"batch": 1, "seq": length},
        threads=settings.threads,
        precision=precision,
        target=target,
        rounds=settings.rounds,
        burst=settings.burst,
    )
    at = "" if target == "host" else f" --target {target}"
    command = f"tgen bench MODEL --vs {','.join(peers)} --shapes batch=1,seq={length} --threads {settings.threads} --precision {precision}{at}"
    return Table(ROW_HEADINGS, [row_text(row) for row in report.rows], [f"The same by itself: `{command}`"])


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that processes started meanwhile inherit."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
