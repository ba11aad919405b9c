"""Those who run: each loads a model and gives a call without arguments. Only worker processes load anything here.

A contestant is a name of NAMES; `tgen:OPTION` is tgen with another precision (`tgen:medium`) or target (`tgen:generic`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import PRECISIONS
from ..ir.errors import InvalidInput, Unsupported

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Job:
    """What a worker is asked to load.

    model: as the user gave it; onnx: the same as an .onnx file ("" if there is none, and `why_no_onnx` says why);
    cache: whether tgen may use its compile cache.
    """

    contestant: str
    model: str
    onnx: str
    threads: int
    precision: str
    target: str
    subnormals: str = "auto"
    cache: bool = True
    why_no_onnx: str = ""


@dataclass(frozen=True)
class Ready:
    """call: one run, with as little around it as the runtime's own interface allows; outputs: its result as arrays by name.

    note: what a reader of the row should know, such as that another precision than the one asked for is used.
    """

    call: Callable[[], Any]
    outputs: Callable[[Any], dict[str, np.ndarray]]
    note: str = ""


def base_name(contestant: str) -> str:
    """`tgen` for `tgen:medium`. Raises InvalidInput for what nobody knows."""
    from ..targets.find import all_targets

    name, _, option = contestant.partition(":")
    if name not in NAMES:
        raise InvalidInput(f"no contestant is named {contestant!r}; known: {', '.join(NAMES)}")
    options = (*PRECISIONS, *(t.name for t in all_targets()))
    if option and (name != "tgen" or option not in options):
        raise InvalidInput(f"contestant {contestant!r}: only tgen takes an option, one of {', '.join(options)}")
    return name


def load(job: Job, feeds: Feeds) -> Ready:
    """The contestant ready to run on these inputs; raises Unsupported naming what is missing."""
    return _LOADERS[base_name(job.contestant)][1](job, feeds)


def import_for(job: Job) -> None:
    """Imports the runtime, so that loading a model is timed without it; raises Unsupported where it is not installed, or cannot
    read such a model.
    """
    modules = _LOADERS[base_name(job.contestant)][0]
    if modules is _TORCH and not Path(job.model).is_dir():
        raise Unsupported(f"{job.contestant} runs Hugging Face folders only")
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise Unsupported(f"{job.contestant} is not installed: {error}") from error


def _tgen(job: Job, feeds: Feeds) -> Ready:
    import tgen

    option = job.contestant.partition(":")[2]
    if option:
        job = replace(job, precision=option) if option in PRECISIONS else replace(job, target=option)
    executable = tgen.compile(
        job.model, threads=job.threads, precision=job.precision, subnormals=job.subnormals, target=job.target, cache=job.cache
    )
    names = [spec.name for spec in executable.outputs]
    arrays = [feeds[spec.name] for spec in executable.inputs]
    cached = "from the cache" if executable.report["cached"] else ""
    return Ready(lambda: executable(*arrays), lambda results: dict(zip(names, results)), cached)


def _onnx_of(job: Job) -> str:
    if not job.onnx:
        raise Unsupported(f"{job.contestant} needs an .onnx file: {job.why_no_onnx or 'there is none'}")
    return job.onnx


def _onnxruntime(job: Job, feeds: Feeds) -> Ready:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(_onnx_of(job), options, providers=["CPUExecutionProvider"])
    names, given = [o.name for o in session.get_outputs()], dict(feeds)
    return Ready(lambda: session.run(names, given), lambda results: dict(zip(names, results)))


def _openvino(job: Job, feeds: Feeds, precision: str = "f32") -> Ready:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": job.threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(core.read_model(_onnx_of(job)), "CPU", settings)
    request, given = compiled.create_infer_request(), dict(feeds)
    names = [o.get_any_name() for o in compiled.outputs]
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return Ready(
        lambda: request.infer(given, share_inputs=True, share_outputs=True),
        lambda results: {name: np.array(results[k]) for k, name in enumerate(names)},
        "" if used == precision else f"runs as {used}",
    )


def _openvino_bf16(job: Job, feeds: Feeds) -> Ready:
    return _openvino(job, feeds, "bf16")


def _torch(job: Job, feeds: Feeds, *, half: bool = False, inductor: bool = False) -> Ready:
    import torch
    import transformers

    torch.set_num_threads(job.threads)
    try:
        model = transformers.AutoModel.from_pretrained(job.model, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise Unsupported(f"torch runs Hugging Face folders only: {error}") from error
    model = model.to(torch.bfloat16 if half else torch.float32)
    run = torch.compile(model) if inductor else model
    given = {name: torch.from_numpy(array) for name, array in feeds.items()}

    def call() -> Any:
        with torch.inference_mode():
            return run(**given).last_hidden_state

    return Ready(call, lambda hidden: {"last_hidden_state": hidden.float().numpy()})


def _torch_bf16(job: Job, feeds: Feeds) -> Ready:
    return _torch(job, feeds, half=True)


def _torch_inductor(job: Job, feeds: Feeds) -> Ready:
    return _torch(job, feeds, inductor=True)


def _torch_inductor_bf16(job: Job, feeds: Feeds) -> Ready:
    return _torch(job, feeds, half=True, inductor=True)


_TORCH = ("torch", "transformers")
_LOADERS: dict[str, tuple[tuple[str, ...], Callable[[Job, Feeds], Ready]]] = {
    "tgen": (("tgen",), _tgen),
    "onnxruntime": (("onnxruntime",), _onnxruntime),
    "openvino": (("openvino",), _openvino),
    "openvino-bf16": (("openvino",), _openvino_bf16),
    "torch": (_TORCH, _torch),
    "torch-bf16": (_TORCH, _torch_bf16),
    "torch-inductor": (_TORCH, _torch_inductor),
    "torch-inductor-bf16": (_TORCH, _torch_inductor_bf16),
}
NAMES = tuple(_LOADERS)
NEED_ONNX = ("onnxruntime", "openvino", "openvino-bf16")
