"""Images, and all that happens to them before a network sees them.

In the order of the data's way: ``downloads`` and ``formats`` serve ``sources``, which has
CIFAR-10's bytes and their proof; ``pictures`` reads image files; ``images`` holds what is in
memory; ``cifar10`` and ``folder`` put them together, and ``load`` chooses; ``transforms``,
``draws`` and ``loaders`` make batches of it.
"""

from pytorch_vision.data.cifar10 import CIFAR10_CLASSES, load_cifar10, load_sample
from pytorch_vision.data.folder import load_folder
from pytorch_vision.data.images import ImageData, balanced_indices, hold_out, subset
from pytorch_vision.data.load import load_data
from pytorch_vision.data.loaders import DeviceTrainLoader, TrainLoader, eval_batches, train_loader
from pytorch_vision.data.pictures import read_image
from pytorch_vision.data.sources import DataError, fetch_cifar10
from pytorch_vision.data.transforms import (
    Augmentation,
    denormalize,
    eval_transform,
    train_transform,
)

__all__ = [
    "CIFAR10_CLASSES",
    "Augmentation",
    "DataError",
    "DeviceTrainLoader",
    "ImageData",
    "TrainLoader",
    "balanced_indices",
    "denormalize",
    "eval_batches",
    "eval_transform",
    "fetch_cifar10",
    "hold_out",
    "load_cifar10",
    "load_data",
    "load_folder",
    "load_sample",
    "read_image",
    "subset",
    "train_loader",
    "train_transform",
]
