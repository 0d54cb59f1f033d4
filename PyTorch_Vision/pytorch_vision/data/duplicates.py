"""Find images that occur twice: the same motif on both sides of a split flatters the result.

Barz and Denzler, "Do We Train on Test Data? Purging CIFAR of Near-Duplicates" (arXiv 1902.00423),
looked at CIFAR-10's by eye; here, a perceptual hash proposes pairs and their pixels decide.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image

from pytorch_vision.data.images import ImageData
from pytorch_vision.runtime.files import write_csv
from pytorch_vision.runtime.terminal import Bar

LOW = 8  # low frequencies in each direction: their 64 coefficients make a hash
HASHED_SIDE = 32  # pixels of the grey image that is hashed
NEAR_BITS = 10  # images are compared if no more bits of their hashes differ
NEAREST = 10  # images of the nearest hashes are compared with an image
SIMILAR = 0.8  # correlation of the pixels of images that are nearly the same
FRAME = 16  # one part in so many is left out at each edge, to look behind a frame
GREY = 8  # of 255: channels of a grey image differ by no more
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
PLAIN = 1.0  # norm of an image around its mean, below which it has a single colour
ENTRIES = 4_000_000  # of a matrix that is held at once
BATCH = 1000  # pairs whose pixels are compared at once
COLUMNS = (
    "similarity",
    *("first", "first_class", "first_part"),
    *("second", "second_class", "second_part"),
    "kind",
)
EVEN_ODD = (-1.0) ** np.arange(LOW)


@dataclass(frozen=True)
class Kind:
    """A way in which one image can be a copy of another.

    Attributes:
        name: what the copy is, as in "mirrored"; empty where it is as the other.
        coefficients: what it does to the low frequencies of an image, (N, 8, 8).
        pixels: what it does to images, (N, H, W, C).
        both: whether it is done to both images, and not to the first alone.
        symmetric: whether undoing it is the same as doing it.
    """

    name: str
    coefficients: Callable[[np.ndarray], np.ndarray]
    pixels: Callable[[np.ndarray], np.ndarray]
    both: bool = False
    symmetric: bool = True


def _unframed(images: np.ndarray) -> np.ndarray:
    rows, columns = (max(side // FRAME, 1) for side in images.shape[1:3])
    return images[:, rows:-rows, columns:-columns]


SAME = Kind("", lambda found: found, lambda images: images)
FRAMED = Kind("framed or cropped", lambda found: found, _unframed, both=True)
# the cosines are even or odd, so that turning an image changes signs, or swaps the directions
MIRRORED = Kind("mirrored", lambda found: found * EVEN_ODD, lambda images: images[:, :, ::-1])
HALF_TURNED = Kind(
    "turned",
    lambda found: found * EVEN_ODD * EVEN_ODD[:, None],
    lambda images: images[:, ::-1, ::-1],
)
TURNED = Kind(
    "turned",
    lambda found: found.transpose(0, 2, 1) * EVEN_ODD[:, None],
    lambda images: np.rot90(images, axes=(1, 2)),
    symmetric=False,
)


class Pair(NamedTuple):
    """Two images that are the same, or nearly so; training images are counted first."""

    first: int
    second: int
    similarity: float  # the correlation of their pixels; 1 only if they are the same
    kind: str  # how one is a copy of the other, as in ``Duplicates``


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Pairs of images that are the same, or nearly so.

    Attributes:
        data: the images. Below, training images are counted first, then test images.
        group: int64 (N,), the same number for images of the same pixels.
        near: int64 (P, 2), groups whose images are nearly the same.
        similarity: float64 (P,), the correlation of their pixels, from 0.8 to 1.
        kinds: for each of these pairs, how one is a copy of the other: "grey", "framed or cropped",
            "mirrored", "turned", some of them, or empty.
    """

    data: ImageData
    group: np.ndarray
    near: np.ndarray
    similarity: np.ndarray
    kinds: list[str]

    @property
    def in_training(self) -> np.ndarray:
        """Which test images are also in training, or nearly so: bool, for each."""
        count = len(self.data.train_labels)
        trained = np.zeros(self.group.max() + 1, bool)
        trained[self.group[:count]] = True
        reached = trained.copy()
        for one, other in (self.near.T, self.near.T[::-1]):
            reached[one[trained[other]]] = True
        return reached[self.group[count:]]

    @property
    def pairs(self) -> list[tuple[int, int, float]]:
        """Each image with the first of its like, and how similar they are; the most so first."""
        return [pair[:3] for pair in self.described_pairs]

    @cached_property
    def described_pairs(self) -> list[Pair]:
        """The same pairs, with their kinds."""
        _, first = np.unique(self.group, return_index=True)
        others = np.setdiff1d(np.arange(len(self.group)), first)
        same = [Pair(int(first[self.group[i]]), int(i), 1.0, "") for i in others]
        order = np.argsort(-self.similarity, kind="stable").tolist()
        near = np.sort(first[self.near], axis=1).tolist()
        return same + [
            Pair(near[i][0], near[i][1], float(self.similarity[i]), self.kinds[i]) for i in order
        ]

    def name(self, index: int) -> str:
        """Return the file of an image, or its split and its place there."""
        split, place, _ = self._find(index)
        files = self.data.train_files if split == "train" else self.data.test_files
        return f"{split} image {place}" if files is None else files[place]

    def class_name(self, index: int) -> str:
        """Return the class that an image is labelled with."""
        return self.data.class_names[self._find(index)[2]]

    def is_of_one_class(self, pair: Pair) -> bool:
        """Return whether both images of a pair are labelled with the same class."""
        return self.class_name(pair.first) == self.class_name(pair.second)

    def _find(self, index: int) -> tuple[str, int, int]:
        """Return the split of an image, its place there, and its label."""
        count = len(self.data.train_labels)
        if index < count:
            return "train", index, int(self.data.train_labels[index])
        return "test", index - count, int(self.data.test_labels[index - count])

    def describe(self, most: int = 10) -> str:
        """Return a few lines that say how many pairs there are, and name some, each motif once.

        Pairs of two classes come first, then those in training and test, then the most similar.
        """
        pairs, count = self.described_pairs, len(self.data.train_labels)
        if not pairs:
            return "No two images are the same, or nearly so."
        same = sum(pair.similarity == 1 for pair in pairs)
        across = int(self.in_training.sum())
        in_train = sum(pair.second < count for pair in pairs)
        in_test = sum(pair.first >= count for pair in pairs)
        lines = [
            f"Images that occur twice: {same:,} the same, {len(pairs) - same:,} nearly so "
            f"(pairs within training: {in_train:,}, within test: {in_test:,}).",
            "Test images that are in training too, or nearly so: "
            f"{across:,} of {len(self.data.test_labels):,}"
            + (". They say nothing about new pictures." if across else "."),
        ]
        if other := sum(not self.is_of_one_class(pair) for pair in pairs):
            lines.append(f"Pairs of two classes: {other:,}. Is one of them wrong?")
        named: dict[int, Pair] = {}
        for pair in sorted(pairs, key=lambda one: (self.is_of_one_class(one), one.second < count)):
            named.setdefault(pair.first, pair)
        lines += [f"  {self._described(pair)}" for pair in list(named.values())[:most]]
        if more := len(pairs) - min(len(named), most):
            lines.append(f"  and {more:,} more")
        return "\n".join(lines)

    def _described(self, pair: Pair) -> str:
        images = []
        for index in pair[:2]:
            name, label = self.name(index), self.class_name(index)
            images.append(name if name.startswith(f"{label}{os.sep}") else f"{name} ({label})")
        alike = "the same"
        if pair.similarity < 1:
            alike = f"{pair.kind or 'nearly the same'} ({min(pair.similarity, 0.999):.3f})"
        across = pair.first < len(self.data.train_labels) <= pair.second
        return f"{', '.join(images)}: {alike}{', in training and test' if across else ''}"

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write all pairs as a table.

        Raises:
            OSError: it cannot be written.
        """
        write_csv(path, COLUMNS, map(self._row, self.described_pairs))

    def _row(self, pair: Pair) -> tuple[str, ...]:
        images = [
            text for i in pair[:2] for text in (self.name(i), self.class_name(i), self._find(i)[0])
        ]
        kind = pair.kind or ("same" if pair.similarity == 1 else "near")
        return f"{pair.similarity:.4f}", *images, kind


def find_duplicates(data: ImageData) -> Duplicates:
    """Find the images of both splits that are the same, or nearly so.

    A perceptual hash (pHash: the signs of 64 low frequencies against their median) proposes for
    each image the ten nearest ones of other pixels, and for a test image also the ten nearest
    training images, if no more than 10 bits differ; the correlation of their pixels decides. So
    copies of another size, brightness or compression are found. The same is done for copies that
    are mirrored, turned by a right angle or two, or have a frame; a grey copy is compared with
    the other image in grey. Images of a single colour are near none.
    """
    count = len(data.train_images)

    def image(index: int) -> np.ndarray:
        return data.train_images[index] if index < count else data.test_images[index - count]

    total = count + len(data.test_images)
    digests = [hashlib.sha256(image(i).tobytes()).digest() for i in range(total)]
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    by_place = np.argsort(first)  # groups are numbered in the order in which they come
    first, group = first[by_place], np.argsort(by_place)[group]
    whole, inner, is_grey = _coefficients([image(i) for i in first])
    square = data.size[0] == data.size[1]
    found: dict[tuple[int, int], tuple[float, str]] = {}  # by the first kind that fits
    for kind in (SAME, FRAMED, MIRRORED, HALF_TURNED, *([TURNED] if square else [])):
        coefficients = inner if kind.both else whole
        hashes = _hashes(kind.coefficients(coefficients)), _hashes(coefficients)
        for pairs in _proposed(*hashes, int((first < count).sum()), kind):
            for start in range(0, len(pairs), BATCH):
                part = pairs[start : start + BATCH]
                one, other = (np.stack([image(first[i]) for i in side]) for side in part.T)
                one, other = kind.pixels(one), kind.pixels(other) if kind.both else other
                greys = is_grey[part]
                similarity = _correlation(one, other, greys.any(axis=1))
                for place in np.flatnonzero(similarity >= SIMILAR):
                    a, b = sorted(part[place].tolist())
                    grey = "grey" if greys[place, 0] != greys[place, 1] else ""
                    name = " and ".join(filter(None, (grey, kind.name)))
                    found.setdefault((a, b), (float(similarity[place]), name))
    ordered = sorted(found)
    return Duplicates(
        data,
        group,
        np.array(ordered, np.int64).reshape(-1, 2),
        # images that differ correlate by less than 1, whatever rounding says
        np.array([found[pair][0] for pair in ordered]).clip(max=np.nextafter(1, 0)),
        [found[pair][1] for pair in ordered],
    )


def _coefficients(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the hashes are made of.

    Returns:
        The low frequencies of each image, float32 (N, 8, 8); those of each without its edges; and
        which images are grey, bool (N,).
    """
    import scipy.fft  # here, as few need it

    found = np.empty((2, len(images), LOW, LOW), np.float32)
    is_grey = np.empty(len(images), bool)
    for number, image in enumerate(Bar(images, desc="Hashing", unit=" images")):
        for place, part in enumerate((image, _unframed(image[None])[0])):
            grey = Image.fromarray(part).convert("L")
            small = grey.resize((HASHED_SIDE, HASHED_SIDE), Image.Resampling.LANCZOS)
            waves = scipy.fft.dctn(np.asarray(small, np.float32))
            found[place, number] = waves[:LOW, :LOW]
        is_grey[number] = np.ptp(image, axis=-1).max() <= GREY
    return found[0], found[1], is_grey


def _hashes(coefficients: np.ndarray) -> np.ndarray:
    """Return the perceptual hash of each image, float32 (N, 64), of 1 and -1."""
    flat = coefficients.reshape(len(coefficients), -1)
    return np.where(flat > np.median(flat, axis=1, keepdims=True), 1, -1).astype(np.float32)


def _proposed(
    rows: np.ndarray, columns: np.ndarray, learned: int, kind: Kind
) -> Iterator[np.ndarray]:
    """Yield pairs of images whose hashes are near, int64 (P, 2); the nearest ones of each image.

    The first ``learned`` images are training images, and the nearest of these are among those of
    each test image, however many test images are nearer.
    """
    title = f"Comparing{kind.name and f', {kind.name}'}"
    for pairs in _nearest(rows, columns, title, later=kind.symmetric):
        yield pairs[pairs[:, 0] != pairs[:, 1]]
    if kind is SAME:
        for pairs in _nearest(rows[learned:], columns[:learned], f"{title} test with training"):
            yield pairs[:, ::-1] + (0, learned)


def _nearest(
    rows: np.ndarray, columns: np.ndarray, title: str, later: bool = False
) -> Iterator[np.ndarray]:
    """Yield pairs of a row and a column, those of each row that are nearest; or only later ones."""
    step = max(ENTRIES // max(len(columns), 1), 1)
    for start in Bar(range(0, len(rows), step), desc=title, unit=" parts"):
        first = start if later else 0
        agreeing = rows[start : start + step] @ columns[first:].T  # less those that differ
        one, other = np.nonzero(agreeing >= LOW**2 - 2 * NEAR_BITS)
        if later:
            one, other = one[one < other], other[one < other]
        order = np.lexsort((-agreeing[one, other], one))
        one, other = one[order], other[order]
        rank = np.arange(len(one)) - np.searchsorted(one, one)
        yield np.stack([start + one, first + other], axis=1)[rank < NEAREST]


def _correlation(one: np.ndarray, other: np.ndarray, in_grey: np.ndarray) -> np.ndarray:
    """Return how far pixels of pairs of images correlate, each channel around its mean.

    Args:
        one, other: uint8 (P, H, W, 3).
        in_grey: bool (P,), which pairs to compare in grey, as one of the two has no colours.
    """
    centred = []
    for images in (one, other):
        pixels = images.astype(np.float32)
        pixels[in_grey] = (pixels[in_grey] @ LUMA)[..., None]
        pixels -= pixels.mean(axis=(1, 2), keepdims=True)
        pixels = pixels.reshape(len(pixels), -1)
        centred.append(pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), PLAIN))
    return np.einsum("ij,ij->i", *centred)
