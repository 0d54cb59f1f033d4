"""Trained networks in one file each: the weights, and everything needed to use them.

The weights that come with a clone of PyTorch_Vision lie in ``weights/``, beside the package.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytorch_vision.data import ImageData
from pytorch_vision.data.images import MeanAndStd, check_class_names, check_mean_and_std
from pytorch_vision.data.pictures import MAX_SIDE, Fit, check_fit
from pytorch_vision.models import describe_network, network_name
from pytorch_vision.training.checkpoint import first_line
from pytorch_vision.training.files import checked_text
from pytorch_vision.training.history import History
from pytorch_vision.training.recipe import CheckpointError
from pytorch_vision.training.weights import (
    filled,
    load_weights,
    made_by,
    restored,
    save_weights,
)

LARGEST_CLASSES = 100_000
PRETRAINED = Path(__file__).parents[2] / "weights" / "resnet18_cifar10.safetensors"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained network, what it was trained on, and how its images were made ready for it.

    Attributes:
        model: the network.
        class_names: by the logit's place.
        mean_and_std: by which its images are normalised.
        history: of its training.
        description: what it was trained on, for print-outs.
        size: height and width of its images, in pixels.
        fit: how pictures of other sizes were brought to it, as ``data.fitted`` has it.
    """

    model: nn.Module
    class_names: tuple[str, ...]
    mean_and_std: MeanAndStd
    history: History
    description: str
    size: tuple[int, int] = (32, 32)
    fit: Fit = "crop"

    @classmethod
    def of(cls, model: nn.Module, data: ImageData, history: History) -> "TrainedModel":
        """Return a network that was trained on some data, with what there is to say of it."""
        return cls(
            model,
            data.class_names,
            data.mean_and_std,
            history,
            f"{network_name(model)} on {data.name}",
            data.size,
            data.fit,
        )

    def normalized(self, data: ImageData) -> ImageData:
        """Return the same data, normalised as the network's training images were.

        Raises:
            CheckpointError: the data has other classes, or images of another size.
        """
        if self.class_names != data.class_names:
            raise CheckpointError(
                f"the weights were trained on other classes ({', '.join(self.class_names)}) than "
                f"those of {data.name} ({', '.join(data.class_names)})"
            )
        if self.size != data.size:
            (height, width), (rows, columns) = self.size, data.size
            raise CheckpointError(
                f"the weights were trained on images of {height}x{width} pixels, those of "
                f"{data.name} have {rows}x{columns}: read them in that size"
            )
        return replace(data, mean_and_std=self.mean_and_std)


def begin_with(model: nn.Module, path: str | os.PathLike) -> str:
    """Put the weights of an earlier training into a model, to train on from there.

    Those that do not fit are left as they are: a classifier for other classes begins anew.

    Args:
        model: changed in place.
        path: the file, or "pretrained".

    Returns:
        A sentence that says what was taken over.

    Raises:
        CheckpointError: the file is missing or damaged, or less than half of its weights fit.
    """
    path = _known(path)
    own, (tensors, texts) = model.state_dict(), load_weights(path)
    fitting = {
        name: tensor
        for name, tensor in tensors.items()
        if name in own and own[name].shape == tensor.shape
    }
    others = sorted(own.keys() - fitting.keys())
    if 2 * len(fitting) < len(own):
        raise CheckpointError(
            f"{path} does not fit {describe_network(model)}: of its {len(own)} tensors only "
            f"{len(fitting)} have the name and the shape of one in the file"
        )
    model.load_state_dict(fitting, strict=False)
    described = checked_text(json.loads(texts.get("description", '"an earlier run"')), 500)
    new = f"; new: {', '.join(others)}" if others else ""
    return f"Beginning with the weights of {described}{new}"


def save_trained(
    path: str | os.PathLike, trained: TrainedModel, dtype: torch.dtype = torch.float32
) -> None:
    """Write a trained network as one safetensors file, whole or not at all.

    Args:
        path: the file; its folder is made if it is missing.
        trained: on any device. How its network was made is kept, if ``models.create`` made it.
        dtype: that floating-point tensors are stored in.
    """
    metadata = {
        "network": getattr(trained.model, "made_by", None),
        "class_names": trained.class_names,
        "mean_and_std": trained.mean_and_std,
        "history": [asdict(record) for record in trained.history.records],
        "description": trained.description,
        "size": trained.size,
        "fit": trained.fit,
    }
    save_weights(path, trained.model, {k: json.dumps(v) for k, v in metadata.items()}, dtype)


def load_trained(
    path: str | os.PathLike, model: nn.Module | Callable[[int], nn.Module] | None = None
) -> TrainedModel:
    """Read what ``save_trained`` wrote; a file can run no code.

    Args:
        path: the file, or "pretrained" for the one that comes with PyTorch_Vision: ResNet18
            trained on CIFAR-10.
        model: a network to put the weights into, such as one of your own, or a function that
            makes it for a number of classes. Without it, a network of ``models.create`` is made
            anew; a function of somebody's own, which a file may name too, is never imported.

    Raises:
        CheckpointError: the file is missing, damaged, another one's, or its weights do not fit
            the network.
    """
    path = _known(path)
    tensors, texts = load_weights(path)
    try:
        metadata = {name: json.loads(text) for name, text in texts.items()}
        network, names = made_by(metadata, len(tensors)), _names(metadata)
        if model is None:
            model = restored(path, network, names, tensors)
        else:
            model = model if isinstance(model, nn.Module) else model(len(names))
            filled(path, model, network, tensors)
        return _trained(metadata, model)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path} holds other weights than `python -m pytorch_vision train` writes "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error


def _known(path: str | os.PathLike) -> Path:
    """Return the path of weights, which can be named "pretrained"."""
    if path == "pretrained" and not PRETRAINED.is_file():
        raise CheckpointError(
            f"there are no weights at {PRETRAINED}; they come with a clone of PyTorch_Vision, not "
            "with an installed package: train your own, or name another file"
        )
    return PRETRAINED if path == "pretrained" else Path(path)


def _names(metadata: dict[str, Any]) -> tuple[str, ...]:
    names = metadata["class_names"]
    if not isinstance(names, list) or len(names) > LARGEST_CLASSES:
        raise ValueError("its class names are no list, or too many")
    return check_class_names([checked_text(name, 200) for name in names])


def _trained(metadata: dict[str, Any], model: nn.Module) -> TrainedModel:
    """Put together what a file holds.

    Raises:
        KeyError, TypeError, ValueError: it is not what ``save_trained`` writes.
    """
    size = metadata.get("size", [32, 32])
    if len(size) != 2 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"its images' size is {size}")
    return TrainedModel(
        model=model,
        class_names=_names(metadata),
        mean_and_std=check_mean_and_std(metadata["mean_and_std"]),
        history=History.from_dicts(metadata["history"]),
        description=checked_text(metadata["description"], 500),
        size=(size[0], size[1]),
        fit=check_fit(metadata.get("fit", "crop")),
    )
