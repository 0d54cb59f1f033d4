"""Networks, and the classifier that holds one with all that is needed to use it.

``resnet``, ``custom_resnet`` (with ``mirrored``) and ``collection`` make networks, ``filters``
says what they begin as, ``summary`` prints one; ``history`` and ``weights`` serve ``classifier``,
which predicts by ``inference``.
"""

from pytorch_vision.models.classifier import PRETRAINED, Classifier
from pytorch_vision.models.custom_resnet import CustomResNet
from pytorch_vision.models.history import EpochRecord, History
from pytorch_vision.models.registry import create
from pytorch_vision.models.resnet import ResNet, ResNet18, ResNet34
from pytorch_vision.models.summary import print_summary

__all__ = [
    "PRETRAINED",
    "Classifier",
    "CustomResNet",
    "EpochRecord",
    "History",
    "ResNet",
    "ResNet18",
    "ResNet34",
    "create",
    "print_summary",
]
