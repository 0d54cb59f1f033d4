"""Your own images: a folder of picture files in the layout of torchvision's ImageFolder."""

import math
import os
import sys
from pathlib import Path

import numpy as np
import psutil
from torchvision.datasets.folder import find_classes, make_dataset
from tqdm import tqdm

from pytorch_vision.data.images import ImageData, held_out
from pytorch_vision.data.pictures import Resize, check_resize, read_image

TESTED_ON = ("test", "val")  # folders, beside train, in the order in which they are looked for
SHARE_OF_MEMORY = 0.8  # that the images may take of what is available
SMALLEST = 32  # pixels a side
LISTED = 100  # files left out that are named

Files = list[tuple[str, int]]  # path and label of each


def load_folder(
    path: str | os.PathLike,
    size: int | tuple[int, int] = 64,
    resize: Resize = "crop",
    held_out_share: float = 0.2,
    seed: int = 0,
) -> ImageData:
    """Read a folder of pictures that lie in one folder for each class.

    It holds ``train/<class>/...`` and ``test/<class>/...`` or ``val/<class>/...`` (of both, "test"
    is tested on, and "val" is not read); or ``<class>/...`` alone, of which a share is held out
    for testing. The files can lie in folders below, and be of any format and mode that Pillow
    reads. Those that it cannot read are left out, and listed with the reason once all are read.

    Args:
        path: the folder.
        size: height and width to bring every picture to, in pixels; one number for both. Our
            networks want 32 or more.
        resize: "crop", "pad" or "squash", as ``pictures.resized`` has it. "crop" is the default: it
            neither distorts nor adds anything, and most objects are in the middle. Choose "pad"
            where the edges matter.
        held_out_share: how much of each class is held out, in (0, 1), where there is no folder to
            test on.
        seed: of what is held out.

    Returns:
        The images, classes in alphabetical order.

    Raises:
        ValueError: there is no such folder, it has another layout, a class without any readable
            picture, or more pictures than fit in memory; the message says what would.
    """
    path, size = Path(path), (size, size) if isinstance(size, int) else size
    check_resize(resize)
    if min(size) < 1:
        raise ValueError(f"size is {size}, expected 1 pixel or more")
    if not 0 < held_out_share < 1:
        raise ValueError(f"held_out_share is {held_out_share}, expected more than 0, less than 1")
    if not path.is_dir():
        raise ValueError(f"{path} is not a folder")
    names, train, test = _listed(path, held_out_share, seed)
    print(_memory_needed(path, len(train) + len(test), size))
    skipped: list[str] = []
    train_images, train_labels = _read(train, size, resize, f"{path.name}, train", skipped)
    test_images, test_labels = _read(test, size, resize, f"{path.name}, test", skipped)
    if skipped:
        total, more = len(train) + len(test), len(skipped) - LISTED
        listed = skipped[:LISTED] + ([f"and {more:,} more"] if more > 0 else [])
        print(f"{len(skipped):,} of {total:,} files were left out:", *listed, sep="\n  ")
    _check_every_class(path, names, train_labels, test_labels)
    return ImageData(
        train_images,
        train_labels,
        test_images,
        test_labels,
        class_names=names,
        name=path.resolve().name,
    )


def _listed(path: Path, share: float, seed: int) -> tuple[tuple[str, ...], Files, Files]:
    """Return the classes, and the files to train and to test on."""
    if not (path / "train").is_dir():
        names, files = _files(path)
        labels = np.array([label for _, label in files])
        held = held_out(labels, max(len(names), round(share * len(files))), seed)
        train, test = ([files[i] for i in np.flatnonzero(chosen)] for chosen in (~held, held))
        return names, train, test
    names, train = _files(path / "train")
    folder = next((path / name for name in TESTED_ON if (path / name).is_dir()), None)
    if folder is None:
        raise ValueError(
            f"{path} has a folder train, but none to test on: name it test or val, or put the "
            f"classes into {path} itself, and a share of them is held out"
        )
    others, test = _files(folder)
    if unknown := sorted(set(others) - set(names)):
        raise ValueError(
            f"{folder} has classes that {path / 'train'} has not: {', '.join(unknown)}"
        )
    return names, train, [(file, names.index(others[label])) for file, label in test]


def _files(folder: Path) -> tuple[tuple[str, ...], Files]:
    """Return the classes of a folder, which are its folders, and all files in them."""
    try:
        found = [name for name in find_classes(folder)[0] if not name.startswith(".")]
    except FileNotFoundError:
        found = []
    if not found:
        raise ValueError(f"{folder} has no folders, expected one for each class, with its pictures")
    number = {name: label for label, name in enumerate(found)}
    files = make_dataset(
        folder,
        number,
        is_valid_file=lambda file: not Path(file).name.startswith("."),
        allow_empty=True,
    )
    counts = np.bincount([label for _, label in files], minlength=len(found))
    if not counts.all():
        raise ValueError(f"{folder / found[int(counts.argmin())]} has no files, expected pictures")
    return tuple(found), files


def _memory_needed(path: Path, count: int, size: tuple[int, int]) -> str:
    """Say how much memory the images will take.

    Raises:
        ValueError: there is not so much; names the size that would fit.
    """
    needed, available = 3 * count * size[0] * size[1], psutil.virtual_memory().available
    summary = (
        f"{path.name}: {count:,} pictures of {size[0]}x{size[1]} pixels take "
        f"{needed / 1e6:,.1f} MB of memory"
    )
    if needed <= SHARE_OF_MEMORY * available:
        return summary
    side = int(math.sqrt(SHARE_OF_MEMORY * available / (3 * count)))
    advice = (
        f"size={side} would fit"
        if side >= SMALLEST
        else f"even size={SMALLEST} would not fit: take fewer pictures"
    )
    raise ValueError(f"{summary}, and {available / 1e6:,.0f} MB are available; {advice}")


def _read(
    files: Files, size: tuple[int, int], resize: Resize, title: str, skipped: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and the labels of those files that can be read; list the others."""
    labels: list[int] = []
    images = np.empty((len(files), *size, 3), np.uint8)
    for file, label in tqdm(files, desc=title, unit=" files", file=sys.stdout, mininterval=0.5):
        try:
            images[len(labels)] = read_image(file, size, resize)[0]
        except (ValueError, OSError) as error:
            skipped.append(str(error) if file in str(error) else f"{file}: {error}")
        else:
            labels.append(label)
    return images[: len(labels)], np.array(labels, dtype=np.int64)


def _check_every_class(
    path: Path, names: tuple[str, ...], train_labels: np.ndarray, test_labels: np.ndarray
) -> None:
    for label, name in enumerate(names):
        if not (train_labels == label).any():
            raise ValueError(
                f"{path} has no readable picture of class {name!r} to train on; add some, or take "
                "its folder away"
            )
    if not len(test_labels):
        raise ValueError(f"{path} has no readable picture to test on")
