"""A classifier's predictions, its errors, and figures about both."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import sklearn.metrics

from pytorch_vision.data import ImageData
from pytorch_vision.data.images import balanced_indices
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine

Order = Literal["first", "confident", "spread"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Classified images.

    Attributes:
        images: uint8 (N, H, W, 3).
        labels: int64 (N,), the true classes.
        probabilities: float32 (N, C), each row summing to 1.
        indices: int64 (N,), where each image stands in the test set.
        class_names: the C names, by label.
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    indices: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the predicted class, float32 (N,)."""
        return self.probabilities.max(axis=1, initial=0)

    def select(self, which: np.ndarray) -> "Predictions":
        """Return the chosen predictions, by a boolean mask (N,) or by positions."""
        return replace(
            self,
            images=self.images[which],
            labels=self.labels[which],
            probabilities=self.probabilities[which],
            indices=self.indices[which],
        )


def predict(classifier: Classifier, data: ImageData, machine: Machine | None = None) -> Predictions:
    """Classify the test images, in order, in the device and precision that they were tested in.

    The network is put on the device, and left in the mode it was in. For images without labels
    there is ``classifier.predict``.

    Raises:
        ValueError: the data has other classes or another size.
        MemoryError: the GPU has too little memory.
    """
    classifier.check(data)
    return Predictions(
        images=data.test_images,
        labels=data.test_labels,
        probabilities=classifier.predict(data.test_images, machine),
        indices=np.arange(len(data.test_labels)),
        class_names=data.class_names,
    )


def misclassified(
    predictions: Predictions, count: int | None = None, order: Order = "first"
) -> Predictions:
    """Return the images whose predicted class is not the true one.

    Args:
        predictions: what ``predict`` returned.
        count: at most so many; None for all.
        order: "first" in test order; the most "confident" first; or "spread" over the true
            classes: the first of each class, then the second of each, put in test order.

    Raises:
        ValueError: ``count`` is negative, or there is no such order.
    """
    return _chosen(predictions, predictions.predicted != predictions.labels, count, order)


def correctly_classified(
    predictions: Predictions, count: int | None = None, order: Order = "first"
) -> Predictions:
    """Return the images whose predicted class is the true one; arguments as above."""
    return _chosen(predictions, predictions.predicted == predictions.labels, count, order)


def describe_choice(order: Order, count: int, what: str = "errors") -> str:
    """Say in a title which errors, or correct answers, were chosen; ``count`` is their number."""
    return {
        "first": f"the first {count} {what} in test order",
        "confident": f"the {count} most confident {what}",
        "spread": f"{count} {what} spread over the true classes",
    }[order]


def check_order(order: str) -> None:
    """Raise ValueError unless ``order`` is one that ``misclassified`` knows."""
    if order not in get_args(Order):
        raise ValueError(f"order is {order!r}, expected {', '.join(map(repr, get_args(Order)))}")


def _chosen(
    predictions: Predictions, mask: np.ndarray, count: int | None, order: Order
) -> Predictions:
    check_order(order)
    if count is not None and count < 0:
        raise ValueError(f"count is {count}, expected 0 or more")
    chosen = np.flatnonzero(mask)
    count = len(chosen) if count is None else min(count, len(chosen))
    if order == "confident":
        chosen = chosen[np.argsort(-predictions.confidence[chosen], kind="stable")]
    if order == "spread" and count:
        chosen = chosen[balanced_indices(predictions.labels[chosen], count)]
    return predictions.select(chosen[:count])


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """Count the images by true class (row) and predicted class (column): int64 (C, C)."""
    return sklearn.metrics.confusion_matrix(
        predictions.labels,
        predictions.predicted,
        labels=range(len(predictions.class_names)),
    )


def class_accuracy(predictions: Predictions) -> np.ndarray:
    """Return the share of each true class that was correctly classified.

    Returns:
        float64 (C,) in percent; NaN for a class without any image.
    """
    matrix = confusion_matrix(predictions)
    counts = matrix.sum(axis=1)
    return 100 * np.divide(
        matrix.diagonal(), counts, out=np.full(len(counts), np.nan), where=counts > 0
    )
