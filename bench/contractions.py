"""A contraction alone: y[m, n] = x[m, k]·w[k, n], m = 128, n = k = 1024, on one core, against the rate measured in the same run."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tgen.artefact import aligned_bytes
from tgen.bench.calibrate import measure
from tgen.bench.native import NativeRun
from tgen.bench.rows import difference, timed_row
from tgen.compiler import Compiled, compile_graph
from tgen.ir.builder import Builder
from tgen.ir.dtypes import BF16, DType
from tgen.kernels.specs import tiles_of

from .report import ROW_HEADINGS, Measurement, Missing, Settings, Table, host, need_bf16, need_packages, row_text
from .turns import in_turns

M, N, K = 128, 1024, 1024
FLOPS = 2.0 * M * N * K
COLD_BYTES = 512 << 20  # of copies of the weights, used in rotation: more than caches hold


@dataclass(frozen=True)
class Peer:
    """call: one run; result: y as an array."""

    name: str
    call: Callable[[], Any]
    result: Callable[[], np.ndarray]


def measurements() -> list[Measurement]:
    return [
        Measurement("contraction-bf16", "≥ 72 % of the measured tile rate (weights cold: ≥ 55 %), ahead of oneDNN", _bf16),
        Measurement("contraction-f32", "≥ 88 % of the measured peak", _f32),
    ]


def _f32(settings: Settings) -> Table:
    need_packages("onnxruntime")
    x, w = _operands("f32")
    return _compared(settings, x, w, _onnxruntime(x, w))


def _bf16(settings: Settings) -> Table:
    need_bf16()
    need_packages("torch")
    x, w = _operands("bf16")
    return _compared(settings, x, w, _torch(x, w))


def _operands(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Random and signed."""
    rng = np.random.default_rng(0)
    kind = BF16.numpy if dtype == "bf16" else np.float32
    return rng.standard_normal((M, K), np.float32).astype(kind), rng.standard_normal((K, N), np.float32).astype(kind)


def _compared(settings: Settings, x: np.ndarray, w: np.ndarray, peer: Peer) -> Table:
    """tgen, tgen with cold weights and a peer; `of roofline` is the part of the instruction's measured rate."""
    target = host()
    compiled = compile_graph(_graph(x, w), target, "highest")
    warm, cold = _run(compiled, x), _rotating(compiled, x)
    times = in_turns({"tgen": warm.run, "tgen, weights cold": cold, peer.name: peer.call}, settings)
    (tile,) = {name for kernel in compiled.plan.kernels for name in tiles_of(kernel)}
    floor = FLOPS / measure(target, 1, (tile,)).flops[tile]
    error = difference({"y": peer.result().astype(np.float64)}, {"y": warm.outputs["y"].astype(np.float64)})
    rows = [
        timed_row(name, t, times["tgen"], FLOPS, floor, error=error if name == peer.name else None) for name, t in times.items()
    ]
    return Table(
        ROW_HEADINGS, [row_text(row) for row in rows], [f"tgen multiplies by {tile}: {FLOPS / floor / 1e9:.0f} GFLOP/s measured."]
    )


def _graph(x: np.ndarray, w: np.ndarray) -> Any:
    b = Builder("contraction")
    dtype: DType | str = BF16 if x.dtype == BF16.numpy else "f32"
    b.output("y", b.matmul(b.input("x", dtype, x.shape), b.constant(w)))
    return b.build()


def _run(compiled: Compiled, x: np.ndarray) -> NativeRun:
    return NativeRun(compiled, host(), 1, {"x": x}, {})


def _rotating(compiled: Compiled, x: np.ndarray) -> Callable[[], None]:
    """Runs over copies of the weights in rotation, so that each comes from memory."""
    artefact = compiled.artefact
    runs = []
    for _ in range(-(-COLD_BYTES // artefact.weights.nbytes)):
        weights = aligned_bytes(artefact.weights.nbytes)
        weights[:] = artefact.weights
        runs.append(_run(dataclasses.replace(compiled, artefact=dataclasses.replace(artefact, weights=weights)), x))
    following = itertools.cycle(runs)
    return lambda: next(following).run()


def _onnxruntime(x: np.ndarray, w: np.ndarray) -> Peer:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [M, K]), ("y", [M, N]))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [numpy_helper.from_array(w, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    call = lambda: session.run(None, {"x": x})
    return Peer("onnxruntime", call, lambda: call()[0])


def _torch(x: np.ndarray, w: np.ndarray) -> Peer:
    """oneDNN with weights packed beforehand, as torch's own compiler does it."""
    import torch

    torch.set_num_threads(1)
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise Missing("torch's oneDNN does not multiply bfloat16 on this CPU")
    given, weight = (torch.from_numpy(a.astype(np.float32)).bfloat16() for a in (x, np.ascontiguousarray(w.T)))
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, M)

    def call() -> Any:
        with torch.inference_mode():
            return torch.ops.mkldnn._linear_pointwise(given, packed, None, "none", [], "")

    return Peer("torch, prepacked", call, lambda: call().float().numpy())
