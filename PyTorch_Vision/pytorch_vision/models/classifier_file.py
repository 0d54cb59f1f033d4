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
from pytorch_vision.models.module_utils import load_state, ready, tensors_of
from pytorch_vision.models.registry import (
    TIMM,
    TORCHVISION,
    create,
    describe_network,
    has_pretrained_weights,
    is_builtin,
    made_by_of,
    without_weights,
)
from pytorch_vision.models.weights import HOW_TO_USE
from pytorch_vision.runtime.devices import random_state_kept
from pytorch_vision.runtime.files import CheckpointError, user_path
from pytorch_vision.runtime.text import ADDRESS, LONGEST_TEXT, checked_text, first_line, printable

PRETRAINED = Path(__file__).parents[2] / "weights" / "resnet18_cifar10.safetensors"
LARGEST_CLASSES = 100_000
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
    if made_by is None or not is_builtin(made_by["name"]) or _would_download(made_by):
        return made_by
    try:
        again = _without_numbers(made_by, classes)
    except Exception:  # nothing may stop a network from being saved
        return made_by
    described = [ADDRESS.sub("", str(one)) for one in (network, again)]
    shapes = [{k: v.shape for k, v in tensors_of(one).items()} for one in (network, again)]
    same = type(network) is type(again) and described[0] == described[1] and shapes[0] == shapes[1]
    return made_by if same else None


def _without_numbers(made_by: dict[str, Any], classes: int) -> nn.Module:
    """Return a network that ``create`` makes, without memory for its tensors where that works.

    The global random state is kept.
    """
    options = {key: value for key, value in made_by.items() if key != "name"}
    with random_state_kept(torch.device("cpu")):
        try:
            with torch.device("meta"):
                return create(made_by["name"], classes, **options)
        except Exception:  # some, such as RegNet, compute with numbers while they are made
            return create(made_by["name"], classes, **options)


@contextlib.contextmanager
def foreign_refused(path: Path) -> Iterator[None]:
    """Raise CheckpointError if a file's metadata turns out not to be that of ``metadata_of``."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path} is not a file that `python -m pytorch_vision train` writes "
            f"({type(error).__name__}: {first_line(error)}). {HOW_TO_USE}"
        ) from error


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


def network_of(
    path: Path,
    metadata: dict[str, Any],
    tensors: dict[str, Tensor],
    given: nn.Module | Callable[[int], nn.Module] | str | None,
) -> nn.Module:
    """Return a network with a file's weights: the caller's, or a new one.

    Raises:
        CheckpointError: the metadata names an impossible network, only the caller can make the
            network, or the weights do not fit it.
        ValueError: the caller's network cannot be made.
    """
    with foreign_refused(path):
        made_by, classes = _made_by(metadata, len(tensors)), len(_class_names(metadata))
        size = _size(metadata)
        if given is None:
            return _made_again(path, made_by, classes, tensors)
    if isinstance(given, str):
        given = create(given, classes, **without_weights(given))
    elif not isinstance(given, nn.Module):
        try:
            given = given(classes)
        except TypeError as error:
            raise ValueError(
                f"network({classes}) fails: {first_line(error)}. Expected a network, or a function "
                "that makes one for a number of classes"
            ) from error
    network = ready(given, size)
    _fill(path, network, made_by, tensors)
    return network


def made_by_in(metadata: dict[str, Any], tensors: int) -> dict[str, Any] | None:
    """Return name and options with which ``create`` makes a file's network without a download.

    None if it is someone's own network, or the metadata does not name it.
    """
    try:
        made_by = _made_by(metadata, tensors)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    known = made_by is not None and is_builtin(made_by["name"]) and not _would_download(made_by)
    return made_by if known else None


def _made_by(metadata: dict[str, Any], tensors: int) -> dict[str, Any] | None:
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
    return network


def _would_download(made_by: dict[str, Any]) -> bool:
    """Tell whether options such as weights=, or a name with weights, would start a download."""
    name, options = made_by["name"], made_by.keys() - {"name"}
    if name.startswith(TIMM):
        return {key: made_by[key] for key in options} != without_weights(name)
    unusual = bool(options - {"transform_input"}) or has_pretrained_weights(name)
    return name.startswith(TORCHVISION) and unusual


def _made_again(
    path: Path, made_by: dict[str, Any] | None, classes: int, tensors: dict[str, Tensor]
) -> nn.Module:
    """Return a new network, as the file names it, with the file's weights."""
    name = "a custom network" if made_by is None else made_by["name"]
    options = {key: value for key, value in (made_by or {}).items() if key != "name"}
    if made_by is None or not is_builtin(name) or _would_download(made_by):
        raise CheckpointError(
            f"{path} holds the weights of {name}, which only you can make: pass it, as in "
            "Classifier.load(path, network), or name it, as in --model module:function"
        )
    network = _without_numbers(made_by, classes)
    load_state(network, tensors, assign=True)
    if any(buffer.is_meta for buffer in network.buffers()):  # non-persistent ones
        with random_state_kept(torch.device("cpu")):
            network = create(name, classes, **options)
        load_state(network, tensors)
    return network


def _fill(
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


def network_named_in(metadata: dict[str, Any], tensors: int) -> str:
    """Return the name and options of a file's network; empty if its metadata does not name one."""
    try:
        made_by = _made_by(metadata, tensors)
        return printable(describe_network(made_by)) if made_by else ""
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""
