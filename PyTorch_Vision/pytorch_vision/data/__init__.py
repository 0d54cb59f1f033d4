"""Labelled images in memory, and all that happens to them before a network sees them.

In the order of the data's way: ``downloads`` and ``formats`` serve ``sources``, which has
CIFAR-10's bytes and their proof; ``pictures`` reads image files; ``images`` holds what is in
memory; ``cifar10`` and ``folder`` put them together, and ``load`` chooses; ``transforms``,
``draws`` and ``loaders`` make batches of it. Of a folder, ``layout`` finds what lies where, and
``decoding`` reads it once; ``duplicates`` finds what is there twice.
"""

from pytorch_vision.data.augment import Augmentation, Normalization, denormalize
from pytorch_vision.data.duplicates import find_duplicates
from pytorch_vision.data.folder import load_folder
from pytorch_vision.data.image_files import read_image
from pytorch_vision.data.images import ImageData, hold_out, subset
from pytorch_vision.data.load import load_data
from pytorch_vision.data.loaders import TrainLoader, eval_batches, train_loader
from pytorch_vision.data.sources import DataError

__all__ = [
    "Augmentation",
    "DataError",
    "ImageData",
    "Normalization",
    "TrainLoader",
    "denormalize",
    "eval_batches",
    "find_duplicates",
    "hold_out",
    "load_data",
    "load_folder",
    "read_image",
    "subset",
    "train_loader",
]
