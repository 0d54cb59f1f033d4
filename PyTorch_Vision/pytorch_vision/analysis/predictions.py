"""A classifier's predictions, and which of them are errors."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from pytorch_vision.data import ImageData
from pytorch_vision.data.splits import balanced_indices
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.checks import whole_number
from pytorch_vision.runtime.text import counted

Order = Literal["first", "confident", "spread", "auto"]
Split = Literal["test", "train"]
KINDS = {"test": "test image", "train": "training image"}


@dataclass(frozen=True, eq=False)
class Predictions:
    """Classified images.

    Attributes:
        images: uint8 (N, H, W, 3).
        labels: int64 (N,), the true classes.
        probabilities: float32 (N, C), each row summing to 1.
        indices: int64 (N,), each image's index in its split.
        class_names: the C names, by label.
        files: the N files that the images came from; None where the data names none.
        split: "test" for test images, "train" for training images.
        choice: how they were chosen, as in "the first 10 errors in test order".
        description: of the classifier that made them.
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    indices: np.ndarray
    class_names: tuple[str, ...]
    files: tuple[str | None, ...] | None = None
    split: Split = "test"
    choice: str = ""
    description: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Whether each image is correctly classified, bool (N,)."""
        return self.predicted == self.labels

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the predicted class, float32 (N,)."""
        return self.probabilities.max(axis=1, initial=0)

    @property
    def names(self) -> list[str]:
        """Each image's file, or else its index, as in "test image 3"."""
        files = self.files or (None,) * len(self)
        return [
            file or f"{self.kind} {index}" for file, index in zip(files, self.indices, strict=True)
        ]

    @property
    def title(self) -> str:
        """A figure's title: which classifier predicted, and how the images were chosen."""
        chosen = self.choice or counted(len(self), self.kind)
        return ": ".join(filter(None, (self.description, chosen)))

    @property
    def kind(self) -> str:
        """What one of the images is called: "test image" or "training image"."""
        return KINDS[self.split]

    def select(self, which: np.ndarray) -> "Predictions":
        """Return some of the predictions, given a boolean mask (N,) or indices."""
        return replace(
            self,
            images=self.images[which],
            labels=self.labels[which],
            probabilities=self.probabilities[which],
            indices=self.indices[which],
            files=None if self.files is None else tuple(np.array(self.files, object)[which]),
        )


def predict(
    classifier: Classifier,
    data: ImageData,
    machine: Machine | None = None,
    split: Split = "test",
) -> Predictions:
    """Classify the test images, in order. For images without labels, use ``Classifier.predict``.

    The network is moved to the device. The split "train" has the training images, without
    augmentation: a confident error among them is often a wrong label.

    Raises:
        ValueError: the data has other classes or another size, or no images in this split.
        MemoryError: the GPU has too little memory.
    """
    if split not in KINDS:
        raise ValueError(f"split is {split!r}, expected {', '.join(map(repr, KINDS))}")
    classifier.check(data)
    images, labels = getattr(data, f"{split}_images"), getattr(data, f"{split}_labels")
    if not len(images):
        advice = ": test on another folder of pictures, or look at the training images"
        raise ValueError(f"{data.name} has no {KINDS[split]}s{advice if split == 'test' else ''}")
    return Predictions(
        images=images,
        labels=labels,
        probabilities=classifier.predict(images, machine),
        indices=np.arange(len(labels)),
        class_names=data.class_names,
        files=getattr(data, f"{split}_files"),
        split=split,
        description=classifier.description,
    )


def misclassified(
    predictions: Predictions, count: int | None = None, order: Order = "auto"
) -> Predictions:
    """Return the images whose predicted class is not the true one.

    Args:
        predictions: what ``predict`` returned.
        count: the greatest number to return; None for all.
        order: "first" in test order; the most "confident" first; or "spread" over the true
            classes: the first of each class, then the second of each, put in test order. "auto"
            is a fair sample: the first ones if the classes come in random order, as in CIFAR-10;
            if they come one after the other, as in a folder, some of each class, drawn at random.

    Raises:
        ValueError: ``count`` is negative, or there is no such order.
    """
    return _chosen(predictions, ~predictions.right, count, order, "errors")


def correctly_classified(
    predictions: Predictions, count: int | None = None, order: Order = "auto"
) -> Predictions:
    """Return the images whose predicted class is the true one; as for ``misclassified``."""
    return _chosen(predictions, predictions.right, count, order, "correct answers")


def _chosen(
    predictions: Predictions, mask: np.ndarray, count: int | None, order: Order, what: str
) -> Predictions:
    if order not in get_args(Order):
        raise ValueError(f"order is {order!r}, expected {', '.join(map(repr, get_args(Order)))}")
    if count is not None and whole_number(count, "count") < 0:
        raise ValueError(f"count is {count}, expected 0 or more")
    candidates = np.flatnonzero(mask)
    count = len(candidates) if count is None else min(int(count), len(candidates))
    random = np.random.default_rng(0)
    if order == "auto" and _in_random_order(predictions.labels):
        order = "first"
    elif order == "auto":
        order, candidates = "spread", random.permutation(candidates)
    if order == "confident":
        candidates = candidates[np.argsort(-predictions.confidence[candidates], kind="stable")]
    if order == "spread" and count:
        # which classes get one more image than the others is random, not alphabetical
        ranks = random.permutation(len(predictions.class_names))
        labels = ranks[predictions.labels[candidates]]
        candidates = np.sort(candidates[balanced_indices(labels, count)])
    choice = {
        "first": f"the first {count} {what} in {predictions.split} order",
        "confident": f"the {count} most confident {what}",
        "spread": f"{count} {what} spread over the true classes",
    }[order]
    return replace(predictions.select(candidates[:count]), choice=choice)


def _in_random_order(labels: np.ndarray) -> bool:
    """Tell whether the class changes from image to image about as often as by chance."""
    shares = np.unique(labels, return_counts=True)[1] / max(len(labels), 1)
    by_chance = len(labels) * (1 - np.square(shares).sum())
    changes = np.diff(labels)
    return bool((changes < 0).any() and np.count_nonzero(changes) >= 0.75 * by_chance)


@dataclass(frozen=True)
class Confusion:
    """How often one class was taken for another."""

    true: int
    predicted: int
    count: int  # number of such images
    share: float  # their share of the true class, in (0, 1]


def largest_confusions(predictions: Predictions) -> list[Confusion]:
    """Return every confusion of one class with another, the most frequent first."""
    matrix = confusion_matrix(predictions)
    totals = matrix.sum(axis=1)
    np.fill_diagonal(matrix, 0)
    found = [
        Confusion(
            true, predicted, int(matrix[true, predicted]), matrix[true, predicted] / totals[true]
        )
        for true, predicted in np.argwhere(matrix).tolist()
    ]
    return sorted(found, key=lambda one: (-one.count, -one.share))


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """Count the images by true class (row) and predicted class (column): int64 (C, C)."""
    classes = len(predictions.class_names)
    pairs = predictions.labels * classes + predictions.predicted
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
