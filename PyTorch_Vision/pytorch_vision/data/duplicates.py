"""Images that are there twice: the same motif on both sides of a split flatters the result.

Barz and Denzler, "Do We Train on Test Data? Purging CIFAR of Near-Duplicates" (arXiv 1902.00423),
looked at CIFAR-10's by eye; here, a perceptual hash proposes and the pixels decide.
"""

import csv
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pytorch_vision.data.images import ImageData
from pytorch_vision.runtime.files import atomic_write
from pytorch_vision.runtime.terminal import Bar

BITS = 64  # of a hash
NEAR_BITS = 10  # that differ at most in two hashes, for their images to be looked at
NEAREST = 10  # that are looked at, of an image
SIMILAR = 0.8  # correlation of the pixels, from which on images are nearly the same
ENTRIES = 4_000_000  # of a matrix that is held at once
BATCH = 1000  # pairs whose pixels are compared at once
COLUMNS = (
    "similarity",
    *("first", "first_class", "first_part"),
    *("second", "second_class", "second_part"),
)


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Pairs of images that are the same, or nearly so.

    Attributes:
        data: the images. Below, those to train on are counted first, then those to test on.
        group: int64 (N,), the same number for images of the same pixels.
        near: int64 (P, 2), groups whose images are nearly the same.
        similarity: float64 (P,), the correlation of their pixels, from 0.8 to 1.
    """

    data: ImageData
    group: np.ndarray
    near: np.ndarray
    similarity: np.ndarray

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
        _, first = np.unique(self.group, return_index=True)
        others = np.setdiff1d(np.arange(len(self.group)), first)
        same = [(int(first[self.group[i]]), int(i), 1.0) for i in others]
        order = np.argsort(-self.similarity, kind="stable")
        lower, upper = np.sort(first[self.near[order]], axis=1).T.tolist()
        near = list(zip(lower, upper, self.similarity[order].tolist(), strict=True))
        return same + near

    def name(self, index: int) -> str:
        """Return the file of an image, or its part and its place there."""
        part, place, _ = self._find(index)
        files = self.data.train_files if part == "train" else self.data.test_files
        return f"{part} image {place}" if files is None else files[place]

    def class_name(self, index: int) -> str:
        """Return the class that an image is labelled with."""
        return self.data.class_names[self._find(index)[2]]

    def _of_one_class(self, pair: tuple[int, int, float]) -> bool:
        return self.class_name(pair[0]) == self.class_name(pair[1])

    def _find(self, index: int) -> tuple[str, int, int]:
        count = len(self.data.train_labels)
        if index < count:
            return "train", index, int(self.data.train_labels[index])
        return "test", index - count, int(self.data.test_labels[index - count])

    def describe(self, most: int = 10) -> str:
        """Say in a few lines how many there are, and name some, each motif once.

        Those of two classes come first, then those in training and test, then the most similar.
        """
        pairs, count = self.pairs, len(self.data.train_labels)
        if not pairs:
            return "No two images are the same, or nearly so."
        same = sum(similarity == 1 for *_, similarity in pairs)
        across = int(self.in_training.sum())
        within = [sum(b < count for _, b, _ in pairs), sum(a >= count for a, _, _ in pairs)]
        lines = [
            f"Images that are there twice: {same:,} the same, {len(pairs) - same:,} nearly so "
            f"(pairs within training: {within[0]:,}, within test: {within[1]:,}).",
            "Test images that are in training too, or nearly so: "
            f"{across:,} of {len(self.data.test_labels):,}"
            + (". They say nothing about new pictures." if across else "."),
        ]
        if other := sum(not self._of_one_class(pair) for pair in pairs):
            lines.append(f"Pairs of two classes: {other:,}. Is one of them wrong?")
        named: dict[int, tuple[int, int, float]] = {}
        for pair in sorted(pairs, key=lambda pair: (self._of_one_class(pair), pair[1] < count)):
            named.setdefault(pair[0], pair)
        for a, b, similarity in list(named.values())[:most]:
            alike = f"nearly the same ({min(similarity, 0.999):.3f})"
            both = ", in training and test" if a < count <= b else ""
            alike = "the same" if similarity == 1 else alike
            lines.append(f"  {self._shown(a)}, {self._shown(b)}: {alike}{both}")
        if more := len(pairs) - min(len(named), most):
            lines.append(f"  and {more:,} more")
        return "\n".join(lines)

    def _shown(self, index: int) -> str:
        name, label = self.name(index), self.class_name(index)
        return name if name.startswith(f"{label}{os.sep}") else f"{name} ({label})"

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write all pairs as a table.

        Raises:
            OSError: it cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for a, b, similarity in self.pairs:
            images = ((self.name(one), self.class_name(one), self._find(one)[0]) for one in (a, b))
            writer.writerow((f"{similarity:.4f}", *(text for one in images for text in one)))
        with atomic_write(path) as file:
            file.write(text.getvalue().encode())


def find_duplicates(data: ImageData) -> Duplicates:
    """Find the images of both parts that are the same, or nearly so.

    Of images of other pixels, a perceptual hash (pHash: 64 bits of the low frequencies) proposes
    the nearest ten, and for a test image the nearest ten training images, if no more than 10 bits
    differ; the correlation of their pixels decides. So
    copies of another size, brightness or compression are found, but no mirrored ones.
    """
    count = len(data.train_images)

    def image(index: int) -> np.ndarray:
        return data.train_images[index] if index < count else data.test_images[index - count]

    total = count + len(data.test_images)
    group, first = _same([hashlib.sha256(image(i).tobytes()).digest() for i in range(total)])
    hashes = _hashes([image(i) for i in first])
    near, similarity = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for pairs in _proposed(hashes, sum(i < count for i in first)):
        for part in np.array_split(pairs, -(-len(pairs) // BATCH)) if len(pairs) else ():
            one, other = (_centred([image(first[i]) for i in side]) for side in part.T)
            correlation = np.einsum("ij,ij->i", one, other)
            near.append(part[correlation >= SIMILAR])
            similarity.append(correlation[correlation >= SIMILAR])
    pairs, once = np.unique(np.concatenate(near), axis=0, return_index=True)
    # that of images which are not the same is less than 1, whatever it is rounded to
    similar = np.concatenate(similarity)[once].astype(np.float64).clip(max=np.nextafter(1, 0))
    return Duplicates(data, group, pairs, similar)


def _same(digests: list[bytes]) -> tuple[np.ndarray, list[int]]:
    """Return a number for each digest, in the order in which they come, and where each is first."""
    numbers: dict[bytes, int] = {}
    group = [numbers.setdefault(digest, len(numbers)) for digest in digests]
    _, first = np.unique(group, return_index=True)
    return np.array(group, np.int64), first.tolist()


def _hashes(images: list[np.ndarray]) -> np.ndarray:
    """Return the perceptual hash of each image: float32 (N, 64), of 1 and -1."""
    import imagehash  # here, as few need it

    hashes = np.empty((len(images), BITS), np.float32)
    for number, image in enumerate(Bar(images, desc="Hashing", unit=" images")):
        hashes[number] = imagehash.phash(Image.fromarray(image)).hash.ravel()
    return 2 * hashes - 1


def _proposed(hashes: np.ndarray, learned: int) -> Iterator[np.ndarray]:
    """Yield pairs of images whose hashes are near, int64 (P, 2); of each image the nearest ones.

    Of each test image, which come behind the ``learned`` training images, the nearest of these are
    among them, however many test images are nearer.
    """
    yield from _nearest(hashes, hashes, "Comparing", later=True)
    for pairs in _nearest(hashes[learned:], hashes[:learned], "Comparing test with training"):
        yield pairs[:, ::-1] + (0, learned)


def _nearest(
    rows: np.ndarray, columns: np.ndarray, title: str, later: bool = False
) -> Iterator[np.ndarray]:
    """Yield pairs of a row and a column, those of each row that are nearest; or only later ones."""
    step = max(ENTRIES // max(len(columns), 1), 1)
    for start in Bar(range(0, len(rows), step), desc=title, unit=" parts"):
        first = start if later else 0
        agreeing = rows[start : start + step] @ columns[first:].T  # less those that differ
        one, other = np.nonzero(agreeing >= BITS - 2 * NEAR_BITS)
        if later:
            one, other = one[one < other], other[one < other]
        order = np.lexsort((-agreeing[one, other], one))
        one, other = one[order], other[order]
        rank = np.arange(len(one)) - np.searchsorted(one, one)
        yield np.stack([start + one, first + other], axis=1)[rank < NEAREST]


def _centred(images: list[np.ndarray]) -> np.ndarray:
    """Return pixels less their mean, of length 1 for each image, to correlate them."""
    pixels = np.stack(images).reshape(len(images), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-6)
