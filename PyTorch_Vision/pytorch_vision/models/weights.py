"""Weights in safetensors files: named tensors, metadata, and a checksum of both."""

import hashlib
import json
import os

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from pytorch_vision.data.image_files import GIT_LFS
from pytorch_vision.models.module_utils import HALVES, tensors_of
from pytorch_vision.runtime.files import (
    CheckpointError,
    atomic_write,
    errors_named,
    is_system_error,
)

CHECKSUM = "sha256"  # the checksum's name in the metadata
HOW_TO_USE = (
    "Begin a training with it (--weights, or classifier.begin_with), or put it into your own "
    "network: network.load_state_dict(...), then Classifier(network, data).save(...)"
)


def save_weights(
    path: str | os.PathLike,
    model: nn.Module,
    metadata: dict[str, str],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model's weights and running statistics as safetensors, as ``atomic_write`` does.

    Adds to the metadata a checksum of all tensors and strings, as safetensors has none. A tensor
    with several names is written once for each, as safetensors requires. With ``dtype``,
    floating-point tensors are converted.
    """
    tensors = {}
    for name, tensor in tensors_of(model).items():
        kept = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        tensors[name] = tensor.to("cpu", kept, copy=True, memory_format=torch.contiguous_format)
    with atomic_write(path) as file:
        file.write(to_bytes(tensors, {**metadata, CHECKSUM: _checksum(tensors, metadata)}))


def read_safetensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str] | None]:
    """Return the tensors of any safetensors file, and its metadata if ``save_weights`` wrote it.

    Half precision becomes float32. A safetensors file cannot run code.

    Raises:
        CheckpointError: the file is missing or damaged, or holds NaN.
        OSError: the file cannot be opened.
    """
    start, kind = first_bytes(path), ""
    if is_pickled(start):
        kind = f": it looks like torch.save's. {HOW_TO_USE}"
    elif start.startswith(GIT_LFS):
        kind = ": it is a Git LFS pointer, and `git lfs pull` fetches the file"
    damaged = errors_named(
        lambda error: f"{path} is not a whole safetensors file ({error}){kind}",
        CheckpointError,
        unless=is_system_error,
    )
    with damaged, safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    checksum = metadata.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(tensors, metadata):
        raise CheckpointError(
            f"{path} is damaged: its checksum does not match. Fetch it again, or train again."
        )
    return as_used(path, tensors), None if checksum is None else metadata


def first_bytes(path: str | os.PathLike) -> bytes:
    """Return the first 32 bytes of a file of weights.

    Raises:
        CheckpointError: the file is missing, or is a folder.
        OSError: the file cannot be opened.
    """
    try:
        with open(path, "rb") as file:
            return file.read(32)
    except FileNotFoundError:
        raise CheckpointError(
            f"there are no weights at {path}; train first, or name another file"
        ) from None
    except IsADirectoryError:
        raise CheckpointError(
            f"{path} is a folder: name the file of weights in it, such as weights.safetensors"
        ) from None


def is_pickled(start: bytes) -> bool:
    """Return whether a file's first bytes are ``torch.save``'s: of a zip archive or a pickle."""
    # a safetensors file begins with a length of eight bytes, and a brace
    return start.startswith((b"PK\x03\x04", b"\x80\x02")) and start[8:9] != b"{"


def as_used(path: str | os.PathLike, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a file's tensors with float32 in place of half precision.

    Raises:
        CheckpointError: a tensor holds NaN; infinity may be intended, as in a mask.
    """
    used = {name: one.float() if one.dtype in HALVES else one for name, one in tensors.items()}
    for name, tensor in used.items():
        if tensor.isnan().any():
            raise CheckpointError(f"{path} cannot be used: its tensor {name} holds NaN")
    return used


def _checksum(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """Return the SHA-256 of all names, types, shapes, numbers and strings."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
