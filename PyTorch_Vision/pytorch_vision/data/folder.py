"""Load a folder of pictures: classes, images of one size, and a training and a test set."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pytorch_vision.data.folder_layout import Layout, LeftOut, find_layout, inside, tell_left_out
from pytorch_vision.data.image_cache import (
    LIMIT,
    Decoded,
    Request,
    arranged,
    cache_path,
    decode_files,
)
from pytorch_vision.data.image_files import Resize, Scales, check_resize
from pytorch_vision.data.images import ImageData
from pytorch_vision.data.labels import Labels, labeller_of
from pytorch_vision.data.splits import stratified_by_share, stratified_draw
from pytorch_vision.runtime.checks import height_and_width, whole_number
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import counted, listed, printable

REASONS_LISTED = 20  # reasons why files cannot be read
CLASSES_LISTED = 20
VERY_UNEQUAL = 10  # report a class this many times as large as another


def load_folder(
    path: str | os.PathLike,
    size: int | tuple[int, int] = 64,
    resize: Resize = "crop",
    held_out_share: float = 0.2,
    seed: int = 0,
    *,
    labels: Labels = None,
    cache: str | os.PathLike | None = None,
    cache_limit: float = LIMIT,
    class_names: Sequence[str] = (),
    train_digests: Sequence[str] = (),
    scales: Scales | None = None,
) -> ImageData:
    """Read a folder of pictures with their classes.

    The folder holds ``train/<class>/...`` and ``test/<class>/...`` (or val), or only
    ``<class>/...``. If there are both test and val, test is used, unless it has no labels. The
    splits may also be called training_set, Testing, valid and the like. All this may lie one folder
    deeper, and the pictures of a class in subfolders.

    Without a test folder, a share of each class is held out for testing, but nothing from a class
    with one or two pictures. A hash of the pixels decides which pictures: the same ones at every
    size, and almost the same ones after files are renamed or a few are added.

    Files of other programs and files that Pillow cannot read are skipped. Values of more than 8
    bits are scaled in the same way in all pictures. Prints which pictures are for training and for
    testing, and which were skipped and why.

    Args:
        path: the folder.
        size: height and width to which every picture is resized, in pixels, or one number for both.
            The networks of this library need 16 or more.
        resize: "crop", "pad" or "squash", as ``image_files.resized`` explains. "crop" is the
            default, as most objects are in the middle. Choose "pad" if the edges matter.
        held_out_share: the share of each class to hold out, in [0, 1), if there is no test folder;
            0 trains on all pictures, without a test.
        seed: the seed of the random choice of the held-out pictures.
        labels: where the classes come from, as ``labels.labeller_of`` explains: a table such as
            "train.csv", "name:(.+)_[0-9]+", "folders:2", "level:2" or a function of the path
            inside the folder; default: the folders.
        cache: a folder for the decoded pictures; the next time, only changed files are read.
            Default: no cache, but a temporary file. In both cases the images are mapped into
            memory from there, so they may be larger than memory.
        cache_limit: gigabytes that all caches in that folder may take; the least recently used are
            deleted first. ``image_cache.empty_cache`` deletes all.
        class_names: the classes of a trained network that is to be tested. The folder may have
            only some of them, and needs no training pictures. Without a test folder, the network is
            tested on all pictures except those in ``train_digests``.
        train_digests: the digests of the training pictures of that network, or of weights to begin
            with, as in ``ImageData``; test pictures among them are printed.
        scales: the scales with which that network was trained for values of more than 8 bits, as in
            ``ImageData``; default: those that span the values of all pictures.

    Returns:
        The images, with classes in alphabetical order, or as in ``class_names``.

    Raises:
        ValueError: there is no such folder, its layout is unknown or ambiguous, or a class has no
            readable picture.
        OSError: the disk has no room for the images.
    """
    path, size, known = user_path(path), height_and_width(size), tuple(class_names)
    resize, seed = check_resize(resize), whole_number(seed, "seed")
    if not 0 <= held_out_share < 1:
        raise ValueError(f"held_out_share is {held_out_share}, expected 0 or more, less than 1")
    if not path.is_dir():
        raise ValueError(f"{printable(str(path))} is not a folder")
    left_out: LeftOut = defaultdict(list)
    labeller = None if labels is None else labeller_of(labels, path, left_out)
    try:
        layout = find_layout(path, known, left_out, labeller)
    finally:  # what was left out may also explain an error
        tell_left_out(left_out, path)
    files, numbers, in_train = _listed(layout)
    name = printable(path.resolve().name)
    say(
        f"{name}: {len(files):,} pictures of {size[0]}x{size[1]} pixels take "
        f"{3 * len(files) * size[0] * size[1] / 1e6:,.1f} MB of disk"
    )
    kept = None if cache is None else cache_path(user_path(cache), path, size, resize)
    decoded = decode_files(Request(files, size, resize, name, scales or {}), kept)
    _tell_what_cannot_be_read(decoded, path)
    pictures, read = decoded.pictures, np.flatnonzero(decoded.readable)
    numbers, in_train, digests = numbers[read], in_train[read], pictures["digest"]
    if known and not layout.has_splits:
        in_train = _trained(digests, train_digests)
    elif not layout.has_splits:
        counts = stratified_by_share(numbers, len(layout.class_names), held_out_share)
        in_train = ~stratified_draw(numbers, counts, seed, digests.tolist())
    order, count = np.argsort(~in_train, kind="stable"), int(in_train.sum())
    pictures, numbers, digests = pictures[order], numbers[order], digests[order]
    needs_test = layout.has_splits or bool(held_out_share and not known)
    _check_every_class(path, layout, numbers[:count], numbers[count:], needs_test)
    images = arranged(decoded, order, kept, cache_limit)
    names = tuple(inside(printable(files[i]), path) for i in read[order])
    data = ImageData(
        images[:count],
        numbers[:count],
        images[count:],
        numbers[count:],
        class_names=layout.class_names,
        name=name,
        train_files=names[:count],
        test_files=names[count:],
        resize=resize,
        train_digests=() if known else tuple(digests[:count].tolist()),
        scales=decoded.scales,
    )
    of_weights = bool(known and train_digests)
    _tell_splits(data, layout, of_weights)
    _tell_classes(data, of_weights)
    _tell_what_is_in_both(digests, count, names, train_digests)
    _tell_how_pictures_were_read(decoded)
    _tell_sizes(data, pictures["size"])
    return data


def _listed(layout: Layout) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return all files, their labels, and which of them are for training, bool (N,)."""
    number = {name: label for label, name in enumerate(layout.class_names)}
    rows = [
        (file, number[name], split is layout.train)
        for split in (layout.train, layout.test)
        if split is not None
        for name, found in sorted(split.classes.items())
        for file in found
    ]
    labels, in_train = [label for _, label, _ in rows], [trained for _, _, trained in rows]
    return [file for file, _, _ in rows], np.array(labels, np.int64), np.array(in_train, bool)


def _trained(digests: np.ndarray, train_digests: Sequence[str]) -> np.ndarray:
    """Return which pictures were trained on, bool (N,).

    Of equal pictures, the first are held out by ``stratified_draw``, so the last were trained on.
    """
    left, trained = Counter(train_digests), np.zeros(len(digests), bool)
    for number, digest in reversed(list(enumerate(digests.tolist()))):
        trained[number] = left[digest] > 0
        left[digest] -= 1
    return trained


def _check_every_class(
    path: Path, layout: Layout, train_labels: np.ndarray, test_labels: np.ndarray, needs_test: bool
) -> None:
    shown, needed = printable(str(path)), layout.train
    if not layout.has_splits:
        needed, train_labels = layout.test, np.append(train_labels, test_labels)
    for label, name in enumerate(layout.class_names):
        if needed and name in needed.classes and not (train_labels == label).any():
            raise ValueError(
                f"{shown} has no readable picture of class {name!r} to train on; add some, or "
                "remove its folder"
            )
    if not len(test_labels) and (needs_test or not train_labels.size):
        few = "" if layout.has_splits else ": no class has three pictures, enough to hold one out"
        raise ValueError(f"{shown} has no readable picture to test on{few}")


def _tell_what_cannot_be_read(decoded: Decoded, path: Path) -> None:
    """Print which files could not be read, grouped by reason."""
    unread, by_reason = np.flatnonzero(~decoded.readable), defaultdict(list)
    for number, reason in zip(unread, decoded.reasons, strict=True):
        by_reason[reason].append(inside(printable(decoded.request.files[number]), path))
    lines = [
        f"{listed(files)}{':' if files[1:] else ''} {reason}" for reason, files in by_reason.items()
    ]
    if more := lines[REASONS_LISTED:]:
        lines[REASONS_LISTED:] = [f"and {len(more):,} more reasons"]
    if lines:
        were, total = "was" if len(unread) == 1 else "were", len(decoded.readable)
        say(f"{len(unread):,} of {total:,} files {were} left out:", *lines, sep="\n  ")


def _tell_splits(data: ImageData, layout: Layout, of_weights: bool) -> None:
    """Print which folders are for training and for testing."""
    folder, tested = layout.test.folder, counted(len(data.test_labels), "picture")
    if layout.train:
        say(f"Trained on: {layout.train.folder}. Tested on: {folder}.")
    elif layout.has_splits:
        say(f"Tested on: {folder}.")
    elif not len(data.train_labels):
        say(f"Tested on: all pictures of {folder}.")
        if of_weights:
            say(
                "None of them is, pixel for pixel, a training picture of the weights. If they "
                "were trained on these pictures, the files have been changed or converted since, "
                "and the result looks too good."
            )
    elif not len(data.test_labels):
        say(f"All pictures of {folder} are trained on, and there is no test.")
    elif of_weights:
        say(f"Tested on: {tested} of {folder}, those that the weights were not trained on.")
    else:
        say(
            f"Trained on: {folder}, which has no test folder: a share of each class is held out "
            f"for testing, {tested}."
        )


def _tell_classes(data: ImageData, of_weights: bool) -> None:
    """Print how many pictures each class has, and whether some may have too few."""
    names = data.class_names
    folded = [" ".join(name.casefold().split()) for name in names]
    alike = Counter(folded)
    if same := [name for name, one in zip(names, folded, strict=True) if alike[one] > 1]:
        say(
            f"Classes whose names differ only in case or spaces: {listed([*map(repr, same)])}. "
            "If they are one class, give them one name."
        )
    train, test = data.class_counts
    if len(names) <= CLASSES_LISTED:
        for name, *counts in zip(names, train, test, strict=True):
            say(f"  {name}: {counts[0]:,} to train on, {counts[1]:,} to test on")
    else:
        for verb, found in {"train": train, "test": test}.items():
            if found.any():
                few, many = found.argmin(), found.argmax()
                say(
                    f"  {len(names):,} classes, to {verb} on: {found.sum():,} pictures, from "
                    f"{found[few]:,} ({names[few]}) to {found[many]:,} ({names[many]}) in a class"
                )
    untested = [names[label] for label in np.flatnonzero((test == 0) & (train > 0))]
    if untested and test.any():
        say(f"No test pictures: {listed(untested)}. The accuracy says nothing about them.")
    if train.any() and not of_weights and train.max() >= VERY_UNEQUAL * train.min():
        say(
            f"The classes are very unequal: {names[train.argmin()]} has {train.min():,} to train "
            f"on, {names[train.argmax()]} {train.max():,}. Accuracy depends most on the large "
            "ones: look at each class's, and find more pictures of the small ones, or give "
            "them more weight (class_weights)."
        )


def _tell_what_is_in_both(
    digests: np.ndarray, count: int, names: tuple[str, ...], train_digests: Sequence[str]
) -> None:
    """Print which test pictures are also training pictures, of ``[:count]`` or the weights."""
    trained = [*digests[:count], *train_digests]
    both = np.flatnonzero(np.isin(digests[count:], trained)) + count
    if len(both):
        say(
            f"Test pictures that are also training pictures, pixel for pixel: {len(both):,}, "
            f"{listed([names[i] for i in both])}. They make the result look too good."
        )


def _tell_how_pictures_were_read(decoded: Decoded) -> None:
    """Print how values of more than 8 bits were scaled, and which pages and bands were not used."""
    for kind, (black, white) in decoded.scales.items():
        count = int((decoded.pictures["kind"] == kind).sum())
        say(
            f"Values of more than 8 bits ({kind}), in {counted(count, 'picture')}: all scaled so "
            f"that {black:,.7g} is black and {white:,.7g} is white"
        )
    for remark, count in Counter(filter(None, decoded.pictures["remark"].tolist())).items():
        say(f"In {counted(count, 'picture')}, {remark}")


def _tell_sizes(data: ImageData, sizes: np.ndarray) -> None:
    """Print how large pictures are in their files, int (N, 2), and how many were enlarged."""
    order = np.argsort(sizes.prod(axis=1, dtype=np.int64), kind="stable")
    some = sizes[order[[0, len(order) // 2, -1]]]
    small, median, large = (f"{width:,}x{height:,}" for height, width in some)
    enlarged = int((sizes < data.size).any(axis=1).sum())
    sizes_found = f"from {small} to {large} pixels, median {median}"
    say(
        f"In their files, pictures have {sizes_found if small != large else f'{small} pixels'}"
        + (f"; {enlarged:,} were smaller than the images, and enlarged." if enlarged else ".")
    )
