"""Images by name: CIFAR-10, a subset of it, its bundled sample, or a folder of pictures."""

import os
from collections.abc import Sequence
from pathlib import Path

from pytorch_vision.data.cifar10 import load_cifar10, load_sample
from pytorch_vision.data.folder import load_folder
from pytorch_vision.data.image_files import Resize, Scales
from pytorch_vision.data.images import ImageData
from pytorch_vision.data.labels import Labels
from pytorch_vision.data.splits import hold_out, subset
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
    train_digests: Sequence[str] = (),
    labels: Labels = None,
    scales: Scales | None = None,
    held_out_share: float = 0.2,
) -> ImageData:
    """Return images by name.

    Args:
        which: "full" for all of CIFAR-10; "sample" for the bundled sample, which needs no network;
            a number of training images from 10 to 50,000, the same from each of CIFAR-10's classes,
            with all test images; or a folder of pictures, as ``load_folder`` reads it. An existing
            folder takes precedence, whatever its name.
        root: the folder that stores CIFAR-10, and the decoded pictures of folders.
        size, resize: for a folder, the size of the images and how pictures are resized to it.
        held_out: if not 0, this many training images are held out by ``hold_out``, and replace the
            test images.
        class_names, train_digests, scales: for a folder on which a trained classifier is tested,
            its classes, the digests of its training images and its scales, as in ``load_folder``.
        labels, held_out_share: for a folder, as in ``load_folder``.

    Raises:
        ValueError: ``which`` is not such a name, the folder cannot be used, or ``held_out`` is too
            large.
        DataError: CIFAR-10 cannot be read or downloaded.
    """
    which = check_data_name(which)
    if which == "sample":
        data = load_sample()
    elif which == "full":
        data = load_cifar10(root)
    elif is_cifar10(which):
        data = subset(load_cifar10(root), int(which))
    else:
        if is_cifar10(os.path.normpath(which)):
            say(f"{which} is a folder here: its pictures are read, not CIFAR-10's.")
        if held_out:  # the test images are training images of the folder
            class_names, train_digests = (), ()
        data = load_folder(
            which,
            size,
            resize,
            held_out_share,
            labels=labels,
            cache=root,
            class_names=class_names,
            train_digests=train_digests,
            scales=scales,
        )
    return hold_out(data, held_out) if held_out else data


def is_cifar10(which: str) -> bool:
    """Return whether a data name stands for CIFAR-10 or a subset of it, and not for a folder."""
    return which in ("full", "sample") or (which.isdecimal() and 10 <= int(which) <= 50_000)


def short_data_name(which: str | int) -> str:
    """Return a short name of the data, with which to name a folder of results."""
    which = check_data_name(which)
    return which if is_cifar10(which) else printable(Path(which).resolve().name)


def check_data_name(which: str | int) -> str:
    """Return ``which`` as a string if ``load_data`` accepts it, else raise its ValueError.

    A folder with one of CIFAR-10's names is returned as a path, such as "./sample".
    """
    which = str(which)
    path = user_path(which) if which else None
    if path is not None and path.is_dir():
        return os.path.join(os.curdir, path) if is_cifar10(str(path)) else str(path)
    if is_cifar10(which):
        return which
    what = "that is a file" if path is not None and path.exists() else "there is no such folder"
    raise ValueError(
        f"data is {which!r}, expected 'full', 'sample', a number of training images from 10 to "
        f"50000, or a folder of pictures ({what})"
    )
