"""Subsets of a data set: fewer training images, or some held out for testing; all stratified."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pytorch_vision.data.image_cache import rows_of
from pytorch_vision.data.images import ImageData
from pytorch_vision.runtime.checks import whole_number


def subset(data: ImageData, count: int) -> ImageData:
    """Return the same data with only ``count`` training images, equally many from each class.

    Raises:
        ValueError: ``count`` is not in 1..the number of training images.
    """
    indices = balanced_indices(data.train_labels, count)
    if len(indices) == len(data.train_labels):
        return data
    name = f"{len(indices):,} of {data.name}"
    return replace(data, **_train_fields(data, indices), name=name)


def hold_out(data: ImageData, held_out: int, seed: int = 0) -> ImageData:
    """Return the same data with a stratified sample of the training images as its test images.

    Use these to choose a recipe, a network or the number of epochs, and test once at the end: a
    test result that has guided a choice is better than the result on new images.

    Args:
        data: its own test images are left out.
        held_out: how many training images to hold out, stratified by class. At least one image of
            each class stays, and none is held out from a class with one or two.
        seed: the random seed; the same seed gives the same split.

    Raises:
        ValueError: ``held_out`` is not in 1..the number of images that can be held out.
    """
    held_out = whole_number(held_out, "held_out")
    counts = stratified_by_total(data.train_labels, len(data.class_names), held_out)
    chosen = stratified_draw(data.train_labels, counts, seed, data.train_digests)
    return _split(data, chosen, f"{held_out:,} of them held out")


def k_folds(data: ImageData, folds: int = 5, seed: int = 0) -> Iterator[ImageData]:
    """Yield the same data once for each fold, with the fold as its test images (cross-validation).

    Each training image is in one fold. Of each class, folds have equally many images, give or take
    one.

    Args:
        data: its own test images are left out.
        folds: their number, 2 or more.
        seed: the random seed; the same seed gives the same folds.

    Raises:
        ValueError: ``folds`` is not in 2..the number of training images.
    """
    folds, count = whole_number(folds, "folds"), len(data.train_labels)
    if not 2 <= folds <= count:
        raise ValueError(f"folds is {folds}, expected 2 to {count}, the number of training images")
    order = np.random.default_rng(seed).permutation(count)
    by_class = order[np.argsort(data.train_labels[order], kind="stable")]
    for fold in range(folds):
        chosen = np.zeros(count, dtype=bool)
        chosen[by_class[fold::folds]] = True
        yield _split(data, chosen, f"fold {fold + 1} of {folds} held out")


def _split(data: ImageData, chosen: np.ndarray, name: str) -> ImageData:
    """Return the same data with the ``chosen`` training images, bool (N,), as its test images."""
    held = _train_fields(data, np.flatnonzero(chosen))
    return replace(
        data,
        **_train_fields(data, np.flatnonzero(~chosen)),
        test_images=held["train_images"],
        test_labels=held["train_labels"],
        test_files=held["train_files"],
        name=f"{data.name} ({name})",
    )


def _train_fields(data: ImageData, indices: np.ndarray) -> dict[str, Any]:
    """Return the fields of the training images at ``indices``, by name."""
    return {
        "train_images": rows_of(data.train_images, indices),
        "train_labels": data.train_labels[indices],
        "train_files": data.train_files and tuple(data.train_files[i] for i in indices),
        "train_digests": data.train_digests and tuple(data.train_digests[i] for i in indices),
    }


def balanced_indices(labels: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` indices into ``labels``, sorted: the first images of each class.

    All classes get equally many; if ``count`` is not a multiple of their number, the lower labels
    get one more.

    Raises:
        ValueError: ``count`` is not in 1..len(labels).
    """
    count = whole_number(count, "count")
    if not 1 <= count <= len(labels):
        raise ValueError(f"count is {count}, expected 1 to {len(labels)} images")
    nth_of_its_class = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        nth_of_its_class[members] = np.arange(len(members))
    return np.sort(np.lexsort((labels, nth_of_its_class))[:count])


def stratified_by_share(labels: np.ndarray, classes: int, share: float) -> np.ndarray:
    """Return how many images of each class to hold out, given the share of each class.

    At least one image of a class is held out and at least one stays, but none is held out from a
    class with one or two, or if the share is 0.

    Returns:
        int64 (classes,).
    """
    there = np.bincount(labels, minlength=classes)
    counts = np.floor(share * there + 0.5).astype(np.int64).clip(1, np.maximum(there - 1, 1))
    return np.where((there > 2) & (share > 0), counts, 0)


def stratified_by_total(labels: np.ndarray, classes: int, held_out: int) -> np.ndarray:
    """Return how many images of each class to hold out, given their total.

    Shares are rounded by the largest remainder method. At least one image of a class stays, and
    none is held out from a class with one or two.

    Returns:
        int64 (classes,), with the sum ``held_out``.

    Raises:
        ValueError: that many images cannot be held out.
    """
    there = np.bincount(labels, minlength=classes)
    most = np.where(there > 2, there - 1, 0)
    if not 1 <= held_out <= most.sum():
        raise ValueError(
            f"held_out is {held_out:,}, expected 1 to {most.sum():,}: there are {len(labels):,} "
            f"training images, and some of each class must remain"
        )
    shares = held_out * there / there.sum()
    counts = np.minimum(np.floor(shares).astype(np.int64), most)
    while counts.sum() < held_out:
        counts[np.where(counts < most, shares - counts, -np.inf).argmax()] += 1
    return counts


def stratified_draw(
    labels: np.ndarray, counts: np.ndarray, seed: int, digests: Sequence[str] = ()
) -> np.ndarray:
    """Draw images at random, ``counts`` of each class.

    Args:
        labels: int64 (N,).
        counts: int64 (C,).
        seed: the random seed.
        digests: a hash of each image, or empty. Digests take the place of positions, so that adding
            or removing a few images changes almost nothing for the others.

    Returns:
        bool (N,), True for the images that are drawn.
    """
    seed = whole_number(seed, "seed")
    order = np.random.default_rng(seed).permutation(len(labels))
    if len(digests):
        keys = [hashlib.sha256(f"{seed} {digest}".encode()).digest() for digest in digests]
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    drawn, in_order = np.zeros(len(labels), dtype=bool), labels[order]
    for label, count in enumerate(counts):
        drawn[order[in_order == label][:count]] = True
    return drawn
