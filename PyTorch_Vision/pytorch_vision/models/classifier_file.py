"""A classifier's file: its weights, and everything else about it as metadata."""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytorch_vision.data import Normalization
from pytorch_vision.data.image_files import DIGEST_LENGTH, MAX_SIDE, Scales, check_resize
from pytorch_vision.data.images import check_class_names
from pytorch_vision.models.history import History
from pytorch_vision.models.module_utils import load_state, tensors_of
from pytorch_vision.models.registry import (
    MODELS,
    create,
    describe_network,
    is_builtin,
    is_safe,
    made_by_of,
    without_weights,
)
from pytorch_vision.models.weights import HOW_TO_USE
from pytorch_vision.runtime.devices import random_state_kept
from pytorch_vision.runtime.files import CheckpointError, is_lack_of_memory, user_path
from pytorch_vision.runtime.text import ADDRESS, LONGEST_TEXT, checked_text, first_line

PRETRAINED = Path(__file__).parents[2] / "weights" / "resnet18_cifar10.safetensors"
LARGEST_CLASSES = 100_000
OPTIONS = {"name", "conv_padding", "mirrored", "logit_scale"}  # of the networks in ``MODELS``
DIGESTS = re.compile("[A-Za-z0-9+/]*")  # base64


def weights_path(path: str | os.PathLike) -> Path:
    """Return the path of a file of weights; "pretrained" is the one that comes with the package.

    Raises:
        CheckpointError: "pretrained" is not there.
    """
    if path == "pretrained" and not PRETRAINED.is_file():
        raise CheckpointError(
            f"there are no weights at {PRETRAINED}; they come with a clone of PyTorch_Vision, not "
            "with an installed package: train your own, or name another file"
        )
    return PRETRAINED if path == "pretrained" else user_path(path)


def metadata_of(classifier: Any) -> dict[str, str]:
    """Return everything about a classifier except its weights, as strings of JSON."""
    values = {
        "network": _made_by_still(classifier.network, len(classifier.class_names)),
        "class_names": classifier.class_names,
        "normalization": (classifier.normalization.mean, classifier.normalization.std),
        "history": [asdict(record) for record in classifier.history.records],
        "description": classifier.description,
        "size": classifier.size,
        "resize": classifier.resize,
        "scales": classifier.scales,
        "train_digests": "".join(classifier.train_digests),
    }

    def plain(value: Any) -> Any:  # a NumPy number as Python's
        return value.item() if hasattr(value, "item") else repr(value)

    return {name: json.dumps(value, default=plain) for name, value in values.items()}


def _made_by_still(network: nn.Module, classes: int) -> dict[str, Any] | None:
    """Return the name and options that make a network again; None if it was changed since.

    A user's function is not called: whoever loads the file passes the network.
    """
    made_by = made_by_of(network)
    if made_by is None or not is_safe(made_by):
        return made_by
    try:
        again = _made_again(made_by, classes, shapes_only=True)
    except Exception:  # nothing may stop a network from being saved
        return made_by
    one, other = (
        (type(it), ADDRESS.sub("", str(it)), {k: v.shape for k, v in tensors_of(it).items()})
        for it in (network, again)
    )
    return made_by if one == other else None


def _made_again(made_by: dict[str, Any], classes: int, shapes_only: bool = False) -> nn.Module:
    """Return a network that ``create`` makes, without memory for its tensors where that works.

    The global random state is kept. With ``shapes_only``, no tensor needs numbers.
    """
    with random_state_kept(torch.device("cpu")):
        # some, such as RegNet, compute with numbers while they are made
        with contextlib.suppress(Exception), torch.device("meta"):
            network = create(num_classes=classes, **made_by)
            # a file has no numbers for a non-persistent buffer
            buffers = dict(network.named_buffers())
            if shapes_only or network.state_dict().keys() >= buffers.keys():
                return network
        return create(num_classes=classes, **made_by)


@contextlib.contextmanager
def metadata_in(path: Path, texts: dict[str, str] | None) -> Iterator[dict[str, Any]]:
    """Yield a file's metadata; raise CheckpointError if it is not that of ``metadata_of``.

    ``texts`` is None for a safetensors file that ``save_weights`` did not write.
    """
    foreign = f"{path} is not a file that `python -m pytorch_vision train` writes"
    if texts is None:
        raise CheckpointError(f"{foreign} (it has no checksum). {HOW_TO_USE}")
    try:
        yield {name: json.loads(text) for name, text in texts.items()}
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, CheckpointError) or is_lack_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise CheckpointError(f"{foreign} ({reason}). {HOW_TO_USE}") from error


def arguments_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``Classifier``, except the network, from a file's metadata.

    Raises:
        KeyError, IndexError, TypeError, ValueError, AttributeError: it is foreign metadata.
    """
    return {
        "class_names": _class_names(metadata),
        "normalization": Normalization(*metadata["normalization"]),
        "size": _size(metadata),
        "resize": check_resize(metadata["resize"]),
        "scales": _scales(metadata),
        "history": History.from_dicts(metadata["history"]),
        "description": checked_text(metadata["description"]),
        "train_digests": train_digests_of(metadata),
    }


def _class_names(metadata: dict[str, Any]) -> tuple[str, ...]:
    names = metadata["class_names"]
    if not isinstance(names, list) or len(names) > LARGEST_CLASSES:
        raise ValueError("its class names are not a list, or too many")
    return check_class_names([checked_text(name) for name in names])


def _size(metadata: dict[str, Any]) -> tuple[int, int]:
    size = metadata["size"]
    if len(size) != 2 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"its images' size is {size}")
    return size[0], size[1]


def _scales(metadata: dict[str, Any]) -> Scales:
    found = metadata.get("scales", {})  # older files have none
    return {
        checked_text(kind): (float(black), float(white)) for kind, (black, white) in found.items()
    }


def train_digests_of(metadata: dict[str, Any]) -> list[str]:
    """Return the digests of the training files; an empty list if the metadata has none.

    Raises:
        ValueError: they are not digests.
    """
    text = metadata.get("train_digests", "")
    if not isinstance(text, str) or len(text) % DIGEST_LENGTH or not DIGESTS.fullmatch(text):
        raise ValueError("its train_digests are not digests")
    places = range(0, len(text), DIGEST_LENGTH)
    return [text[start : start + DIGEST_LENGTH] for start in places]


def network_from(
    path: Path, made_by: dict[str, Any] | None, classes: int, tensors: dict[str, Tensor]
) -> nn.Module:
    """Return a new network, as a file names it, with the file's weights.

    Raises:
        CheckpointError: only the caller can make the network.
        KeyError, TypeError, ValueError, RuntimeError: the metadata names an impossible network.
    """
    if made_by is None or not is_safe(made_by):
        name = "a custom network" if made_by is None else made_by["name"]
        raise CheckpointError(
            f"{path} holds the weights of {name}, which only you can make: pass it, as in "
            "Classifier.load(path, network), or name it, as in --model module:function"
        )
    network = _made_again(made_by, classes)
    load_state(network, tensors, assign=True)
    return network


def network_given(given: nn.Module | Callable[[int], nn.Module] | str, classes: int) -> nn.Module:
    """Return the caller's network; one that is given by name gets no learned weights.

    Raises:
        ValueError: it cannot be made.
    """
    if isinstance(given, str):
        return create(given, classes, **without_weights(given))
    if isinstance(given, nn.Module):
        return given
    try:
        made = given(classes)
    except TypeError as error:
        raise ValueError(
            f"network({classes}) fails: {first_line(error)}. Expected a network, or a function "
            "that makes one for a number of classes"
        ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"network({classes}) made {type(made).__name__}, expected a Module")
    return made


def made_by_in(metadata: dict[str, Any], tensors: int) -> dict[str, Any] | None:
    """Return the arguments of ``models.create`` that made a file's network.

    A file may not ask for a network with more blocks than the file has tensors.

    Raises:
        KeyError, TypeError, ValueError: they are impossible.
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
            raise ValueError("its blocks are not a list of numbers")
        if len(blocks) != 4 or min(blocks) < 1 or sum(blocks) > tensors:
            raise ValueError(f"its blocks are {blocks}")
    if name in MODELS and (unknown := network.keys() - OPTIONS):
        raise ValueError(f"its network has options {sorted(unknown)}")
    return network


def load_into(
    path: Path, network: nn.Module, made_by: dict[str, Any] | None, tensors: dict[str, Tensor]
) -> None:
    """Load a file's weights into the caller's network; if they do not fit, leave it unchanged."""
    own = made_by_of(network)
    both = [one for one in (own, made_by) if one is not None and is_builtin(one["name"])]
    if len(both) == 2 and own != made_by:
        raise CheckpointError(
            f"{path} is a {describe_network(both[1])}, expected a {describe_network(both[0])}"
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors_of(network).items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name)]
    if wrong:
        name = min(wrong)
        raise CheckpointError(
            f"{path} does not fit {describe_network(network)}: {name} is "
            f"{given.get(name, 'missing')}, expected {shapes.get(name, 'no such tensor')} "
            f"({len(wrong)} of {len(shapes)} tensors differ)"
        )
    load_state(network, tensors)
