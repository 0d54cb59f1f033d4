"""Labelled images in memory, and what happens to them before a network sees them.

``images`` holds them. ``cifar10`` reads CIFAR-10, with ``downloads``; ``image_files`` reads a
picture; ``folder_layout``, ``labels``, ``image_cache`` and ``folder`` read a folder of pictures;
``load`` chooses between these. ``splits`` makes subsets. ``augment``, ``views``, ``normalization``
and ``loaders`` make batches. ``duplicates`` finds images that occur twice.
"""

from pytorch_vision.data.augment import Augmentation
from pytorch_vision.data.cifar10 import DataError
from pytorch_vision.data.duplicates import find_duplicates
from pytorch_vision.data.folder import load_folder
from pytorch_vision.data.image_files import read_image
from pytorch_vision.data.images import ImageData
from pytorch_vision.data.load import load_data
from pytorch_vision.data.loaders import TrainLoader, eval_batches, train_loader
from pytorch_vision.data.normalization import Normalization, denormalize
from pytorch_vision.data.splits import hold_out, k_folds, subset
