"""A Hugging Face folder as an .onnx file, for runtimes that read nothing else: `python -m tgen.bench.export FOLDER FILE`.

Takes torch and transformers, and a process of its own: what they load would stay in the process that measures.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from ..ir.errors import TgenError, Unsupported

SECONDS = 600.0  # the longest an export may take
OPSET = 17


def onnx_file(model: Path, folder: Path) -> tuple[str, str]:
    """(the .onnx file for a model file or folder, "") or ("", why there is none). Exports go into `folder`."""
    if not model.is_dir():
        return str(model), ""
    if (model / "model.onnx").is_file():
        return str(model / "model.onnx"), ""
    path = folder / "model.onnx"
    command = [sys.executable, "-m", "tgen.bench.export", str(model), str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "", f"exporting {model} took longer than {SECONDS:g} s"
    if done.returncode == 0 and path.is_file():
        return str(path), ""
    said = done.stderr.strip().splitlines()
    return "", f"exporting {model} failed: {said[-1] if said else f'code {done.returncode}'}"


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

    class Encoder(torch.nn.Module):  # type: ignore[misc, unused-ignore] # where torch is missing, its class is Any
        model: Any

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
        opset_version=OPSET,
        dynamo=False,
    )


def main() -> None:
    try:
        export_folder(*sys.argv[1:3])
    except TgenError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
