"""The collection of models, and a table of their layers."""

from pytorch_vision.models.collection import (
    MODELS,
    create,
    describe_network,
    is_ours,
    network_name,
)
from pytorch_vision.models.custom_resnet import CustomResNet
from pytorch_vision.models.resnet import SMALLEST, ResNet, ResNet18, ResNet34
from pytorch_vision.models.summary import print_summary

__all__ = [
    "MODELS",
    "SMALLEST",
    "CustomResNet",
    "ResNet",
    "ResNet18",
    "ResNet34",
    "create",
    "describe_network",
    "is_ours",
    "network_name",
    "print_summary",
]
