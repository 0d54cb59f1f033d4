"""Networks by name: built-in ones, torchvision's, timm's, and those from a user's function."""

import contextlib
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import torchvision
from torch import nn

from pytorch_vision.data import Normalization
from pytorch_vision.models.custom_resnet import CustomResNet
from pytorch_vision.models.module_utils import load_state, tensors_of
from pytorch_vision.models.resnet import ResNet, ResNet18, ResNet34, check_num_classes
from pytorch_vision.models.state_dicts import match_tensors
from pytorch_vision.runtime.files import errors_named, is_lack_of_memory
from pytorch_vision.runtime.text import first_line, listed

MODELS: dict[str, Callable[..., nn.Module]] = {
    "ResNet18": ResNet18,
    "ResNet34": ResNet34,
    "CustomResNet": CustomResNet,
}
TORCHVISION, TIMM = "torchvision:", "timm:"
WEIGHTS = "@"  # before the name of torchvision's own weights
# folders of Python's, torch's and this package's files: a user's mistake is in another file
LIBRARIES = (
    os.path.dirname(os.__file__),
    str(Path(torch.__path__[0]).parent),
    str(Path(__file__).parents[1]),
)
# these two have auxiliary classifiers by default
WITH_AUXILIARY = {"googlenet", "inception_v3"}


def create(name: str, num_classes: int = 10, **options: Any) -> nn.Module:
    """Return a new network by name, with random weights or pretrained ones.

    Args:
        name: "ResNet18", "ResNet34" or "CustomResNet"; "torchvision:NAME" for one of torchvision's
            classification networks, such as "torchvision:mobilenet_v3_small";
            "torchvision:NAME@DEFAULT" (or another name of weights) for one with torchvision's
            weights, trained on ImageNet, except for a last layer with other classes (torchvision
            downloads them; they have their own licence); "timm:NAME" for one of timm's networks,
            likewise with timm's weights, or with random ones if ``pretrained=False``;
            or "module:function" for a custom function, which is imported (from the working
            directory, too) and called with ``num_classes`` and the options. If its network has
            learned weights, see ``expected_normalization``.
        num_classes: the number of logits.
        options: other arguments of the network, such as ``conv_padding="standard"``.

    Returns:
        The network. Its attribute ``made_by`` holds name and options, for ``Classifier.save``.
        Random weights are drawn from torch's global random state.

    Raises:
        ModuleNotFoundError: timm is not installed.
        ValueError: there is no such network, it refuses an option, or its weights cannot be
            downloaded; then the message says where to put torchvision's file.
    """
    check_num_classes(num_classes)
    builder, asked = _builder(name), {"num_classes": num_classes, **options}
    try:
        model = builder(**asked)
    except Exception as error:  # a user's function can raise anything
        if is_lack_of_memory(error) or (is_builtin(name) and not isinstance(error, TypeError)):
            raise
        call = ", ".join(f"{key}={value!r}" for key, value in asked.items())
        raise ValueError(f"model {name!r} cannot be made with {call}: {_reason(error)}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} made {type(model).__name__}, expected a torch.nn.Module")
    if made_by_of(model) is None:
        # without the name of pretrained weights: a file of this network holds its own
        made_by: Any = {"name": name.partition(WEIGHTS)[0], **options}
        model.made_by = made_by
    return model


def has_pretrained_weights(name: str) -> bool:
    """Return whether a name asks for pretrained weights: torchvision's, with an @, or timm's."""
    return name.startswith(TIMM) or (name.startswith(TORCHVISION) and WEIGHTS in name)


def without_weights(name: str) -> dict[str, Any]:
    """Return the options of ``create`` with which a network downloads no weights."""
    return {"pretrained": False} if name.startswith(TIMM) else {}


def expected_normalization(network: nn.Module) -> Normalization | None:
    """Return the normalisation that a network's learned weights expect; None if it names none.

    It is in an attribute ``pretrained_cfg`` of the network or of a network inside it: a dict with
    "mean" and "std" as timm's networks have it. ``create`` gives it to those with torchvision's
    weights; a user's network may have it, too.

    Raises:
        ValueError: mean or std is invalid.
    """
    for module in network.modules():
        config = getattr(module, "pretrained_cfg", None)
        if isinstance(config, dict) and {"mean", "std"} <= config.keys():
            return Normalization(config["mean"], config["std"])
    return None


def only_size(name: str) -> tuple[int, int] | None:
    """Return a named network's only image size, height and width, such as most ViTs have.

    None if it takes several sizes, or if that is unknown, as for a user's.
    """
    with contextlib.suppress(Exception):  # ``create`` says what is wrong with the name
        if name.startswith(TIMM):
            config = _timm().get_pretrained_cfg(name.removeprefix(TIMM))
            return tuple(config.input_size[1:]) if config.fixed_input_size else None
        if name.startswith(TORCHVISION):
            with torch.device("meta"):
                network: Any = _builder(name.partition(WEIGHTS)[0])(num_classes=1)
            return network.image_size, network.image_size
    return None


def check_name(name: str) -> None:
    """Raise ValueError unless ``create`` knows a network of this name."""
    _builder(name)


def is_builtin(name: str) -> bool:
    """Return whether ``create`` makes a network of this name without importing a user's code."""
    return name in MODELS or name == "ResNet" or name.startswith((TORCHVISION, TIMM))


def is_safe(made_by: dict[str, Any]) -> bool:
    """Return whether ``create(**made_by)`` runs no user code and downloads nothing.

    Options such as weights=, or a name with weights, would start a download.
    """
    name = made_by["name"]
    if name.startswith(TIMM):
        return made_by == {"name": name, **without_weights(name)}
    if name.startswith(TORCHVISION):
        return made_by.keys() <= {"name", "transform_input"} and not has_pretrained_weights(name)
    return is_builtin(name)


def network_name(network: nn.Module | dict[str, Any]) -> str:
    """Return the name of a network, or of its ``made_by``, as in "ResNet18"."""
    made_by = _made_by(network)
    blocks = made_by.get("blocks")
    return f"ResNet{2 * sum(blocks) + 2}" if blocks else str(made_by["name"])


def describe_network(network: nn.Module | dict[str, Any]) -> str:
    """Return name and options of a network, as in "ResNet18 (conv_padding='original')"."""
    options = {k: v for k, v in _made_by(network).items() if k not in ("name", "blocks")}
    listed = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return network_name(network) + (f" ({listed})" if listed else "")


def _made_by(network: nn.Module | dict[str, Any]) -> dict[str, Any]:
    if isinstance(network, dict):
        return network
    return made_by_of(network) or {"name": type(network).__name__}


def made_by_of(network: nn.Module) -> dict[str, Any] | None:
    """Return the name and options with which ``create`` made a network; None for any other."""
    own = getattr(network, "made_by", None)  # a user's network may have an attribute of this name
    return own if isinstance(own, dict) and isinstance(own.get("name"), str) else None


def _builder(name: str) -> Callable[..., nn.Module]:
    if name in MODELS:
        return MODELS[name]
    if name == "ResNet":  # with any number of blocks, as in weights files
        return ResNet
    if name.startswith(TORCHVISION):
        return _torchvision_builder(name.removeprefix(TORCHVISION))
    if name.startswith(TIMM):
        return _timm_builder(name.removeprefix(TIMM))
    if name.count(":") == 1:
        return _custom_builder(*name.split(":"))
    raise ValueError(
        f"model is {name!r}, expected one of {', '.join(MODELS)}, torchvision:NAME, "
        "torchvision:NAME@DEFAULT, timm:NAME, or module:function for a custom function"
        + _advice(name, [*MODELS, *(f"{TORCHVISION}{one}" for one in _torchvision_names())])
    )


def _advice(name: str, known: Sequence[str]) -> str:
    """Return the known names closest to a name, as a question, or an empty string."""
    short = {one: one.removeprefix(TORCHVISION).lower() for one in known}
    near = difflib.get_close_matches(name.lower(), short.values(), 3)
    meant = [one for one in known if short[one] in near]
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def _torchvision_names() -> list[str]:
    return torchvision.models.list_models(module=torchvision.models)


def _torchvision_builder(name: str) -> Callable[..., nn.Module]:
    name, at, weights_name = name.partition(WEIGHTS)
    known = _torchvision_names()
    if name not in known:
        raise ValueError(
            f"torchvision has no network {name!r}"
            + (_advice(name, known) or f"; it has {', '.join(known)}")
        )
    extra = {"aux_logits": False, "init_weights": True} if name in WITH_AUXILIARY else {}
    weights: Any = None
    if at:
        entries = torchvision.models.get_model_weights(name).__members__
        if weights_name not in entries:
            has = ", ".join(entries) or "none"
            raise ValueError(
                f"torchvision has no weights {weights_name!r} for {name}; it has {has}"
            )
        weights = entries[weights_name]
    if at and name in WITH_AUXILIARY:
        extra["transform_input"] = True  # to the normalisation with which they were trained

    def build(num_classes: int, **options: Any) -> nn.Module:
        model = torchvision.models.get_model(
            name, weights=None, num_classes=num_classes, **{**extra, **options}
        )
        if weights is not None:
            _load_weights(model, f"{name}{WEIGHTS}{weights_name}", weights)
            preset = weights.transforms()
            model.pretrained_cfg = {"mean": tuple(preset.mean), "std": tuple(preset.std)}
            if "transform_input" in extra:
                model.made_by = {"name": f"{TORCHVISION}{name}", "transform_input": True}
        return model

    return build


def _load_weights(model: nn.Module, name: str, weights: Any) -> None:
    """Load torchvision's weights into one of its networks, except for a layer of other classes.

    Raises:
        ValueError: the file cannot be downloaded or read; the message says where to put it.
    """
    folder = Path(torch.hub.get_dir(), "checkpoints")
    file = folder / Path(urlparse(weights.url).path).name
    failure = f"the weights of {TORCHVISION}{name} cannot be downloaded"
    remedy = f"put the file from {weights.url} into {folder}"
    if file.exists():
        failure = f"{file} does not hold the weights of {TORCHVISION}{name}"
        remedy = f"remove it, or replace it with the file from {weights.url}"
    with errors_named(lambda error: f"{failure} ({first_line(error)}): {remedy}"):
        # refuses a file that could run code; then torchvision's loader, which knows older names
        weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        loaded = torchvision.models.get_model(name.partition(WEIGHTS)[0], weights=weights)
    own, theirs = tensors_of(model), tensors_of(loaded)
    matched = match_tensors(own, theirs)
    unlike = [k for k in matched.missing if k in theirs and own[k].shape[1:] != theirs[k].shape[1:]]
    if unlike:
        raise ValueError(
            f"{listed(unlike)} of {TORCHVISION}{name} would have another shape than in its weights:"
            " give the options with which these were trained, such as image_size=384"
        )
    load_state(model, own | matched.taken)


def _timm() -> Any:
    """Import timm, which is installed only on request.

    Raises:
        ModuleNotFoundError: timm is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError:
        raise ModuleNotFoundError("models called timm:NAME need timm: pip install timm") from None


def _timm_builder(name: str) -> Callable[..., nn.Module]:
    timm = _timm()
    if not timm.is_model(name):
        advice = _advice(name.partition(".")[0], timm.list_models())
        raise ValueError(f"timm has no network {name!r}{advice}")

    def build(num_classes: int, pretrained: bool = True, **options: Any) -> nn.Module:
        try:
            model = timm.create_model(name, pretrained, num_classes=num_classes, **options)
        except Exception as error:  # from the network, or the reader of a file
            if is_lack_of_memory(error) or isinstance(error, TypeError):  # an unknown option
                raise
            raise ValueError(
                f"{TIMM}{name} cannot be made ({first_line(error)}); without a network connection, "
                "pass a file with its weights (--weights)"
            ) from error
        # a file of this network holds its own weights
        model.made_by = {"name": f"{TIMM}{name}", **without_weights(TIMM)}
        return model

    return build


def _custom_builder(module: str, function: str) -> Callable[..., nn.Module]:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # where the user's file usually is
    called = f"model is {module}:{function}, which cannot be imported"
    with errors_named(lambda error: f"{called}: {_reason(error)}"):
        return getattr(importlib.import_module(module), function)


def _reason(error: Exception) -> str:
    """Return what went wrong, and in which line of the user's file."""
    if isinstance(error, (ImportError, AttributeError, TypeError, SyntaxError)):
        return first_line(error)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [one for one in frames if not one.filename.startswith((*LIBRARIES, "<"))]
    place = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {first_line(error)}{place}"
