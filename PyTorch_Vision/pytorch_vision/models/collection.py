"""Networks by their names: ours, torchvision's, and any that a caller's own function makes."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import torchvision
from torch import nn

from pytorch_vision.models.custom_resnet import CustomResNet
from pytorch_vision.models.resnet import ResNet, ResNet18, ResNet34, check_num_classes

MODELS: dict[str, Callable[..., nn.Module]] = {
    "ResNet18": ResNet18,
    "ResNet34": ResNet34,
    "CustomResNet": CustomResNet,
}
TORCHVISION = "torchvision:"
# these two also answer from the middle of the network, unless they are told not to
WITH_AUXILIARY = {"googlenet", "inception_v3"}


def create(name: str, num_classes: int = 10, **options: Any) -> nn.Module:
    """Return a new network, its weights random.

    Args:
        name: "ResNet18", "ResNet34" or "CustomResNet"; "torchvision:NAME" for one of torchvision's
            classification networks, such as "torchvision:mobilenet_v3_small"; or
            "module:function" for a function of your own, which is imported (from the working
            directory, too) and called with ``num_classes`` and the options.
        num_classes: the number of logits.
        options: what else the network takes, such as ``conv_padding="standard"``.

    Returns:
        The network. Its attribute ``made_by`` keeps name and options, for ``Classifier.save``.

    Raises:
        ValueError: there is no such network, or it refuses an option.
    """
    check_num_classes(num_classes)
    builder, asked = _builder(name), {"num_classes": num_classes, **options}
    try:
        model = builder(**asked)
    except TypeError as error:
        call = ", ".join(f"{key}={value!r}" for key, value in asked.items())
        raise ValueError(f"model {name!r} cannot be made with {call}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} made {type(model).__name__}, expected a torch.nn.Module")
    if made_by_of(model) is None:
        model.made_by = {"name": name, **options}  # type: ignore[assignment]
    return model


def check_name(name: str) -> None:
    """Raise ValueError unless ``create`` knows a network of this name."""
    _builder(name)


def is_ours(name: str) -> bool:
    """Tell whether ``create`` makes a network without importing a caller's code."""
    return name in MODELS or name == "ResNet" or name.startswith(TORCHVISION)


def network_name(network: nn.Module | dict[str, Any]) -> str:
    """Return the name of a network, given itself or how it was made, as in "ResNet18"."""
    made_by = _made_by(network)
    blocks = made_by.get("blocks")
    return f"ResNet{2 * sum(blocks) + 2}" if blocks else str(made_by["name"])


def describe_network(network: nn.Module | dict[str, Any]) -> str:
    """Return what weights must fit, as in "ResNet18 (conv_padding='original')"."""
    options = {k: v for k, v in _made_by(network).items() if k not in ("name", "blocks")}
    listed = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return network_name(network) + (f" ({listed})" if listed else "")


def _made_by(network: nn.Module | dict[str, Any]) -> dict[str, Any]:
    if isinstance(network, dict):
        return network
    return made_by_of(network) or {"name": type(network).__name__}


def made_by_of(network: nn.Module) -> dict[str, Any] | None:
    """Return how ``create`` made a network: name and options; None if it was made otherwise."""
    own = getattr(network, "made_by", None)  # somebody's own network may call anything so
    return own if isinstance(own, dict) and isinstance(own.get("name"), str) else None


def _builder(name: str) -> Callable[..., nn.Module]:
    if name in MODELS:
        return MODELS[name]
    if name == "ResNet":  # of any number of blocks, as weights files name it
        return ResNet
    if name.startswith(TORCHVISION):
        return _torchvision_builder(name.removeprefix(TORCHVISION))
    if name.count(":") == 1:
        return _own_builder(*name.split(":"))
    raise ValueError(
        f"model is {name!r}, expected one of {', '.join(MODELS)}, torchvision:NAME, or "
        "module:function for a function of your own"
    )


def _torchvision_builder(name: str) -> Callable[..., nn.Module]:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ValueError(f"torchvision has no network {name!r}; it has {', '.join(known)}")
    extra = {"aux_logits": False, "init_weights": True} if name in WITH_AUXILIARY else {}

    def build(num_classes: int, **options: Any) -> nn.Module:
        return torchvision.models.get_model(
            name, weights=None, num_classes=num_classes, **{**extra, **options}
        )

    return build


def _own_builder(module: str, function: str) -> Callable[..., nn.Module]:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # where the caller's file is, most of the time
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"model is {module}:{function}, which cannot be imported: {error}") from (
            error
        )
