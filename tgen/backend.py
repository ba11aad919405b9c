"""`onnx.backend.base.Backend` over compiled code, so that ONNX's own standard suite (and tools that speak that protocol) can use tgen.

`ReferenceBackend` is the same over the NumPy interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep

from .frontends import load
from .frontends.onnx import DataDependent
from .ir.errors import InvalidInput, Unsupported
from .ir.graph import Graph
from .ir.strings import decoded, encoded, names_outside

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
_KEPT = 16  # specialisations of one model that are kept


class Prepared(BackendRep):
    """A model that is ready to run; makes a program for each value of the inputs that hold shapes, if it has such inputs."""

    def __init__(self, model: onnx.ModelProto, make: Callable[[Graph], Run]) -> None:
        initialisers = {t.name for t in model.graph.initializer}
        self._model, self._make = model, make
        self._inputs = [i.name for i in model.graph.input if i.name not in initialisers]
        self._outputs = [o.name for o in model.graph.output]
        self._fixed: tuple[str, ...] = ()
        self._programs: dict[tuple[Any, ...], tuple[tuple[str, ...], Run]] = {}
        try:
            self._programs[()] = self._program({})
        except DataDependent as error:
            self._fixed = error.inputs

    def run(self, inputs: Any, **_: Any) -> tuple[np.ndarray, ...]:
        """Outputs in the model's order. inputs: arrays in the model's order, or by name.

        Raises InvalidInput for a wrong number, name, dtype or shape; Unsupported if the model cannot be specialised to these values.
        """
        feeds = self._named(inputs)
        key = tuple((f.dtype.str, f.shape, f.tobytes()) for f in (feeds[n] for n in self._fixed if n in feeds))
        if key not in self._programs:
            if len(self._programs) >= _KEPT:
                self._programs.pop(next(iter(self._programs)))
            self._programs[key] = self._specialised(feeds)
        wanted, program = self._programs[key]
        found = program({name: feeds[name] for name in wanted if name in feeds})
        return tuple(found[name] for name in self._outputs)

    def _named(self, inputs: Any) -> dict[str, np.ndarray]:
        if isinstance(inputs, Mapping):
            unknown = [name for name in inputs if name not in self._inputs]
            if unknown:
                raise InvalidInput(f"no input is named {unknown[0]!r}; inputs: {', '.join(self._inputs)}")
            return {name: np.asarray(x) for name, x in inputs.items()}
        listed = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if len(listed) != len(self._inputs):
            raise InvalidInput(f"{len(listed)} inputs are given; the model has {len(self._inputs)}: {', '.join(self._inputs)}")
        return {name: np.asarray(x) for name, x in zip(self._inputs, listed)}

    def _specialised(self, feeds: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], Run]:
        """The program for these values of the inputs that hold shapes; settling one may show the next."""
        fixed = list(self._fixed)
        while True:
            try:
                return self._program({name: feeds[name] for name in fixed if name in feeds})
            except DataDependent as error:
                more = [name for name in error.inputs if name not in fixed]
                if not more:
                    raise
                fixed += more
                self._fixed = tuple(fixed)

    def _program(self, values: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], Run]:
        graph = load(self._model, values=values)
        return tuple(names_outside(graph.input_types, graph.texts)), self._make(graph)


class TgenBackend(Backend):
    """Compiles models for this machine and runs them."""

    @classmethod
    def make(cls, graph: Graph, **options: Any) -> Run:
        """A program for a graph; options are those of `tgen.compile`."""
        from .api import compile as compile_graph

        return compile_graph(graph, **options).run

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> bool:
        """Whether tgen has every operator of the model. Raises InvalidModel for a damaged one."""
        try:
            load(model)
        except DataDependent:
            return True
        except Unsupported:
            return False
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> Prepared:
        """Compiles the model. options: as `tgen.compile` takes them.

        Raises InvalidModel, Unsupported.
        """
        if not cls.supports_device(device):
            raise Unsupported(f"device {device!r}; known: CPU")
        return Prepared(model, lambda graph: cls.make(graph, **options))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **options: Any) -> tuple[np.ndarray, ...]:
        """Outputs of one run."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **options: Any,
    ) -> tuple[np.ndarray, ...]:
        """Results of one operator. opset_version: which version of it (default: the newest); outputs_info is not needed."""
        version = options.pop("opset_version", onnx.defs.onnx_opset_version())
        names = [name for name in node.input if name]
        listed = [inputs[n] for n in names] if isinstance(inputs, Mapping) else list(inputs)
        arrays = [np.asarray(x) for x in listed]
        infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in zip(names, arrays)]
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], node.op_type, infos, results)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.run_model(model, arrays, device, **options)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """CPU only."""
        return device.split(":")[0].upper() == "CPU"


class ReferenceBackend(TgenBackend):
    """Runs models in the NumPy interpreter, op by op."""

    @classmethod
    def make(cls, graph: Graph, **_: Any) -> Run:
        """The interpreter over a graph."""
        from .ir.evaluate import evaluate

        return lambda feeds: decoded(evaluate(graph, encoded(feeds, graph.texts)), graph.texts)


is_compatible = TgenBackend.is_compatible
prepare = TgenBackend.prepare
run_model = TgenBackend.run_model
run_node = TgenBackend.run_node
supports_device = TgenBackend.supports_device
