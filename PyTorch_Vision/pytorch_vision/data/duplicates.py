"""Find images that occur twice: one subject in both splits inflates the test accuracy.

Barz and Denzler, "Do We Train on Test Data? Purging CIFAR of Near-Duplicates" (arXiv 1902.00423),
judged CIFAR-10's by eye; here, a perceptual hash proposes pairs, and their pixels decide.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pytorch_vision.data.images import LUMA, ImageData
from pytorch_vision.runtime.files import write_csv
from pytorch_vision.runtime.terminal import Bar

LOW = 8  # low frequencies in each direction: their 64 coefficients make a hash
HASHED_SIDE = 32  # pixels: the side of the grey image that is hashed
NEAR_BITS = 10  # Hamming distance of hashes up to which the pixels are compared
NEAREST = 10  # candidates for each image: those whose hashes differ least
SIMILAR = 0.8  # smallest pixel correlation of two near-duplicates
FRAME = 16  # at each edge, 1/16 of the side is cut off, to compare images without their frames
EDGE = 8  # of 255: the largest difference within a frame of one colour
UNEVEN = 2  # pixels by which the opposite sides of a frame may differ
GREY = 8  # of 255: the largest difference between the channels of a grey image
PLAIN = 1.0  # the norm of an image minus its mean, below which it has a single colour
ENTRIES = 4_000_000  # of the matrix of hash distances that is in memory at once
BATCH = 1000  # small images that are hashed at once
COMPARED = 1 << 22  # values of one side that are compared at once
COLUMNS = (
    "similarity",
    *("first", "first_class", "first_part"),
    *("second", "second_class", "second_part"),
    "kind",
)
Change = Callable[[np.ndarray], np.ndarray]  # of images (N, H, W) or (N, H, W, 3)


def _whole(images: np.ndarray) -> np.ndarray:
    return images


def _unframed(images: np.ndarray) -> np.ndarray:
    rows, columns = (max(side // FRAME, 1) for side in images.shape[1:3])
    return images[:, rows:-rows, columns:-columns]


def _trimmed(images: np.ndarray) -> np.ndarray:
    """Cut off a frame of the corner's colour, equally wide on both sides, and enlarge the rest."""
    found, (height, width) = images.copy(), images.shape[1:3]
    for place, image in enumerate(images):
        inside = np.abs(image.astype(np.int16) - image[0, 0]).max(axis=-1) > EDGE
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        if 2 * rows.size < height or 2 * columns.size < width:  # that is no frame
            continue
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        if max(abs(top + bottom - height), abs(left + right - width)) <= UNEVEN:
            picture = Image.fromarray(image).crop((left, top, right, bottom))
            found[place] = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    return found


# the kinds of copies: name, the change made to both images before they are compared, and the change
# made to the first alone
KINDS: tuple[tuple[str, Change, Change], ...] = (
    ("", _whole, _whole),
    ("framed or cropped", _unframed, _whole),
    ("framed or cropped", _trimmed, _whole),
    ("mirrored", _whole, lambda images: images[:, :, ::-1]),
    ("mirrored", _whole, lambda images: images[:, ::-1]),
    ("turned", _whole, lambda images: np.rot90(images, 1, (1, 2))),
    ("turned", _whole, lambda images: np.rot90(images, 2, (1, 2))),
    ("turned", _whole, lambda images: np.rot90(images, 3, (1, 2))),
    ("mirrored and turned", _whole, lambda images: images.swapaxes(1, 2)),
    ("mirrored and turned", _whole, lambda images: np.rot90(images, 2, (1, 2)).swapaxes(1, 2)),
)


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Pairs of equal images and of near-duplicates. Test images are numbered after training's.

    Attributes:
        data: the images.
        pairs: the numbers of two images, and the correlation of their pixels, from 0.8 to 1, which
            means the same pixels; the most similar first. Equal images are paired with the first.
        kinds: how one image of each pair is a copy of the other: "the same", "nearly the same", or
            some of "grey", "framed or cropped", "mirrored" and "turned".
        in_training: bool, which test images are in training too, or have a near-duplicate there.
    """

    data: ImageData
    pairs: list[tuple[int, int, float]]
    kinds: list[str]
    in_training: np.ndarray

    @property
    def motifs(self) -> list[tuple[int, int, float]]:
        """One pair for each motif: first pairs of two classes, then those across the splits."""
        count, named = len(self.data.train_labels), dict[int, tuple[int, int, float]]()
        for pair in sorted(self.pairs, key=lambda one: (self._of_one_class(one), one[1] < count)):
            named.setdefault(pair[0], pair)
        return list(named.values())

    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, 3)."""
        split, place = self._find(index)
        return getattr(self.data, f"{split}_images")[place]

    def name(self, index: int) -> str:
        """Return the file of an image, or its split and its index there."""
        split, place = self._find(index)
        files = getattr(self.data, f"{split}_files")
        return f"{split} image {place}" if files is None else files[place]

    def class_name(self, index: int) -> str:
        """Return the name of an image's class."""
        split, place = self._find(index)
        return self.data.class_names[getattr(self.data, f"{split}_labels")[place]]

    def _find(self, index: int) -> tuple[str, int]:
        """Return the split of an image and its index there."""
        count = len(self.data.train_labels)
        return ("train", index) if index < count else ("test", index - count)

    def _of_one_class(self, pair: tuple[int, int, float]) -> bool:
        return self.class_name(pair[0]) == self.class_name(pair[1])

    def describe(self, most: int = 10) -> str:
        """Return lines that say how many pairs there are, and name the first ``motifs``."""
        pairs, count = self.pairs, len(self.data.train_labels)
        if not pairs:
            return "No two images are the same, or nearly so."
        in_train = sum(pair[1] < count for pair in pairs)
        in_test = sum(pair[0] >= count for pair in pairs)
        same = [pair for pair in pairs if pair[2] == 1]
        copied = sum(pair[0] < count <= pair[1] for pair in same)
        nearly = int(self.in_training.sum()) - copied
        lines = [
            f"Images that occur twice: {len(same):,} the same, {len(pairs) - len(same):,} nearly "
            f"so (pairs within training: {in_train:,}, within test: {in_test:,}).",
            f"Of {len(self.in_training):,} test images, {copied:,} are in training too, and "
            f"{nearly:,} nearly so.",
        ]
        if copied or nearly:
            lines[-1] += " Copies say nothing about new pictures."
        if nearly:
            lines.append(
                "Look at the pairs that are nearly the same: where all pictures look alike, such "
                "as digits, most of these are not copies."
            )
        if other := sum(not self._of_one_class(pair) for pair in pairs):
            lines.append(f"Pairs of two classes: {other:,}. Is one of them wrong?")
        kinds, named = dict(zip(pairs, self.kinds, strict=True)), self.motifs[:most]
        for first, second, alike in named:
            images = []
            for index in (first, second):
                name, label = self.name(index), self.class_name(index)
                images.append(name if name.startswith(f"{label}{os.sep}") else f"{name} ({label})")
            similarity = "" if alike == 1 else f" ({min(alike, 0.999):.3f})"
            across_splits = ", in training and test" if first < count <= second else ""
            kind = kinds[first, second, alike]
            lines.append(f"  {', '.join(images)}: {kind}{similarity}{across_splits}")
        if named and (more := len(pairs) - len(named)):
            lines.append(f"  and {more:,} more")
        return "\n".join(lines)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write all pairs as CSV.

        Raises:
            OSError: the file cannot be written.
        """

        def row(index: int) -> tuple[str, str, str]:
            return self.name(index), self.class_name(index), self._find(index)[0]

        rows = [
            (f"{alike:.4f}", *row(first), *row(second), kind)
            for (first, second, alike), kind in zip(self.pairs, self.kinds, strict=True)
        ]
        write_csv(path, COLUMNS, rows)


def find_duplicates(data: ImageData) -> Duplicates:
    """Find the equal images and the near-duplicates in both splits.

    A perceptual hash (pHash: which of 64 low frequencies exceed their median) proposes up to ten
    candidates for each image, in its split and, for a test image, in training too, whose hashes
    differ by 10 bits or fewer; the correlation of the pixels decides. This finds copies of another
    size, brightness or compression, mirrored ones, ones turned by right angles, and framed ones
    (plainly, up to half of the picture, or narrowly in any way). A grey copy is compared with the
    other image in grey. Two images of one colour each never match.
    """
    images = [*data.train_images, *data.test_images]
    groups: dict[bytes, int] = {}  # by digest, numbered in the order in which they occur
    digests = (hashlib.sha256(image.tobytes()).digest() for image in images)
    group = np.array([groups.setdefault(digest, len(groups)) for digest in digests])
    first = np.unique(group, return_index=True)[1]  # the first image of each group
    in_training = first < len(data.train_images)
    near = _near_duplicates([images[i] for i in first], int(in_training.sum()))
    copies = np.setdiff1d(np.arange(len(group)), first)
    pairs = [(int(first[group[i]]), int(i), 1.0) for i in copies]
    kinds = ["the same"] * len(pairs)
    reached = in_training.copy()
    for (a, b), (similarity, kind) in sorted(near.items(), key=lambda one: (-one[1][0], one[0])):
        pairs.append((int(first[a]), int(first[b]), similarity))
        kinds.append(kind)
        reached[a] |= in_training[b]
        reached[b] |= in_training[a]
    return Duplicates(data, pairs, kinds, reached[group[len(data.train_images) :]])


def _near_duplicates(
    images: list[np.ndarray], learned: int
) -> dict[tuple[int, int], tuple[float, str]]:
    """Return the similarity of near-duplicates by their numbers, and the first kind that fits.

    The images all differ; the first ``learned`` are training images.
    """
    is_grey = np.array([np.ptp(image, axis=-1).max() <= GREY for image in images])
    small = _small(images, (_whole, _unframed, _trimmed))
    near: dict[tuple[int, int], tuple[float, str]] = {}
    for name, both, turn in Bar(KINDS, desc="Comparing", unit=" kinds"):
        hashes = _hashes(turn(small[both])), _hashes(small[both])
        for pairs in _proposed(*hashes, learned, max(COMPARED // images[0].size, 1)):
            one, other = (both(np.stack([images[i] for i in side])) for side in pairs.T)
            one, greys = turn(one), is_grey[pairs]
            if one.shape != other.shape:  # turned, and not square
                continue
            similarity = _correlation(one, other, greys.any(axis=1))
            for place in np.flatnonzero(similarity >= SIMILAR):
                a, b = sorted(pairs[place].tolist())
                grey = "grey" if greys[place, 0] != greys[place, 1] else ""
                kind = " and ".join(filter(None, (grey, name))) or "nearly the same"
                # images that differ correlate by less than 1, even if that rounds to 1
                near.setdefault((a, b), (min(float(similarity[place]), np.nextafter(1, 0)), kind))
    return near


def _small(images: list[np.ndarray], changes: tuple[Change, ...]) -> dict[Change, np.ndarray]:
    """Return the images in grey and resized, after each change: uint8 (N, 32, 32) by change."""
    shape = len(images), HASHED_SIDE, HASHED_SIDE
    found = {change: np.empty(shape, np.uint8) for change in changes}
    for place, image in enumerate(Bar(images, desc="Hashing", unit=" images")):
        for change, small in found.items():
            grey = Image.fromarray(change(image[None])[0]).convert("L")
            resized = grey.resize((HASHED_SIDE, HASHED_SIDE), Image.Resampling.LANCZOS)
            small[place] = np.asarray(resized)
    return found


def _hashes(small: np.ndarray) -> np.ndarray:
    """Return the perceptual hashes of small grey images, float32 (N, 64), each number 1 or -1."""
    import scipy.fft  # here, as few need it

    flat = np.empty((len(small), LOW * LOW), np.float32)
    for start in range(0, len(small), BATCH):
        some = small[start : start + BATCH].astype(np.float32)
        waves = scipy.fft.dctn(some, axes=(1, 2))
        flat[start : start + BATCH] = waves[:, :LOW, :LOW].reshape(-1, LOW * LOW)
    return np.where(flat > np.median(flat, axis=1, keepdims=True), 1, -1).astype(np.float32)


def _proposed(
    turned: np.ndarray, hashes: np.ndarray, learned: int, at_once: int
) -> Iterator[np.ndarray]:
    """Yield int64 (P, 2), each image's candidates: the pairs whose hashes differ least.

    P is at most ``at_once``.

    The first ``learned`` images are training images. Each image is compared with later ones of its
    split, and each test image with all training images.
    """
    train, test = (0, learned), (learned, len(hashes))
    for (begin, end), (low, high) in ((train, train), (test, test), (test, train)):
        step = max(ENTRIES // max(high - low, 1), 1)
        for start in range(begin, end, step):
            later = start if begin == low else low
            agreeing = turned[start : min(start + step, end)] @ hashes[later:high].T
            # agreeing is the number of equal bits minus that of different ones
            one, other = np.nonzero(agreeing >= LOW**2 - 2 * NEAR_BITS)
            if begin == low:
                one, other = one[one < other], other[one < other]
            order = np.lexsort((-agreeing[one, other], one))
            one, other = one[order], other[order]
            rank = np.arange(len(one)) - np.searchsorted(one, one)
            pairs = np.stack([start + one, later + other], axis=1)[rank < NEAREST]
            yield from np.split(pairs, range(at_once, len(pairs), at_once)) if len(pairs) else ()


def _correlation(one: np.ndarray, other: np.ndarray, in_grey: np.ndarray) -> np.ndarray:
    """Return the correlation of the pixels of each pair, with each channel's mean subtracted.

    Args:
        one, other: uint8 (P, H, W, 3).
        in_grey: bool (P,), which pairs to compare in grey, as one of the two has no colours.
    """
    centred = []
    for images in (one, other):
        pixels = images.astype(np.float32)
        pixels[in_grey] = (pixels[in_grey] @ np.array(LUMA, np.float32))[..., None]
        pixels -= pixels.mean(axis=(1, 2), keepdims=True)
        pixels = pixels.reshape(len(pixels), -1)
        centred.append(pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), PLAIN))
    return np.einsum("ij,ij->i", *centred)
