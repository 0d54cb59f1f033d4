"""Your own images: a folder of picture files, one folder for each class."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from pytorch_vision.data.folder_layout import Layout, LeftOut, find_layout
from pytorch_vision.data.image_cache import Decoded, cache_path, decode_files
from pytorch_vision.data.image_files import Resize, check_resize
from pytorch_vision.data.images import ImageData, counts_of_share, held_out
from pytorch_vision.runtime.checks import height_and_width, whole_number
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import counted, printable

SHARE_OF_MEMORY = 0.8  # that the images may take of what is available
SMALLEST = 32  # pixels a side
LISTED = 100  # files left out that are named
NAMED = 5  # of other things
CLASSES_LISTED = 20
UNEQUAL = 10  # times as many pictures in one class as in another: worth a word
CUT_OFF = 4  # times as long as wide: so much is lost by "crop" that it is worth a word


def load_folder(
    path: str | os.PathLike,
    size: int | tuple[int, int] = 64,
    resize: Resize = "crop",
    held_out_share: float = 0.2,
    seed: int = 0,
    *,
    cache: str | os.PathLike | None = None,
    class_names: Sequence[str] = (),
    trained_on: Sequence[str] = (),
) -> ImageData:
    """Read a folder of pictures that lie in one folder for each class.

    It holds ``train/<class>/...`` and ``test/<class>/...`` or ``val/<class>/...`` (of both, "test"
    is tested on, and "val" is not read, unless "test" has no labels); or ``<class>/...`` alone, of
    which a share of each class is held out for testing, and nothing of a class of one or two
    pictures. Which ones are held out depends on what is in their files: a few more, or fewer, or
    other names change next to nothing of it. The parts may be called training_set, Testing, valid
    and so on, all of it may lie in a folder of its own, and the files of a class in folders below.
    What other programs have put there is left out, and so are files that Pillow cannot read. Prints
    what is trained on, what is tested on, and what was left out and why.

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
        cache: a folder in which the pictures are kept as they were read, for the next time; None
            keeps nothing.
        class_names: those of a network that is to be tested. The folder may have only some of
            them, and nothing to train on; without a folder to test on, all pictures are tested,
            but for those that it was trained on.
        trained_on: what it was trained on, as ``Classifier.trained_on`` has it.

    Returns:
        The images, classes in alphabetical order, or as in ``class_names``.

    Raises:
        ValueError: there is no such folder, it has another layout, a class without any readable
            picture, or more pictures than fit in memory; the message says what would.
    """
    path, size, known = user_path(path), height_and_width(size), tuple(class_names)
    resize, seed = check_resize(resize), whole_number(seed, "seed")
    if not 0 < held_out_share < 1:
        raise ValueError(f"held_out_share is {held_out_share}, expected more than 0, less than 1")
    if not path.is_dir():
        raise ValueError(f"{printable(str(path))} is not a folder")
    left_out: LeftOut = defaultdict(list)
    try:
        layout = find_layout(path, known, left_out)
    finally:  # it may also be why there is no layout
        _tell_what_was_left_out(path, left_out)
    for remark in layout.remarks:
        say(remark)
    files, labels, in_train = _listed(layout)
    name = printable(path.resolve().name)
    say(_memory_needed(name, len(files), size))
    kept = None if cache is None else cache_path(user_path(cache), path, size, resize)
    decoded = decode_files(files, size, resize, name, kept)
    labels, in_train = labels[decoded.readable], in_train[decoded.readable]
    _tell_what_cannot_be_read(decoded)
    if known and not layout.has_splits:
        in_train = _trained(decoded.digests, trained_on)
    elif not layout.has_splits:
        counts = counts_of_share(labels, len(layout.class_names), held_out_share)
        in_train = ~held_out(labels, counts, seed, decoded.digests.tolist())
    order = np.argsort(~in_train, kind="stable")
    _rearrange(decoded.images, order)
    labels, sizes, count = labels[order], decoded.sizes[order], int(in_train.sum())
    names_of_files = _names(files, decoded.readable, order, path)
    _check_every_class(path, layout, labels[:count], labels[count:], bool(known))
    data = ImageData(
        decoded.images[:count],
        labels[:count],
        decoded.images[count:],
        labels[count:],
        class_names=layout.class_names,
        name=name,
        train_files=names_of_files[:count],
        test_files=names_of_files[count:],
        resize=resize,
        train_digests=() if known else tuple(decoded.digests[in_train].tolist()),
    )
    _tell_what_there_is(data, layout, bool(known and trained_on))
    _tell_what_is_in_both(decoded.digests[order], count, names_of_files)
    _tell_of_odd_pictures(data, sizes, resize)
    return data


def _listed(layout: Layout) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return all files, the label of each, and whether it is trained on."""
    files: list[str] = []
    labels: list[int] = []
    in_train: list[bool] = []
    number = {name: label for label, name in enumerate(layout.class_names)}
    for part in (layout.train, layout.test):
        for name, found in sorted(part.classes.items()) if part else ():
            files += found
            labels += [number[name]] * len(found)
            in_train += [part is layout.train] * len(found)
    return files, np.array(labels, np.int64), np.array(in_train, bool)


def _names(
    files: list[str], readable: np.ndarray, order: np.ndarray, path: Path
) -> tuple[str, ...]:
    """Return the names, inside the folder, of the files that were read, in the data's order."""
    read = np.flatnonzero(readable)[order]
    return tuple(_inside(printable(files[i]), path) for i in read)


def _inside(file: str, path: Path) -> str:
    return file.removeprefix(f"{printable(str(path))}{os.sep}")


def _memory_needed(name: str, count: int, size: tuple[int, int]) -> str:
    """Say how much memory the images will take.

    Raises:
        ValueError: there is not so much; names the size that would fit.
    """
    needed, available = 3 * count * size[0] * size[1], psutil.virtual_memory().available
    summary = (
        f"{name}: {count:,} pictures of {size[0]}x{size[1]} pixels take "
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


def _trained(digests: np.ndarray, trained_on: Sequence[str]) -> np.ndarray:
    """Return which pictures were trained on, bool (N,): of equal ones the last, as when drawn."""
    left, trained = Counter(trained_on), np.zeros(len(digests), bool)
    for number in reversed(range(len(digests))):
        digest = str(digests[number])
        trained[number] = left[digest] > 0
        left[digest] -= 1
    return trained


def _rearrange(images: np.ndarray, order: np.ndarray) -> None:
    """Put images in another order where they are: there is never a second copy of them.

    Args:
        images: (N, ...), changed in place: the k-th becomes what was the ``order[k]``-th.
        order: a permutation of 0..N-1.
    """
    done = np.zeros(len(order), bool)
    for start in np.flatnonzero(order != np.arange(len(order))):
        if done[start]:
            continue
        first, place = images[start].copy(), start
        while order[place] != start:
            images[place] = images[order[place]]
            done[place] = True
            place = order[place]
        images[place] = first
        done[place] = True


def _check_every_class(
    path: Path, layout: Layout, train_labels: np.ndarray, test_labels: np.ndarray, known: bool
) -> None:
    shown, needed = printable(str(path)), layout.train
    if not layout.has_splits:
        needed, train_labels = layout.test, np.append(train_labels, test_labels)
    for label, name in enumerate(layout.class_names):
        if needed and name in needed.classes and not (train_labels == label).any():
            raise ValueError(
                f"{shown} has no readable picture of class {name!r} to train on; add some, or take "
                "its folder away"
            )
    if not len(test_labels) and train_labels.size and not layout.has_splits and known:
        raise ValueError(f"{shown} has no picture that the weights were not trained on")
    if not len(test_labels):
        few = "" if layout.has_splits else ": no class has three pictures or more, to hold one out"
        raise ValueError(f"{shown} has no readable picture to test on{few}")


def _tell_what_was_left_out(path: Path, left_out: LeftOut) -> None:
    for reason, paths in sorted(left_out.items()):
        if paths:
            say(f"Left out, {reason}: {_listing([_inside(one, path) for one in paths])}")


def _tell_what_cannot_be_read(decoded: Decoded) -> None:
    if reasons := decoded.reasons:
        more = len(reasons) - LISTED
        listed = reasons[:LISTED] + ([f"and {more:,} more"] if more > 0 else [])
        total = len(decoded.readable)
        were = "was" if len(reasons) == 1 else "were"
        say(f"{len(reasons):,} of {total:,} files {were} left out:", *listed, sep="\n  ")


def _listing(names: Sequence[str], most: int = NAMED) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def _tell_what_there_is(data: ImageData, layout: Layout, of_weights: bool) -> None:
    """Print each part with its folder, and each class with its counts."""
    classes = len(data.class_names)
    train = np.bincount(data.train_labels, minlength=classes)
    test = np.bincount(data.test_labels, minlength=classes)
    if layout.train:
        say(f"Trained on: {layout.train.folder}. Tested on: {layout.test.folder}.")
    elif layout.has_splits:
        say(f"Tested on: {layout.test.folder}.")
    elif train.any() and of_weights:
        say(
            f"Tested on: what {layout.test.folder} has that the weights were not trained on, "
            f"{counted(len(data.test_labels), 'picture')}."
        )
    elif train.any():
        say(
            f"Trained on: {layout.test.folder}, which has no folder to test on: a share of each "
            f"class is held out for that, {counted(len(data.test_labels), 'picture')}."
        )
    else:
        known = ", of which the weights were trained on nothing" if of_weights else ""
        say(f"Tested on: all of {layout.test.folder}{known}.")
    if classes <= CLASSES_LISTED:
        for name, *counts in zip(data.class_names, train, test, strict=True):
            say(f"  {name}: {counts[0]:,} to train on, {counts[1]:,} to test on")
    else:
        for verb, found in {"train": train, "test": test}.items():
            if found.any():
                say(f"  {classes:,} classes, to {verb} on: {_summary(found, data.class_names)}")
    small = [
        n for n, a, b in zip(data.class_names, train, test, strict=True) if 0 < a <= 2 and not b
    ]
    if small and not layout.has_splits:
        say(f"Kept for training alone, as there are only one or two: {_listing(small)}")
    if train.any() and not of_weights and train.max() >= UNEQUAL * train.min():
        say(
            f"The classes are very unequal: {data.class_names[train.argmin()]} has "
            f"{train.min():,} to train on, {data.class_names[train.argmax()]} {train.max():,}. "
            "Accuracy tells most of the large ones: look at each class's own, and find more "
            "pictures of the small ones, or let them weigh more (class_weights)."
        )


def _tell_what_is_in_both(digests: np.ndarray, count: int, names: tuple[str, ...]) -> None:
    """Say which pictures are tested on that are trained on, too; the first ``count`` are."""
    both = np.flatnonzero(np.isin(digests[count:], digests[:count])) + count
    if len(both):
        say(
            f"To test on, but to train on too, byte for byte: {len(both):,}, "
            f"{_listing([names[i] for i in both])}. They make the result too good."
        )


def _summary(counts: np.ndarray, names: Sequence[str]) -> str:
    order = np.argsort(counts, kind="stable")
    smallest, largest = (
        ", ".join(f"{names[i]} {counts[i]:,}" for i in some) for some in (order[:3], order[:-4:-1])
    )
    return (
        f"{counts.sum():,} pictures, {np.median(counts):,.0f} in a middling class; fewest: "
        f"{smallest}; most: {largest}"
    )


def _tell_of_odd_pictures(data: ImageData, sizes: np.ndarray, resize: Resize) -> None:
    """Say how large pictures were, which are of one colour, and which lost most of themselves."""
    order = np.argsort(sizes.prod(axis=1, dtype=np.int64), kind="stable")
    some = order[[0, len(order) // 2, -1]]
    small, middling, large = (f"{width:,}x{height:,}" for height, width in sizes[some])
    enlarged = int((sizes < data.size).any(axis=1).sum())
    told = f"from {small} to {large} pixels, a middling one {middling}"
    say(
        f"As they came, pictures have {told if small != large else f'{small} pixels'}"
        + (f"; smaller than wanted, and enlarged: {enlarged:,}." if enlarged else ".")
    )
    plain = [
        file
        for images, files in (
            (data.train_images, data.train_files),
            (data.test_images, data.test_files),
        )
        for image, file in zip(images, files or (), strict=True)
        if (image == image[0, 0]).all()
    ]
    if plain:
        say(f"Pictures of one colour from edge to edge: {len(plain):,}, {_listing(plain)}")
    across, down = (sizes[:, ::-1] / data.size[::-1]).T
    long = int((np.maximum(across, down) >= CUT_OFF * np.minimum(across, down)).sum())
    if long and resize == "crop":
        say(
            f"Pictures so long or so wide that 'crop' keeps a quarter of them or less: {long:,}; "
            "'pad' and 'squash' keep all."
        )
