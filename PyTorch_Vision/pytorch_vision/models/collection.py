"""The collection of models, each of which can be made by its name."""

from typing import Any

from pytorch_vision.models.resnet import ResNet, ResNet18, ResNet34

MODELS = {"ResNet18": ResNet18, "ResNet34": ResNet34}


def create(name: str, num_classes: int = 10, **options: Any) -> ResNet:
    """Return a new model of the collection.

    Args:
        name: a key of ``MODELS``, such as "ResNet18".
        num_classes: the number of logits.
        options: what else the model takes, such as ``geometry="standard"``.

    Raises:
        ValueError: there is no model of that name, or the model refuses an option.
    """
    if name not in MODELS:
        raise ValueError(f"model is {name!r}, expected one of {', '.join(MODELS)}")
    return MODELS[name](num_classes, **options)
