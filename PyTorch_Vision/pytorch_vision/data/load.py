"""Images by what a setting names: CIFAR-10, a part of it, its bundled sample, or a folder."""

import os
from collections.abc import Sequence
from pathlib import Path

from pytorch_vision.data.cifar10 import load_cifar10, load_sample
from pytorch_vision.data.folder import load_folder
from pytorch_vision.data.image_files import Resize
from pytorch_vision.data.images import ImageData, hold_out, subset
from pytorch_vision.data.labels import Labels
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import printable


def load_data(
    which: str | int,
    root: str | os.PathLike = "data",
    size: int | tuple[int, int] = 64,
    resize: Resize = "crop",
    held_out: int = 0,
    class_names: Sequence[str] = (),
    trained_on: Sequence[str] = (),
    labels: Labels = None,
) -> ImageData:
    """Return the images that a setting names.

    Args:
        which: "full" for all of CIFAR-10; "sample" for the bundled sample, which needs no
            network; a number of training images, at least one for each class, taken evenly
            from CIFAR-10's classes (the test set stays whole); or a folder of your own pictures,
            as ``load_folder`` reads it. A folder that is there is meant, whatever its name.
        root: where CIFAR-10 is kept, and what was read of the pictures of a folder.
        size, resize: what the pictures of a folder are brought to, and how; not used by CIFAR-10.
        held_out: if not 0, so many training images take the place of the test images, as
            ``hold_out`` chooses them.
        class_names, trained_on: those of a network that is to be tested on a folder, as
            ``load_folder`` has it; not used by CIFAR-10.
        labels: where the classes of a folder's pictures come from, as ``load_folder`` has it.

    Raises:
        ValueError: ``which`` is none of these, the folder cannot be used, or there are not so many
            images to hold out.
        DataError: CIFAR-10 cannot be had.
    """
    which = check_choice(which)
    if is_folder(which):
        if is_ours(os.path.normpath(which)):
            say(f"{which} is a folder here, and its pictures are read; CIFAR-10's are not.")
        known = () if held_out else class_names
        data = load_folder(
            which,
            size,
            resize,
            labels=labels,
            cache=root,
            class_names=known,
            trained_on=trained_on,
        )
    elif which == "sample":
        data = load_sample()
    else:
        data = load_cifar10(root)
        data = data if which == "full" else subset(data, int(which))
    return hold_out(data, held_out) if held_out else data


def is_folder(which: str) -> bool:
    """Tell whether a checked choice is a folder of pictures, and not CIFAR-10."""
    return not is_ours(which)


def is_ours(which: str) -> bool:
    """Tell whether a choice is a name for CIFAR-10 or a part of it."""
    number = which.isdecimal() and 10 <= int(which) <= 50_000
    return which in ("full", "sample") or number


def choice_name(which: str | int) -> str:
    """Return a short name of the images, for a folder of what is made of them."""
    which = check_choice(which)
    return printable(Path(which).resolve().name) if is_folder(which) else which


def check_choice(which: str | int) -> str:
    """Return ``which`` as a string if ``load_data`` knows it, else raise its ValueError.

    A folder of the name of something else is returned as a path, as "./sample".
    """
    which = str(which)
    path = user_path(which) if which else None
    if path is not None and path.is_dir():
        return os.path.join(os.curdir, path) if is_ours(str(path)) else str(path)
    if is_ours(which):
        return which
    raise ValueError(
        f"data is {which!r}, expected 'full', 'sample', a number of training images from 10 to "
        "50000, or a folder of pictures (there is none of this name)"
    )
