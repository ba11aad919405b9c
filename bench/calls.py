"""What a call costs, and two callers at once."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tgen
from tgen.bench.inputs import random_feeds, sizes
from tgen.bench.native import NativeRun
from tgen.codegen import llvm
from tgen.compiler import compile_graph
from tgen.frontends import load

from .report import Measurement, Settings, Table, host, need_packages, ratio_text
from .turns import in_turns

WIDTH = 64
REPEATS = 100  # native calls that are timed as one
CALLER_SECONDS = 0.5

# Calls entry(frame, threads) again and again, as a native program would.
_REPEAT = """
define void @repeat(ptr %entry, ptr %frame, i64 %threads, i64 %times) {
start:
  br label %loop
loop:
  %k = phi i64 [ 0, %start ], [ %next, %loop ]
  call void %entry(ptr %frame, i64 %threads)
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


def measurements() -> list[Measurement]:
    return [
        Measurement("tiny-mlp", "Python call ≤ 5 µs, native call ≤ 0.6 µs where ONNX Runtime takes 6.6 µs", _mlp),
        Measurement("two-callers", "≥ 1.9× the throughput of one", _two_callers),
    ]


def _mlp(settings: Settings) -> Table:
    """64-64-64 at batch 1: two products with bias and relu."""
    need_packages("onnxruntime")
    import onnxruntime

    model, x = mlp_model(), np.random.default_rng(1).standard_normal((1, WIDTH)).astype(np.float32)
    executable = tgen.compile(model, threads=1, cache=False)
    native = NativeRun(compile_graph(load(model), host(), "highest"), host(), 1, {"x": x}, {})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    calls: dict[str, Callable[[], Any]] = {
        "tgen, Python call": lambda: executable(x),
        "onnxruntime, Python call": lambda: session.run(None, {"x": x}),
        f"tgen, {REPEATS} native calls": _repeated(native),
    }
    times = in_turns(calls, settings)
    rows = []
    for name, rounds in times.items():
        scale = 1e6 / REPEATS if "native" in name else 1e6
        everything = np.concatenate([np.asarray(t) for t in rounds]) * scale
        p10, median, p99 = np.quantile(everything, (0.1, 0.5, 0.99))
        rows.append([name.replace(f"{REPEATS} native calls", "native call"), f"{median:.2f}", f"{p10:.2f}", f"{p99:.2f}"])
    return Table(("call", "median µs", "p10", "p99"), rows)


def mlp_model() -> Any:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for k, result in enumerate(("h", "y")):
        matrix, bias = rng.standard_normal((WIDTH, WIDTH)) / 8, rng.standard_normal(WIDTH)
        weights += [numpy_helper.from_array(a.astype(np.float32), f"{n}{k}") for n, a in (("w", matrix), ("b", bias))]
        nodes += [helper.make_node("Gemm", [last, f"w{k}", f"b{k}"], [f"s{k}"]), helper.make_node("Relu", [f"s{k}"], [result])]
        last = result
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, WIDTH]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _repeated(native: NativeRun) -> Callable[[], None]:
    library = llvm.load([llvm.compile_object(_REPEAT, llvm.Machine(llvm.host_triple()))], ["repeat"])
    words = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    repeat = ctypes.CFUNCTYPE(None, *words)(library.address("repeat"))

    def call(kept: Any = library) -> None:
        repeat(native.entry, native.frame, native.threads, REPEATS)

    return call


def _two_callers(settings: Settings) -> Table:
    """MiniLM at 128 tokens, an executable of one thread, called by one Python thread and by two, in turns."""
    executable = tgen.compile(settings.folder, threads=1)
    graph = load(settings.folder)
    feeds = random_feeds(graph, sizes(graph, {"batch": 1, "seq": 128}))
    arrays = [feeds[spec.name] for spec in executable.inputs]
    executable(*arrays)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(settings.rounds):
        for callers in (1, 2) if number % 2 == 0 else (2, 1):
            rates[callers].append(_throughput(lambda: executable(*arrays), callers))
    ratios = np.asarray(rates[2]) / np.asarray(rates[1])
    rows = [[str(callers), f"{np.median(found):.1f}"] for callers, found in rates.items()]
    return Table(("callers", "runs a second (median)"), rows, [f"Two over one, by round: {ratio_text(ratios.tolist())}"])


def _throughput(call: Callable[[], Any], callers: int) -> float:
    """Calls a second of so many Python threads together."""
    counts = [0] * callers
    ready = threading.Barrier(callers + 1)
    end = threading.Event()

    def work(number: int) -> None:
        call()
        ready.wait()
        while not end.is_set():
            call()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    time.sleep(CALLER_SECONDS)
    end.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)
