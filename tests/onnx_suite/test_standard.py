"""ONNX's own standard suite: every case that tgen can import must pass, in the interpreter and as compiled code.

There is no list of skipped cases: a case is left out only if importing it raises `Unsupported`. The counts are printed at the end.
Of what nobody can reproduce only dtypes and shapes are compared, and it is not counted as passed.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from tgen.backend import ReferenceBackend, TgenBackend
from tgen.ir.errors import Unsupported
from tgen.ir.graph import Graph

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
CHUNKS = 32
ROOT = Path(__file__).parents[2]

RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
DRAWN = tuple(f"test_training_dropout{kind}" for kind in ("", "_mask", "_default", "_default_mask"))
NOISE = (
    "test_dft_inverse",
    "test_dft_inverse_opset19",
)  # exact zeros; wanted is the rounding of a transform in float32, above 1e-7

Arrays = list[Any]


@functools.cache
def cases() -> list[tuple[str, TestCase]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [(kind, case) for kind in KINDS for case in load_model_tests(kind=kind)]


def model_of(case: TestCase) -> onnx.ModelProto:
    return case.model if case.model is not None else onnx.load(os.path.join(case.model_dir, "model.onnx"))


def data_of(case: TestCase) -> list[tuple[Arrays, Arrays]]:
    """(inputs, outputs) of every data set."""
    if case.data_sets:
        return [([as_array(x) for x in inputs], [as_array(y) for y in outputs]) for inputs, outputs in case.data_sets]
    folders = sorted(glob.glob(os.path.join(case.model_dir, "test_data_set_*")))
    return [(read_arrays(folder, "input"), read_arrays(folder, "output")) for folder in folders]


def as_array(x: Any) -> Any:
    """A tensor; a list stands for a sequence, None for an empty optional."""
    if isinstance(x, onnx.TensorProto):
        return numpy_helper.to_array(x)
    return x if x is None or isinstance(x, list) else np.asarray(x)


def read_arrays(folder: str, kind: str) -> Arrays:
    count = len(glob.glob(os.path.join(folder, f"{kind}_*.pb")))
    return [numpy_helper.to_array(onnx.load_tensor(os.path.join(folder, f"{kind}_{k}.pb"))) for k in range(count)]


class Compiled(TgenBackend):
    """What imports must compile: Unsupported after the import is a failure."""

    @classmethod
    def make(cls, graph: Graph, **options: Any) -> Any:
        try:
            return super().make(graph, cache=False, **options)
        except Unsupported as error:
            raise AssertionError(f"imported, but not compiled: {error}") from error


def is_reproducible(case: TestCase) -> bool:
    """Whether the wanted outputs follow from the standard: they are neither random numbers nor rounding noise."""
    return case.name not in (*NOISE, *DRAWN) and not RANDOM & {node.op_type for node in model_of(case).graph.node}


@functools.cache
def listed() -> list[str]:
    """Patterns of the names of cases that do not pass, as the documentation has them."""
    found = re.findall(r"^\| `(test_\S+)` \|", (ROOT / "docs/operators.md").read_text(), re.MULTILINE)
    assert found
    return found


def is_listed(case: TestCase) -> bool:
    return any(fnmatch(case.name, pattern) for pattern in listed())


def run_case(backend: type[TgenBackend], case: TestCase) -> None:
    """Raises Unsupported, or AssertionError where an output differs."""
    prepared = backend.prepare(model_of(case))
    for inputs, outputs in data_of(case):
        found = prepared.run(inputs)
        if not is_reproducible(case):
            assert [(y.dtype, y.shape) for y in found] == [(y.dtype, y.shape) for y in outputs]
            continue
        assert len(found) == len(outputs)
        for y, wanted in zip(found, outputs):
            assert_similar(y, wanted, case)


def assert_similar(found: Any, wanted: Any, case: TestCase) -> None:
    """Compares tensors, sequences element by element, absent optionals."""
    if wanted is None:
        assert found is None
        return
    assert isinstance(found, list) == isinstance(wanted, list)
    found, wanted = (y if isinstance(y, list) else [y] for y in (found, wanted))
    half = any(y.dtype == np.float16 for y in wanted)  # the suite's 1e-3 is less than its last bit; it grants bf16 two bits itself
    Runner.assert_similar_outputs(wanted, found, max(case.rtol, 2**-9) if half else case.rtol, case.atol)


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize(("name", "backend"), [("reference", ReferenceBackend), ("compiled", Compiled)])
def test_every_case_that_imports_passes(
    name: str, backend: type[TgenBackend], chunk: int, record_property: Callable[[str, object], None]
) -> None:
    counts: dict[str, Counter[str]] = {}
    failures: list[str] = []
    for kind, case in cases()[chunk::CHUNKS]:
        count = counts.setdefault(kind, Counter())
        try:
            run_case(backend, case)
        except Unsupported as error:
            count["unsupported"] += 1
            if not is_listed(case):
                failures.append(f"{kind} {case.name} is not among those that docs/operators.md lists as not passing: {error}")
        except Exception as error:  # every failure of a chunk is told, whatever it is
            count["failed"] += 1
            failures.append(f"{kind} {case.name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        else:
            count["passed" if is_reproducible(case) else "not reproducible"] += 1
            if not is_reproducible(case) and not is_listed(case):
                failures.append(f"{kind} {case.name} is not compared, and docs/operators.md does not say so")
    for kind, count in counts.items():
        record_property(f"onnx_suite {name} {kind}", dict(count))
    assert not failures, "\n".join(failures)
