"""Samples of resampling: every way to place, weigh and round, by extents and by scales."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.op import OPS
from tgen.ir.ops.resize import NEAREST, TRANSFORMS

from .samples import Sample

SCALES = [None, 2.0, 0.6, 1.7]
EXTENTS = [(7, 13), (9, 4), (5, 1), (1, 3)]


def _oracle(axis: int, size: int, scale: float | None, **attributes: Any) -> Callable[..., np.ndarray]:
    """Resize of one axis by ONNX's reference, whose coordinates are float64 as ours are."""
    roi = np.array(attributes.pop("roi", ()), np.float32)
    scales = None if scale is None else np.array([scale], np.float32)
    sizes = None if scale is not None else np.array([size])
    rest = {"mode": "nearest", **attributes}

    def run(x: np.ndarray) -> np.ndarray:
        from onnx.reference.ops.op_resize import Resize

        return np.asarray(Resize.eval(x, roi, scales, sizes, axes=[axis], **rest)).astype(x.dtype)

    return run


def _modes() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Fields of ours, attributes of ONNX's."""
    for transform, nearest in itertools.product(TRANSFORMS[:5], NEAREST):
        yield {"transform": transform, "nearest": nearest}, {"coordinate_transformation_mode": transform, "nearest_mode": nearest}
    for transform, mode, outside in itertools.product(TRANSFORMS[:5], ("linear", "cubic"), (False, True)):
        if mode == "cubic" or not outside:
            theirs = {"mode": mode, "coordinate_transformation_mode": transform, "exclude_outside": int(outside)}
            yield {"transform": transform, "mode": mode, "exclude_outside": outside}, theirs
    for mode in ("linear", "cubic"):
        yield {"mode": mode, "antialias": True}, {"mode": mode, "antialias": 1, "exclude_outside": 0}


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    turns = itertools.cycle(itertools.product(EXTENTS, SCALES))
    for ours, theirs in _modes():
        (extent, wanted), scale = next(turns)
        size = wanted if scale is None else int(np.floor(np.float32(extent) * np.float32(scale)))
        axis, shape = (1, (2, extent, 3)) if wanted % 2 else (2, (2, 3, extent))
        x = rng.standard_normal(shape, dtype=np.float32)
        op = OPS["resize_axis"](size=size, axis=axis, scale=None if scale is None else float(np.float32(scale)), **ours)
        yield Sample(op, (x,), _oracle(axis, size, scale, **theirs), 1e-4, 2e-5)
    for roi, size in (((0.2, 0.8), 6), ((-0.3, 1.2), 9), ((0.9, 0.1), 5)):
        theirs = {"roi": roi, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.5, "mode": "linear"}
        ours = {"roi": roi, "transform": "tf_crop_and_resize", "extrapolation": 7.5, "mode": "linear"}
        x = rng.standard_normal((3, 8), dtype=np.float32)
        yield Sample(OPS["resize_axis"](size=size, axis=1, **ours), (x,), _oracle(1, size, None, **theirs), 1e-4, 1e-5)
    for dtype in (np.uint8, np.int64, np.bool_, np.float16, np.float64):
        x = rng.integers(0, 2 if dtype is np.bool_ else 200, (4, 5)).astype(dtype)
        nearest = [0, 0, 1, 1, 2, 3, 3, 4]
        yield Sample(
            OPS["resize_axis"](size=8, axis=1, transform="asymmetric", nearest="floor"), (x,), lambda v, at=nearest: v[:, at]
        )
    x, places = rng.standard_normal((3, 5), dtype=np.float32), rng.integers(-2, 7, (4, 3))
    weights = rng.standard_normal((4, 3), dtype=np.float32)
    yield Sample(OPS["interpolate"](axis=0), (x, places % 3, weights), lambda v, p, w: np.einsum("ntc,nt->nc", v[p], w), 1e-5, 1e-5)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(41)))
