"""Those who run: each loads a model and gives a function from feeds to outputs. Only worker processes import this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.errors import Unsupported

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Job:
    """What a worker is asked to load. model: as the user gave it; onnx: the same as an .onnx file ("" if there is none)."""

    contestant: str
    model: str
    onnx: str
    shapes: dict[str, int]
    threads: int
    precision: str
    target: str


def load(job: Job) -> Run:
    """The contestant ready to run; raises Unsupported naming what is missing."""
    try:
        return _LOADERS[job.contestant](job)
    except ImportError as error:
        raise Unsupported(f"{job.contestant} is not installed: {error}") from error


def _tgen(job: Job) -> Run:
    import tgen

    executable = tgen.compile(job.model, shapes=job.shapes, threads=job.threads, precision=job.precision, target=job.target)
    return executable.run


def _needs_onnx(job: Job) -> str:
    if not job.onnx:
        raise Unsupported(f"{job.contestant} needs an .onnx file; exporting {job.model} takes torch and transformers")
    return job.onnx


def _onnxruntime(job: Job) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(_needs_onnx(job), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds))))


def _openvino(job: Job, precision: str = "f32") -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": job.threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(core.read_model(_needs_onnx(job)), "CPU", settings)
    request = compiled.create_infer_request()
    names = [o.get_any_name() for o in compiled.outputs]

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = request.infer(dict(feeds), share_inputs=True, share_outputs=True)
        return {name: results[k] for k, name in enumerate(names)}

    return run


def _openvino_bf16(job: Job) -> Run:
    return _openvino(job, "bf16")


def _torch(job: Job) -> Run:
    import torch
    import transformers

    torch.set_num_threads(job.threads)
    try:
        model = transformers.AutoModel.from_pretrained(job.model, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise Unsupported(f"torch runs Hugging Face folders only: {error}") from error

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return {"last_hidden_state": model(**{k: torch.from_numpy(v) for k, v in feeds.items()}).last_hidden_state.numpy()}

    return run


_LOADERS: dict[str, Callable[[Job], Run]] = {
    "tgen": _tgen,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "openvino-bf16": _openvino_bf16,
    "torch": _torch,
}
NAMES = tuple(_LOADERS)


def export_folder(folder: str, path: str) -> None:
    """A Hugging Face folder as an .onnx file with dynamic axes, by torch's exporter. Raises Unsupported without torch."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise Unsupported(f"exporting {folder} for other runtimes takes torch and transformers: {error}") from error
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    inputs = tuple(torch.ones((1, 8), dtype=torch.int64) for _ in names)
    axes = {name: {0: "batch", 1: "seq"} for name in [*names, "last_hidden_state"]}

    class Encoder(torch.nn.Module):
        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

    encoder = Encoder()
    encoder.model = model
    torch.onnx.export(
        encoder,
        inputs,
        path,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )
