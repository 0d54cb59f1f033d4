"""Weights in safetensors files with a checksum, and the networks that they are put into."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from pytorch_vision.models.module_utils import HALVES, load_state, tensors_of
from pytorch_vision.models.registry import (
    create,
    describe_network,
    has_weights,
    is_ours,
    made_by_of,
)
from pytorch_vision.runtime.files import CheckpointError, atomic_write, is_system_error
from pytorch_vision.runtime.text import LONGEST_TEXT

CHECKSUM = "sha256"  # its name in the header
NOT_FINITE = "not_finite"  # of the list of tensors that may hold infinity
COMPLEX = "::complex"  # what the name of complex numbers ends in


def save_weights(
    path: str | os.PathLike,
    model: nn.Module,
    metadata: dict[str, str],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model's weights and running statistics as safetensors, whole or not at all.

    The header also gets a checksum of all tensors and strings, as safetensors has none. A tensor
    of several names is written once for each: safetensors knows no others. Complex numbers are
    written as pairs.

    Args:
        path: the file; its folder is made if it is missing.
        model: on any device.
        metadata: strings kept in the file's header.
        dtype: that floating-point tensors are stored in; None for their own.
    """
    tensors = {}
    for name, tensor in tensors_of(model).items():
        if tensor.is_complex():
            name, tensor = name + COMPLEX, torch.view_as_real(tensor.resolve_conj())
        kept = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        tensors[name] = tensor.to("cpu", kept, copy=True, memory_format=torch.contiguous_format)
    # a mask may hold infinity, which what was learned may not
    learned = {name for name, one in model.named_parameters() if one.requires_grad}
    odd = [name for name, one in tensors.items() if name not in learned and not _is_finite(one)]
    metadata = {**metadata, **({NOT_FINITE: json.dumps(odd)} if odd else {})}
    with atomic_write(path) as file:
        file.write(to_bytes(tensors, {**metadata, CHECKSUM: _checksum(tensors, metadata)}))


def load_weights(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file; it can run no code.

    What is in half precision becomes float32.

    Raises:
        CheckpointError: the file is missing, damaged, not of ``save_weights``, or holds weights
            that are not finite.
        OSError: it cannot be opened.
    """
    try:
        with open(path, "rb"), safe_open(path, "pt") as file:  # open() says why it cannot
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise CheckpointError(
            f"there are no weights at {path}; train first, or name another file"
        ) from None
    except IsADirectoryError:
        raise CheckpointError(
            f"{path} is a folder: name the file of weights in it, as weights.safetensors"
        ) from None
    except Exception as error:  # a damaged or foreign file can fail anywhere inside the reader
        if is_system_error(error):
            raise
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}){_what_else(path)}"
        ) from error
    expected = metadata.pop(CHECKSUM, None)
    if expected is None:
        raise CheckpointError(
            f"{path} holds other weights than `python -m pytorch_vision train` writes (it has no "
            "checksum)"
        )
    if expected != _checksum(tensors, metadata):
        raise CheckpointError(
            f"{path} is damaged: its checksum does not fit. Fetch it again, or train again."
        )
    odd = metadata.pop(NOT_FINITE, "")
    for name, tensor in tensors.items():
        if json.dumps(name) not in odd and not _is_finite(tensor):
            raise CheckpointError(f"{path} cannot be used: {name} in it is not finite")
    return dict(_as_used(name, tensor) for name, tensor in tensors.items()), metadata


def _what_else(path: str | os.PathLike) -> str:
    """Say what a file is by its first bytes, if they tell, and what to do with it."""
    with open(path, "rb") as file:
        start = file.read(32)
    if start.startswith(b"version https://git-lfs"):
        return ": it is a pointer of Git LFS, and `git lfs pull` fetches the file"
    # a zip archive, or a pickle; safetensors begins with a length, and then a brace
    if start.startswith((b"PK\x03\x04", b"\x80\x02")) and start[8:9] != b"{":
        return (
            ": it looks like torch.save's. If you trust it, network.load_state_dict(torch.load("
            "...)), and Classifier(network, data).save(...) makes one that can be read here"
        )
    return ""


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.float().isfinite().all())


def _as_used(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Return name and numbers of a tensor of a file, as a network has them."""
    if tensor.dtype in HALVES:
        tensor = tensor.float()
    if name.endswith(COMPLEX):
        return name.removesuffix(COMPLEX), torch.view_as_complex(tensor)
    return name, tensor


def _checksum(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """Return the SHA-256 of all names, types, shapes, numbers and strings."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def made_by(metadata: dict[str, Any], tensors: int) -> dict[str, Any] | None:
    """Return how a file says that its network was made: the arguments of ``models.create``.

    Args:
        metadata: of the file.
        tensors: how many it has, which bounds what it may ask for.

    Raises:
        KeyError, TypeError, ValueError: it says something impossible.
    """
    network = metadata["network"]
    if network is None:
        return None
    name = network["name"]
    if not isinstance(name, str) or len(name) > LONGEST_TEXT:
        raise ValueError("its network has no name")
    if name == "ResNet":
        blocks = network["blocks"]
        if not isinstance(blocks, list) or not all(type(count) is int for count in blocks):
            raise ValueError("its blocks are no list of numbers")
        if len(blocks) != 4 or min(blocks) < 1 or sum(blocks) > tensors:
            raise ValueError(f"its blocks are {blocks}")
        if "geometry" in network:  # what conv_padding was called before
            network = {**network, "conv_padding": network["geometry"]}
            del network["geometry"]
    return network


def restored_network(
    path: Path, network: dict[str, Any] | None, names: tuple[str, ...], tensors: dict[str, Tensor]
) -> nn.Module:
    """Return the network that a file was made of, with the file's weights.

    Raises:
        CheckpointError: only the caller can make this network.
        TypeError, ValueError, RuntimeError: the weights do not fit it.
    """
    name = "a network of somebody's own" if network is None else network["name"]
    options = {key: value for key, value in (network or {}).items() if key != "name"}
    # with other options, or weights to begin with, torchvision would download some
    other = options.keys() - {"transform_input"} or has_weights(name)
    torchvisions_own = name.startswith("torchvision:") and other
    if network is None or not is_ours(name) or torchvisions_own:
        raise CheckpointError(
            f"{path} holds the weights of {name}, which only you can make: give it as "
            "Classifier.load(path, network), or as --model module:function"
        )
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"):  # no memory but that of the tensors
            model = create(name, len(names), **options)
        load_state(model, tensors, assign=True)
        if any(buffer.is_meta for buffer in model.buffers()):  # what no file keeps is made anew
            model = create(name, len(names), **options)
            load_state(model, tensors)
    return model


def fill_network(
    path: Path, model: nn.Module, network: dict[str, Any] | None, tensors: dict[str, Tensor]
) -> None:
    """Put a file's weights into a caller's network.

    Raises:
        CheckpointError: they do not fit; names what differs, and leaves the network as it was.
    """
    own = made_by_of(model)
    if own and network and own != network and is_ours(own["name"]) and is_ours(network["name"]):
        raise CheckpointError(
            f"{path} is a {describe_network(network)}, expected a {describe_network(model)}"
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name)]
    if wrong:
        name = min(wrong)
        raise CheckpointError(
            f"{path} does not fit {describe_network(model)}: {name} is "
            f"{given.get(name, 'missing')}, expected {shapes.get(name, 'nothing of that name')} "
            f"({len(wrong)} of {len(shapes)} tensors differ)"
        )
    load_state(model, tensors)
