"""TensorProto → NumPy array, checked before anything is read: lengths, external files, paths that leave the folder."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...ir.dtypes import DType, dtype_of
from ...ir.errors import InvalidModel, TypeMismatch, Unsupported

MAX_ELEMENTS = 2**47  # a declared shape above this is a mistake or an attack: 128 TB of bytes
# Bits an element takes in raw_data, where that is not the size of its NumPy type.
_PACKED_BITS: dict[int, int] = {
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
    TensorProto.FLOAT4E2M1: 4,
    TensorProto.INT2: 2,
    TensorProto.UINT2: 2,
}


def element_type(code: int, what: str) -> DType:
    """The DType of an ONNX element type. Raises Unsupported for types tgen has no name for, InvalidModel for none at all."""
    if code not in TensorProto.DataType.values() or code == TensorProto.UNDEFINED:
        raise InvalidModel(f"{what} has element type {code}, which ONNX does not define")
    try:
        return dtype_of(helper.tensor_dtype_to_np_dtype(code))
    except (TypeMismatch, KeyError, TypeError) as error:
        raise Unsupported(f"element type {TensorProto.DataType.Name(code).lower()}") from error


def checked_shape(dims: tuple[int, ...], what: str) -> tuple[int, ...]:
    """dims, or InvalidModel if one is negative or their product is absurd."""
    total = 1
    for d in dims:
        if d < 0:
            raise InvalidModel(f"{what} declares a negative dimension: {list(dims)}")
        total *= max(d, 1)
    if total > MAX_ELEMENTS:
        raise InvalidModel(f"{what} declares the shape {list(dims)}: {total:,} elements are more than any machine holds")
    return dims


def to_array(tensor: TensorProto, folder: Path | None, what: str) -> np.ndarray:
    """The values of a tensor; raw and external data of aligned plain types are not copied.

    folder: where external data lies (None: the model came without a folder). what: names the tensor in messages.
    Raises InvalidModel where the data is missing or its length is not what the shape needs, Unsupported for unknown types.
    """
    dtype = element_type(tensor.data_type, what)
    shape = checked_shape(tuple(tensor.dims), what)
    if tensor.HasField("segment"):
        raise Unsupported(f"{what} is stored in segments")
    external = tensor.data_location == TensorProto.EXTERNAL
    if external and dtype.kind == "string":
        raise InvalidModel(f"{what}: strings cannot be external data")
    if external or tensor.HasField("raw_data"):
        needed = _raw_bytes(tensor.data_type, dtype, shape)
        raw = read_external(tensor, folder, needed, what) if external else tensor.raw_data
        if len(raw) != needed:
            raise InvalidModel(f"{what} {dtype}{list(shape)} needs {needed:,} bytes of data; the model holds {len(raw):,}")
        return _decode(tensor, raw, dtype, shape, what)
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{what} {dtype}{list(shape)}: its data does not fit its shape: {error}") from error


def _raw_bytes(code: int, dtype: DType, shape: tuple[int, ...]) -> int:
    count = int(np.prod(shape, dtype=object)) if shape else 1
    return (count * _PACKED_BITS.get(code, dtype.size * 8) + 7) // 8


def _decode(tensor: TensorProto, raw: bytes | memoryview, dtype: DType, shape: tuple[int, ...], what: str) -> np.ndarray:
    if tensor.data_type in _PACKED_BITS:
        plain = TensorProto(data_type=tensor.data_type, dims=shape, raw_data=bytes(raw))
        return numpy_helper.to_array(plain)
    if dtype.kind == "string":
        raise InvalidModel(f"{what}: strings cannot be raw data")
    array = np.frombuffer(raw, np.dtype(dtype.numpy).newbyteorder("<") if dtype.numpy.kind in "iuf" else dtype.numpy)
    array = array.reshape(shape)
    if not array.dtype.isnative:
        return array.astype(dtype.numpy)
    return array if array.flags.aligned else array.copy()


def read_external(tensor: TensorProto, folder: Path | None, needed: int, what: str) -> memoryview:
    """The bytes of an external tensor, mapped read-only. Checks that the file lies in the model's folder and is long enough."""
    entries = {e.key: e.value for e in tensor.external_data}
    path = external_path(entries.get("location", ""), folder, what)
    offset = _number(entries, "offset", 0, what)
    length = _number(entries, "length", needed, what)
    if length != needed:
        raise InvalidModel(f"{what} needs {needed:,} bytes of external data; its entry says length = {length:,}")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if offset + length > size:
            raise InvalidModel(
                f"{what}: external file {path} has {size:,} bytes; bytes {offset:,} to {offset + length:,} are wanted"
            )
        if not length:
            return memoryview(b"")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return memoryview(mapped)[offset : offset + length]


def external_path(location: str, folder: Path | None, what: str) -> Path:
    """The file of an external tensor. Raises InvalidModel if it is missing, no regular file, or outside the model's folder."""
    if folder is None:
        raise InvalidModel(f"{what} is external data ({location!r}), but the model was not read from a file: load it by its path")
    if not location or "\0" in location:
        raise InvalidModel(f"{what}: its external data names no file")
    path, root = folder / location, os.path.realpath(folder)
    inside = os.path.commonpath([root, os.path.realpath(path)]) == root if not os.path.isabs(location) else False
    if not inside:
        raise InvalidModel(f"{what}: external data {location!r} lies outside the model's folder {folder}")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InvalidModel(f"{what}: external file {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise InvalidModel(f"{what}: external data {path} is not a regular file")
    return path


def _number(entries: dict[str, str], key: str, default: int, what: str) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise InvalidModel(f"{what}: external data has {key} = {text!r}, which is not a number of bytes")
    return int(text)


def read_model(source: object) -> tuple[onnx.ModelProto, Path | None, str]:
    """The protobuf, the folder its external data lies in, and a name for messages.

    source: path, bytes or onnx.ModelProto. Raises InvalidModel for what is not a readable binary ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        return source, None, source.graph.name or "model"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _parse(bytes(source), "the model's bytes"), None, "model"
    if not isinstance(source, (str, os.PathLike)):
        raise InvalidModel(f"a model is a path, bytes, an onnx.ModelProto or a tgen.Graph, not {type(source).__name__}")
    path = Path(source)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidModel(f"{path}: not a regular file")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidModel(f"{path}: cannot be read: {error.strerror}") from error
    return _parse(data, str(path)), path.parent, path.name


def _parse(data: bytes, what: str) -> onnx.ModelProto:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # its stubs are a package of their own

    if not data:
        raise InvalidModel(f"{what}: empty")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise InvalidModel(f"{what}: truncated, corrupt, or not an ONNX model ({error})") from error
    return model
