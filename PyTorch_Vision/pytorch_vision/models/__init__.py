"""The collection of models."""

from pytorch_vision.models.resnet import ResNet, ResNet18, ResNet34

__all__ = ["ResNet", "ResNet18", "ResNet34"]
