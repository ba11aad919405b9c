"""`Executable`: a compiled model. Checks its inputs, runs native code without the GIL, gives back arrays."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .artefact import Artefact, aligned_bytes
from .frame import INTERRUPTED, RUNTIME_BYTES, Frame
from .ir.binding import bind_symbols, check_assumptions
from .ir.dims import evaluate_dim, symbols
from .ir.errors import InvalidInput
from .ir.types import TensorType

KNOWN_SIZES = 256  # sets of input shapes whose output shapes and memory sizes are remembered
MOST_BYTES = 1 << 46  # of memory for one run: beyond this a size is taken for a mistake
WORK_OF_A_THREAD = 1 << 20  # element operations, some 20 to 50 µs: less is done sooner than another thread wakes
_HEADER = RUNTIME_BYTES // 8
_ARGUMENTS = RUNTIME_BYTES + 8 * Frame.HEADER
_free = ctypes.CDLL(None).free
_free.argtypes, _free.restype = [ctypes.c_void_p], None
_first_byte: Callable[[Any], Any] = ctypes.c_char.from_buffer


@dataclass(frozen=True)
class TensorSpec:
    """name, dtype (`f32`, as NumPy's `float32`), shape: integers, and text for symbolic dimensions (`"batch"`, `"2*seq + 1"`)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


def _spec(name: str, type_: TensorType) -> TensorSpec:
    return TensorSpec(name, str(type_.dtype.numpy), tuple(d if isinstance(d, int) else str(d) for d in type_.shape))


@dataclass(frozen=True)
class _Sizes:
    """What follows from the shapes of the inputs. outputs: shapes and dtypes; threads: as native code takes it."""

    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    found: tuple[int, ...]  # outputs whose sizes a run finds out; in `outputs` they are empty
    symbols: tuple[int, ...]
    arena: int
    scratch: int
    threads: ctypes.c_int64


class _Context:
    """Memory of one run at a time: the frame handed to native code, the arena, the threads' scratch. Grows, never shrinks."""

    def __init__(self, frame: Frame) -> None:
        self.bytes = aligned_bytes(frame.words * 8)
        self.frame = self.bytes.view(np.int64)
        self.frame[:] = 0
        self.address = ctypes.c_void_p(self.bytes.ctypes.data)
        self.memory: np.ndarray = aligned_bytes(0)
        self.sizes: _Sizes | None = None  # that memory is laid out for
        self.segments = range(_HEADER + frame.first_segment, _HEADER + frame.first_flag, 2)

    def __del__(self) -> None:
        for word in self.segments:
            _free(int(self.frame[word]))

    def reserve(self, sizes: _Sizes) -> None:
        self.sizes = sizes
        wanted = sizes.arena + sizes.scratch * sizes.threads.value
        if self.memory.size < wanted:
            self.memory = aligned_bytes(wanted)
        start = int(self.memory.ctypes.data)
        self.frame[_HEADER + Frame.ARENA] = start
        self.frame[_HEADER + Frame.SCRATCH] = start + sizes.arena
        self.frame[_HEADER + Frame.SCRATCH_BYTES] = sizes.scratch


def _addresses(arrays: tuple[np.ndarray, ...]) -> Iterable[int]:
    """Of the first elements. Asking ctypes takes a quarter of the time, but works only for arrays that are writeable and not empty."""
    try:
        return tuple(map(ctypes.addressof, map(_first_byte, arrays)))
    except (TypeError, ValueError):
        return [array.__array_interface__["data"][0] for array in arrays]


class Executable:
    """A model as machine code. Calls from several Python threads at once are safe: each takes a context of its own.

    inputs, outputs: TensorSpecs in call order. report: facts of the compilation (seconds, cached, target, kernels, …).
    """

    def __init__(self, artefact: Artefact, library: Any, threads: int, report: dict[str, Any], texts: Any = None) -> None:
        manifest = artefact.manifest
        self.name, self.threads, self.report = manifest.name, threads, report
        self.inputs = [_spec(*i) for i in manifest.inputs]
        self.outputs = [_spec(*o) for o in manifest.outputs]
        self._manifest, self._weights, self._library, self._texts = manifest, artefact.weights, library, texts
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(library.address("run"))
        arguments = len(self.inputs) + len(self.outputs) + len(manifest.symbols)
        self._pack: Callable[..., None] = struct.Struct(f"{arguments}q").pack_into
        self._ends_early = bool(manifest.messages) or manifest.unbounded
        self._contexts: list[_Context] = []
        self._sizes: dict[tuple[tuple[int, ...], ...], _Sizes] = {}
        self._dtypes = [t.dtype.numpy for _, t in manifest.inputs]
        self._names = [name for name, _ in manifest.inputs]

    def __repr__(self) -> str:
        return f"Executable({self.name}: {', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))})"

    def __call__(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        """Outputs in order for inputs in order. Arrays of the inputs' dtypes, C-contiguous or strided (those are copied).

        Raises InvalidInput for a wrong number, dtype, rank or extent, before native code runs; and for values that the model cannot work
        with (an index out of range). Ctrl-C ends a run that is in a loop without a limit.
        """
        if len(arrays) != len(self._dtypes):
            raise InvalidInput(f"{len(arrays)} arrays given; inputs: {', '.join(map(str, self.inputs))}")
        for array, dtype in zip(arrays, self._dtypes):
            if type(array) is not np.ndarray or array.dtype is not dtype or not array.flags.carray:
                arrays = tuple([self._plain(number, array) for number, array in enumerate(arrays)])
                break
        return self._execute(arrays)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Outputs by name for inputs by name; raises InvalidInput as a call does, and for names the model does not have."""
        names = self._names
        if len(feeds) != len(names) or any(name not in feeds for name in names):
            unknown = [n for n in feeds if n not in names]
            if unknown:
                raise InvalidInput(f"no input is named {unknown[0]!r}; inputs: {', '.join(map(str, self.inputs))}")
            missing = [str(s) for s in self.inputs if s.name not in feeds]
            raise InvalidInput(f"missing input {', '.join(missing)}")
        results = self(*(feeds[name] for name in names))
        return {spec.name: result for spec, result in zip(self.outputs, results)}

    def _plain(self, number: int, given: Any) -> np.ndarray:
        """What is given for an input as an array that is contiguous and aligned; raises InvalidInput if its dtype is another."""
        array = np.asarray(given)
        if array.dtype != self._dtypes[number]:
            raise InvalidInput(f"input {self._names[number]!r} has dtype {array.dtype}; wanted {self.inputs[number]}")
        return array if array.flags.c_contiguous and array.flags.aligned else np.ascontiguousarray(array).copy()

    def _execute(self, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        key = tuple([a.shape for a in arrays])
        sizes = self._sizes.get(key)
        if sizes is None:
            sizes = self._measure(key)
        results = tuple([np.empty(shape, dtype) for shape, dtype in sizes.outputs])
        try:
            context = self._contexts.pop()
        except IndexError:
            context = self._new_context()
        if context.sizes is not sizes:
            context.reserve(sizes)
        self._pack(context.bytes, _ARGUMENTS, *_addresses(arrays + results), *sizes.symbols)
        self._run(context.address, sizes.threads)
        if self._ends_early:
            results = self._found(context, sizes, results)
        self._contexts.append(context)
        return results

    def _found(self, context: _Context, sizes: _Sizes, results: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """The results of a run that may have found out sizes, or that it could not go on: raises InvalidInput then."""
        manifest, frame = self._manifest, self._manifest.frame
        status = int(context.frame[_HEADER + Frame.STATUS])
        if status:
            self._contexts.append(context)
            if status == INTERRUPTED:
                raise KeyboardInterrupt
            raise InvalidInput(manifest.messages[status - 1])
        if not sizes.found:
            return results
        first = _HEADER + frame.first_symbol
        numbers = context.frame[first : first + frame.symbols + frame.extents].tolist()
        values = dict(zip((*manifest.symbols, *manifest.extents), numbers))
        every = list(results)
        for number in sizes.found:
            shape = tuple(evaluate_dim(d, values) for d in manifest.outputs[number][1].shape)
            every[number] = np.empty(shape, results[number].dtype)
            source = int(context.frame[_HEADER + Frame.HEADER + frame.inputs + number])
            ctypes.memmove(every[number].ctypes.data, source, every[number].nbytes)
        return tuple(every)

    def _new_context(self) -> _Context:
        context = _Context(self._manifest.frame)
        context.frame[_HEADER + Frame.WEIGHTS] = self._weights.ctypes.data
        return context

    def _measure(self, shapes: tuple[tuple[int, ...], ...]) -> _Sizes:
        """Symbols, output shapes and memory for these input shapes; raises InvalidInput where they contradict the model."""
        manifest = self._manifest
        values = bind_symbols(manifest.inputs, shapes)
        check_assumptions(manifest.assumptions, values)
        unknown = frozenset(manifest.extents)
        found = tuple(
            k
            for k, (_, t) in enumerate(manifest.outputs)
            if unknown and unknown.intersection(s for d in t.shape for s in symbols(d))
        )
        types = [TensorType(t.dtype, (0,)) if k in found else t for k, (_, t) in enumerate(manifest.outputs)]
        outputs = tuple((tuple(evaluate_dim(d, values) for d in t.shape), t.dtype.numpy) for t in types)
        arena = -(-evaluate_dim(manifest.arena, values) // 64) * 64
        scratch = -(-evaluate_dim(manifest.scratch, values) // 64) * 64
        if any(d < 0 for shape, _ in outputs for d in shape):
            raise InvalidInput(f"input shapes {list(map(list, shapes))} give an output of negative size")
        if arena + scratch > MOST_BYTES:
            raise InvalidInput(f"input shapes {list(map(list, shapes))} need {arena + scratch} bytes of memory")
        threads = max(1, min(self.threads, evaluate_dim(manifest.work, values) // WORK_OF_A_THREAD))
        sizes = _Sizes(outputs, found, tuple(values[s] for s in manifest.symbols), arena, scratch, ctypes.c_int64(threads))
        if len(self._sizes) >= KNOWN_SIZES:
            self._sizes.clear()
        self._sizes[shapes] = sizes
        return sizes

    def plan(self) -> str:
        """The plan as text: places, kernels, steps (not known when the code came from the cache: compile with cache=False)."""
        return str(self._text("plan"))

    def llvm_ir(self) -> str:
        """The generated LLVM IR."""
        return str(self._text("llvm"))

    def assembly(self) -> str:
        """The machine code as assembly."""
        return str(self._text("asm"))

    def _text(self, what: str) -> str:
        if self._texts is None:
            raise InvalidInput(f"the {what} is not kept in the cache: compile with cache=False to see it")
        return self._texts(what)
