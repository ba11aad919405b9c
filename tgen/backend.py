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
from .frontends.onnx import DataDependent, import_onnx, is_structured
from .ir.errors import InvalidInput, Unsupported
from .ir.graph import Graph
from .ir.strings import decoded, encoded, names_outside

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
Fed = np.ndarray | list[np.ndarray] | None  # an input: a tensor, a sequence, an absent optional
Program = Callable[[Mapping[str, Fed]], tuple[Fed, ...]]
_KEPT = 16  # specialisations of one model that are kept


class Prepared(BackendRep):
    """A model that is ready to run.

    Makes a program for each value of the inputs that hold shapes, if it has such inputs. One that takes sequences or optionals is
    compiled for each set of shapes.
    """

    def __init__(self, model: onnx.ModelProto, make: Callable[[Graph], Run]) -> None:
        initialisers = {t.name for t in model.graph.initializer}
        self._model, self._make = model, make
        infos = [i for i in model.graph.input if i.name not in initialisers]
        self._inputs = [i.name for i in infos]
        self._structured = [i.name for i in infos if is_structured(i)]
        self._fixed: list[str] = []  # inputs whose values, and those of which the shapes are compiled into a program
        self._shaped = self._inputs if self._structured else list[str]()
        self._programs: dict[tuple[Any, ...], Program] = {}
        try:
            if not self._structured:
                self._programs[()] = self._program({})
        except DataDependent as error:
            self._settle(error)

    def run(self, inputs: Any, **_: Any) -> tuple[Fed, ...]:
        """Outputs in the model's order. inputs: arrays in the model's order, or by name; a list of arrays is a sequence, None an absent optional.

        Raises InvalidInput for a wrong number, name, dtype or shape; Unsupported if the model cannot be specialised to these values.
        """
        feeds = self._named(inputs)
        values = [x for x in map(feeds.get, self._fixed) if isinstance(x, np.ndarray)]
        key = (*self._structures(feeds).items(), *((f.dtype.str, f.shape, f.tobytes()) for f in values))
        if key not in self._programs:
            if len(self._programs) >= _KEPT:
                self._programs.pop(next(iter(self._programs)))
            self._programs[key] = self._specialised(feeds)
        return self._programs[key](feeds)

    def _named(self, inputs: Any) -> dict[str, Fed]:
        if isinstance(inputs, Mapping):
            unknown = [name for name in inputs if name not in self._inputs]
            if unknown:
                raise InvalidInput(f"no input is named {unknown[0]!r}; inputs: {', '.join(self._inputs)}")
            return {name: self._fed(name, x) for name, x in inputs.items()}
        listed = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if len(listed) != len(self._inputs):
            raise InvalidInput(f"{len(listed)} inputs are given; the model has {len(self._inputs)}: {', '.join(self._inputs)}")
        return {name: self._fed(name, x) for name, x in zip(self._inputs, listed)}

    def _fed(self, name: str, given: Any) -> Fed:
        if name in self._structured and (given is None or isinstance(given, (list, tuple))):
            return None if given is None else [np.asarray(x) for x in given]
        return np.asarray(given)

    def _specialised(self, feeds: Mapping[str, Fed]) -> Program:
        """The program for these shapes, and values of the inputs that hold shapes; settling one may show the next."""
        while True:
            try:
                return self._program(feeds)
            except DataDependent as error:
                if not self._settle(error):
                    raise

    def _settle(self, error: DataDependent) -> bool:
        """Notes what an import asks for; whether that is anything new."""
        values = [name for name in error.inputs if name not in self._fixed]
        shapes = [name for name in error.structures if name not in self._shaped]
        self._fixed, self._shaped = self._fixed + values, self._shaped + shapes
        return bool(values or shapes)

    def _structures(self, feeds: Mapping[str, Fed]) -> dict[str, Any]:
        return {name: _structure(feeds[name]) for name in self._shaped if name in feeds}

    def _program(self, feeds: Mapping[str, Fed]) -> Program:
        values = {name: feeds[name] for name in self._fixed if name in feeds}
        found = import_onnx(self._model, values=values, structures=self._structures(feeds))
        wanted = tuple(names_outside(found.graph.input_types, found.graph.texts)) if found.graph else ()
        run = self._make(found.graph) if found.graph else dict[str, np.ndarray]

        def program(given: Mapping[str, Fed]) -> tuple[Fed, ...]:
            tensors = _tensors(given)
            results = run({name: tensors[name] for name in wanted if name in tensors})
            return tuple(_collected(layout, results) for layout in found.outputs.values())

        return program


def _structure(given: Fed) -> Any:
    """What `load(structures=...)` takes: a shape, those of the elements, or None."""
    if isinstance(given, list):
        return tuple(x.shape for x in given)
    return None if given is None else given.shape


def _tensors(feeds: Mapping[str, Fed]) -> dict[str, np.ndarray]:
    """Inputs of the graph: elements of sequences by their places."""
    found: dict[str, np.ndarray] = {}
    for name, given in feeds.items():
        if isinstance(given, list):
            found.update((f"{name}.{k}", x) for k, x in enumerate(given))
        elif given is not None:
            found[name] = given
    return found


def _collected(layout: str | list[str] | None, results: Mapping[str, np.ndarray]) -> Fed:
    """An output of the model, from those of the graph."""
    if isinstance(layout, list):
        return [results[name] for name in layout]
    return None if layout is None else results[layout]


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
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **options: Any) -> tuple[Fed, ...]:
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
    ) -> tuple[Fed, ...]:
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
