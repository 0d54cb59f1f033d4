"""The collection of models, and a table of their layers."""

from pytorch_vision.models.collection import MODELS, create
from pytorch_vision.models.resnet import ResNet, ResNet18, ResNet34
from pytorch_vision.models.summary import print_summary

__all__ = ["MODELS", "ResNet", "ResNet18", "ResNet34", "create", "print_summary"]
