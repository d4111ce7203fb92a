"""What a file looks like, from its first bytes and the names in its archive."""

from __future__ import annotations

import io
import re
import zipfile

_STARTS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (Keras)",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself (run: git lfs pull)",
    b"ftrt": "a TensorRT engine",
    b"ptrt": "a TensorRT engine",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
}
_ZIP = b"PK\x03\x04"
_PICKLE = re.compile(rb"\x80[\x02-\x05]|c[\w.]+\n[\w.]+\n")  # the protocol; without one (0 and 1), a name to import
_MEMBERS = (  # the end of a member's name tells the archive; the first that is there decides
    ("/constants.pkl", "torchscript", "a TorchScript archive"),
    ("models/model.json", "pt2", "a torch.export archive (.pt2)"),
    ("serialized_exported_program.json", "pt2", "a torch.export archive (.pt2)"),
    ("configs/inference.json", "monai_bundle", "a MONAI bundle"),
    ("configs/inference.yaml", "monai_bundle", "a MONAI bundle"),
    ("configs/inference.yml", "monai_bundle", "a MONAI bundle"),
    ("/data.pkl", "pickle", "a PyTorch file made by torch.save"),
    ("/data.pt", "", "a PyTorch file made by torch.package"),
)
Kind = tuple[str, str]  # a short name, empty where no format takes it, and words for people


def kind_of(data: bytes) -> Kind:
    """What a file is: `onnx`, `torchscript`, `pt2`, `pickle`, `safetensors`, `monai_bundle`, `zip` or none of them."""
    if not data:
        return "", "an empty file"
    for start, words in _STARTS.items():
        if data.startswith(start):
            return "", words
    if data.startswith(_ZIP):
        return _archive(data)
    if _PICKLE.match(data):
        return "pickle", "a pickle (a PyTorch file in the format before 1.6)"
    header = int.from_bytes(data[:8], "little")
    if data[8:9] == b"{" and header > 0:
        cut = "" if header + 8 <= len(data) else ", cut off"
        return "safetensors", f"a safetensors file{cut}"
    if data[:512].lstrip()[:1] == b"<":
        return "", "a web page or XML, not the file itself"
    if data[:1] == b"\x08":  # field 1 of ModelProto, ir_version
        return "onnx", "an ONNX network"
    return "", "no checkpoint of a kind that is known"


def _archive(data: bytes) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [f"/{name}" for name in archive.namelist()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return "zip", "a ZIP archive (as PyTorch writes), cut off or damaged"
    for end, kind, words in _MEMBERS:
        if any(name.endswith(end) for name in names):
            return kind, words
    return "zip", "a ZIP archive of something else"
