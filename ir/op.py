"""`Op`: one class is the whole definition of an operator; `OPS` is the registry everything else is derived from."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .dims import Dim, DimLike, substitute
from .dtypes import DType
from .errors import TypeMismatch
from .expr import Expr, Size, size, transform
from .forms import Form
from .loops import LoopProgram
from .types import TensorType

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform  # `typing` has it since Python 3.11

    from .builder import Builder
    from .graph import Graph, Value
else:
    dataclass_transform = lambda **_: lambda decorator: decorator

OPS: dict[str, type[Op]] = {}
_WITHOUT_BODIES = (Expr, DType, TensorType, Dim)  # dataclasses that hold no expressions below them
_OpClass = TypeVar("_OpClass", bound="type[Op]")


class Op:
    """Base class of operators: attributes are the fields of a frozen dataclass. Faces:

    infer      types of the operands → type (or tuple of types) of the results; raises TypeMismatch
    reference  NumPy arrays → array (or tuple): the meaning, written independently of `form`
    form       types of the operands → the loop it is; or
    decompose  builder and operands → the values it is made of, for composite ops
    Symbolic dimensions in fields are replaced by integers (`bind`) before `reference` is called. Each operator names the operands
    that it takes; `Any` twice, for positions and keywords, is how typing says that a subclass chooses its parameters.
    """

    name: str = ""
    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]  # every subclass is a dataclass

    names: ClassVar[tuple[str, ...]] = ()  # of the fields

    def __init_subclass__(cls) -> None:
        """Every pass asks for forms: each op works one out once for the same types."""
        if "form" in cls.__dict__:
            cls.form = _remembered(cls.form)  # type: ignore[method-assign]

    # What a frozen dataclass has, once for all operators: generated for each of them it was most of the time that their import takes.

    def __init__(self, *values: Any, **named: Any) -> None:
        called = f"{type(self).__name__}.__init__()"
        if len(values) > len(self.names):
            raise TypeError(f"{called} takes {len(self.names)} positional arguments but {len(values)} were given")
        given = dict(zip(self.names, values))
        for name in named:
            if name in given:
                raise TypeError(f"{called} got multiple values for argument {name!r}")
            if name not in self.names:
                raise TypeError(f"{called} got an unexpected keyword argument {name!r}")
        given.update(named)
        for name in self.names:
            if name not in given and not hasattr(type(self), name):
                raise TypeError(f"{called} missing 1 required positional argument: {name!r}")
        self.__dict__.update({name: given[name] if name in given else getattr(type(self), name) for name in self.names})

    def __setattr__(self, name: str, value: Any) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, Op) and type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values)

    @property
    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.names])

    def infer(self, *types: Any, **_: Any) -> TensorType | tuple[TensorType, ...]:
        raise NotImplementedError(f"{self.name}.infer")

    def reference(self, *arrays: Any, **_: Any) -> Any:
        raise NotImplementedError(f"{self.name}.reference")

    def form(self, *types: Any, **_: Any) -> Form | None:
        """None for a composite op (which has `decompose`) and for sources."""
        return None

    def decompose(self, build: Builder, *operands: Any, **_: Any) -> Value | tuple[Value, ...] | None:
        """None for an op that has a form."""
        return None

    def bind(self, values: Mapping[str, DimLike]) -> Op:
        """The op with symbols in its fields replaced; the same object when it has none."""
        return bind_fields(self, values)

    @functools.cached_property
    def bodies(self) -> tuple[Expr | LoopProgram, ...]:
        """The expressions and loop programs in attributes."""
        return tuple(_bodies([getattr(self, name) for name in self.names]))

    @property
    def regions(self) -> tuple[Graph, ...]:
        """Graphs that are part of the op: what it repeats."""
        return ()

    def with_regions(self, *regions: Graph) -> Op:
        """The op with other graphs in their place."""
        return self

    @property
    def is_composite(self) -> bool:
        return type(self).decompose is not Op.decompose

    def __str__(self) -> str:
        shown = ((f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self))
        attributes = ", ".join(f"{name}={value}" for name, value, default in shown if value != default)
        return f"{self.name}{{{attributes}}}" if attributes else self.name


def _remembered(form: Callable[..., Form | None]) -> Callable[..., Form | None]:
    @functools.wraps(form)
    def remembered(self: Op, *types: TensorType) -> Form | None:
        known = self.__dict__.setdefault("_forms", {})
        key = (form, *types)
        if key not in known:
            known[key] = form(self, *types)
        return known[key]

    return remembered


@dataclass_transform(frozen_default=True)
def op(cls: _OpClass) -> _OpClass:
    """Registers an operator under its class name in snake case (`MatMul` → `mat_mul`, or the class's own `name`)."""
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    made.names = tuple(f.name for f in dataclasses.fields(made))
    if "name" not in cls.__dict__:
        made.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
    if made.name in OPS and OPS[made.name].__qualname__ != cls.__qualname__:
        raise ValueError(f"two operators are named {made.name}")
    OPS[made.name] = made
    return made


def _bodies(values: Iterable[Any]) -> Iterator[Expr | LoopProgram]:
    for value in values:
        if isinstance(value, (Expr, LoopProgram)):
            yield value
        if isinstance(value, tuple):
            yield from _bodies(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, (*_WITHOUT_BODIES, type)):
            yield from _bodies(getattr(value, f.name) for f in dataclasses.fields(value))


def bind_fields(value: Any, values: Mapping[str, DimLike]) -> Any:
    """`value` with every symbolic dimension in it replaced: dimensions, types, expressions, tuples and dataclasses of them."""
    if isinstance(value, Dim):
        return substitute(value, values)
    if isinstance(value, TensorType):
        return value.substitute(values)
    if isinstance(value, Expr):
        return transform(value, lambda x: size(substitute(x.dim, values)) if isinstance(x, Size) else None)
    if isinstance(value, tuple):
        new = tuple(bind_fields(v, values) for v in value)
        return value if all(a is b for a, b in zip(new, value)) else new
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not isinstance(value, DType):
        changed = {f.name: bind_fields(getattr(value, f.name), values) for f in dataclasses.fields(value)}
        if all(v is getattr(value, k) for k, v in changed.items()):
            return value
        return dataclasses.replace(value, **changed)
    return value


class _Asked(Mapping[str, DimLike]):
    """Values of symbols that has none, and remembers which it was asked for."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}

    def __getitem__(self, symbol: str) -> DimLike:
        self.names[symbol] = None
        raise KeyError(symbol)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def op_symbols(op: Op) -> tuple[str, ...]:
    """Symbols that the attributes of an op name: extents, dimensions as data."""
    values = _Asked()
    op.bind(values)
    return tuple(values.names)


def normalise_axis(axis: int, rank: int, what: str) -> int:
    """axis in 0..rank-1; negative counts from the end. Raises TypeMismatch naming `what`."""
    if not -rank <= axis < rank:
        raise TypeMismatch(f"{what}: axis {axis} is out of range for rank {rank}")
    return axis % rank
