"""Images by what a setting names: CIFAR-10, a part of it, its bundled sample, or a folder."""

import os
from pathlib import Path

from pytorch_vision.data.cifar10 import load_cifar10, load_sample
from pytorch_vision.data.folder import load_folder
from pytorch_vision.data.images import ImageData, hold_out, subset
from pytorch_vision.data.pictures import Resize


def load_data(
    which: str | int,
    root: str | os.PathLike = "data",
    size: int | tuple[int, int] = 64,
    resize: Resize = "crop",
    held_out: int = 0,
) -> ImageData:
    """Return the images that a setting names.

    Args:
        which: "full" for all of CIFAR-10; "sample" for the bundled sample, which needs no
            network; a number of training images, at least one for each class, taken evenly
            from CIFAR-10's classes (the test set stays whole); or a folder of your own pictures,
            as ``load_folder`` reads it.
        root: where CIFAR-10 is kept; not used by the others.
        size, resize: what the pictures of a folder are brought to, and how; not used by CIFAR-10.
        held_out: if not 0, so many training images take the place of the test images, as
            ``hold_out`` chooses them.

    Raises:
        ValueError: ``which`` is none of these, the folder cannot be used, or there are not so many
            images to hold out.
        DataError: CIFAR-10 cannot be had.
    """
    data = _whole(check_choice(which), root, size, resize)
    return hold_out(data, held_out) if held_out else data


def _whole(
    which: str, root: str | os.PathLike, size: int | tuple[int, int], resize: Resize
) -> ImageData:
    if is_folder(which):
        return load_folder(which, size, resize)
    if which == "sample":
        return load_sample()
    data = load_cifar10(root)
    return data if which == "full" else subset(data, int(which))


def is_folder(which: str) -> bool:
    """Tell whether a checked choice is a folder of pictures, and not CIFAR-10."""
    return which not in ("full", "sample") and not which.isdecimal()


def choice_name(which: str | int) -> str:
    """Return a short name of the images, for a folder of what is made of them."""
    which = check_choice(which)
    return Path(which).resolve().name if is_folder(which) else which


def check_choice(which: str | int) -> str:
    """Return ``which`` as a string if ``load_data`` knows it, else raise its ValueError."""
    which = str(which)
    number = which.isdecimal() and 10 <= int(which) <= 50_000
    if which in ("full", "sample") or number or (which and Path(which).is_dir()):
        return which
    raise ValueError(
        f"data is {which!r}, expected 'full', 'sample', a number of training images from 10 to "
        "50000, or a folder of pictures"
    )
