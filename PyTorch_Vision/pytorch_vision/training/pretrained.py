"""Trained networks in one file each: the weights, and everything needed to use them.

The weights that come with a clone of PyTorch_Vision lie in ``weights/``, beside the package.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from pytorch_vision.data import ImageData
from pytorch_vision.data.errors import is_of_the_system
from pytorch_vision.data.images import check_class_names, check_mean_and_std
from pytorch_vision.models import ResNet
from pytorch_vision.training.checkpoint import first_line
from pytorch_vision.training.files import checked_text, written_whole
from pytorch_vision.training.history import History
from pytorch_vision.training.recipe import CheckpointError

CHECKSUM = "sha256"  # its name in the header
LARGEST_CLASSES = 100_000
PRETRAINED = Path(__file__).parents[2] / "weights" / "resnet18_cifar10.safetensors"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained network and what it was trained on.

    Attributes:
        model: the network.
        class_names: by the logit's place.
        mean_and_std: by which its images are normalised.
        history: of its training.
        description: what it was trained on, for print-outs.
    """

    model: ResNet
    class_names: tuple[str, ...]
    mean_and_std: tuple[tuple[float, ...], tuple[float, ...]]
    history: History
    description: str

    def normalized(self, data: ImageData) -> ImageData:
        """Return the same data, normalised as the network's training images were.

        Raises:
            CheckpointError: the data has other classes.
        """
        if self.class_names != data.class_names:
            raise CheckpointError(
                f"the weights were trained on other classes ({', '.join(self.class_names)}) than "
                f"those of {data.name} ({', '.join(data.class_names)})"
            )
        return replace(data, mean_and_std=self.mean_and_std)


def save_trained(
    path: str | os.PathLike, trained: TrainedModel, dtype: torch.dtype = torch.float32
) -> None:
    """Write a trained network as one safetensors file, whole or not at all.

    Args:
        path: the file; its folder is made if it is missing.
        trained: on any device.
        dtype: that floating-point tensors are stored in.
    """
    metadata = {
        "blocks": trained.model.blocks,
        "geometry": trained.model.geometry,
        "class_names": trained.class_names,
        "mean_and_std": trained.mean_and_std,
        "history": [asdict(record) for record in trained.history.records],
        "description": trained.description,
    }
    save_weights(path, trained.model, {k: json.dumps(v) for k, v in metadata.items()}, dtype)


def load_trained(path: str | os.PathLike, like: ResNet | None = None) -> TrainedModel:
    """Read what ``save_trained`` wrote; a file can run no code.

    Args:
        path: the file, or "pretrained" for the one that comes with PyTorch_Vision: ResNet18
            trained on CIFAR-10.
        like: a network whose architecture the weights must have; None for any.

    Raises:
        CheckpointError: the file is missing, damaged, another one's or of another architecture.
    """
    path = PRETRAINED if path == "pretrained" else Path(path)
    if path == PRETRAINED and not path.is_file():
        raise CheckpointError(
            f"there are no weights at {path}; they come with a clone of PyTorch_Vision, not with "
            "an installed package: train your own, or name another file"
        )
    tensors, texts = load_weights(path)
    try:
        trained = _trained({name: json.loads(text) for name, text in texts.items()}, tensors)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} holds other weights than `python -m pytorch_vision train` writes "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error
    model = trained.model
    if like is not None and like.architecture != model.architecture:
        raise CheckpointError(f"{path} is a {model.architecture}, expected a {like.architecture}")
    return trained


def _trained(metadata: dict[str, Any], tensors: dict[str, Tensor]) -> TrainedModel:
    """Put together what a file holds.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: it is not what ``save_trained`` writes, or
            asks for more memory than its tensors have.
    """
    blocks, geometry = metadata["blocks"], metadata["geometry"]
    if not isinstance(blocks, list) or not all(type(count) is int for count in blocks):
        raise ValueError("its blocks are no list of numbers")
    if min(blocks) < 1 or sum(blocks) > len(tensors):
        raise ValueError(f"its blocks are {blocks}")
    names = metadata["class_names"]
    if not isinstance(names, list) or len(names) > LARGEST_CLASSES:
        raise ValueError("its class names are no list, or too many")
    names = check_class_names([checked_text(name, 200) for name in names])
    with torch.device("meta"):  # no memory but that of the tensors
        model = ResNet(blocks, len(names), geometry)
    model.load_state_dict(tensors, assign=True)
    return TrainedModel(
        model=model,
        class_names=names,
        mean_and_std=check_mean_and_std(metadata["mean_and_std"]),
        history=History.from_dicts(metadata["history"]),
        description=checked_text(metadata["description"], 500),
    )


def save_weights(
    path: str | os.PathLike,
    model: nn.Module,
    metadata: dict[str, str],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model's weights and running statistics as safetensors, whole or not at all.

    The header also gets a checksum of all tensors and strings, as safetensors has none.

    Args:
        path: the file; its folder is made if it is missing.
        model: on any device.
        metadata: strings kept in the file's header.
        dtype: that floating-point tensors are stored in.
    """
    tensors = {
        name: tensor.detach()
        .cpu()
        .to(dtype if tensor.is_floating_point() else tensor.dtype)
        .contiguous()
        for name, tensor in model.state_dict().items()
    }
    with written_whole(path) as file:
        file.write(to_bytes(tensors, {**metadata, CHECKSUM: _checksum(tensors, metadata)}))


def load_weights(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, float32, and the metadata of a safetensors file; it can run no code.

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
    except Exception as error:  # a damaged or foreign file can fail anywhere inside the reader
        if is_of_the_system(error):
            raise
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error
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
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path} cannot be used: {name} in it is not finite")
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }, metadata


def _checksum(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """Return the SHA-256 of all names, types, shapes, numbers and strings."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
