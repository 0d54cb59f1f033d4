"""Accuracy with a confidence interval, and precision, recall and F1 of each class."""

import math
import os
from dataclasses import dataclass

import numpy as np
import scipy.stats
import sklearn.metrics

from pytorch_vision.analysis.calibration import cross_entropy
from pytorch_vision.analysis.predictions import Predictions
from pytorch_vision.runtime.files import write_csv
from pytorch_vision.runtime.text import aligned, cut, listed, percent
from pytorch_vision.training import Evaluation
from pytorch_vision.training.evaluate import only_class

TOP = 5  # the k of top-k accuracy
MANY = 20  # number of classes from which top-5 accuracy is given
SHOWN = 30  # classes in a table; of more, the worst ones
NAME = 40  # characters of a name in a line of text


@dataclass(frozen=True, eq=False, repr=False)
class Metrics:
    """Accuracy over all images, and precision, recall and F1 of each class.

    Printed, or as the last line of a notebook's cell, it is a table.

    Attributes:
        class_names: the C names, by label.
        precision: float64 (C,) in [0, 1]; NaN for a class that was never predicted.
        recall: float64 (C,) in [0, 1], the accuracy of each true class; NaN for one without
            images.
        f1: float64 (C,) in [0, 1], the harmonic mean of both; NaN where both are NaN.
        counts: int64 (C,), the number of images of each class.
        accuracy: the share of all images that is correctly classified, in [0, 1].
        top5: the share of all images whose true class is among the five most probable, in [0, 1];
            None for fewer than 20 classes.
    """

    class_names: tuple[str, ...]
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    counts: np.ndarray
    accuracy: float
    top5: float | None

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy (Wilson), in [0, 1]."""
        count = int(self.counts.sum())
        test = scipy.stats.binomtest(round(self.accuracy * count), count)
        low, high = test.proportion_ci(0.95, method="wilson")
        return float(low), float(high)

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall over the classes that have images, so that all count alike."""
        return float(np.nanmean(self.recall))

    @property
    def worst(self) -> np.ndarray:
        """The labels of the classes that have images, the lowest F1 first."""
        order = np.argsort(self.f1, kind="stable")
        return order[self.counts[order] > 0]

    @property
    def summary(self) -> str:
        """One line about all images."""
        low, high = self.accuracy_interval
        digits = max(0, math.ceil(-math.log10(high - low)) - 1)  # enough to tell the ends apart
        text = (
            f"Accuracy {percent(self.accuracy, 2)} (95 % interval {100 * low:.{digits}f} to "
            f"{percent(high, digits)}), balanced {percent(self.balanced_accuracy, 2)}"
        )
        return text + ("" if self.top5 is None else f", top-{TOP} {percent(self.top5, 2)}")

    def __repr__(self) -> str:
        shown = np.flatnonzero(self.counts) if len(self.counts) <= SHOWN else self.worst[:SHOWN]
        rows = [["", "precision", "recall", "F1", "images"]]
        for label in shown:
            shares = (self.precision[label], self.recall[label], self.f1[label])
            texts = ["-" if np.isnan(share) else percent(share, 1) for share in shares]
            name = cut(" ".join(self.class_names[label].split()), NAME)
            rows.append([name, *texts, f"{self.counts[label]:,}"])
        lines = [self.summary, aligned(rows, numbers=True)]
        if len(self.counts) > SHOWN:
            lines.append(f"These {len(shown)} of {len(self.counts):,} classes have the lowest F1.")
        if empty := [self.class_names[label] for label in np.flatnonzero(self.counts == 0)]:
            lines.append(f"Classes without any image: {listed(empty)}.")
        return "\n".join(lines)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write the values of each class as CSV; shares are in [0, 1], and NaN is left empty.

        Raises:
            OSError: it cannot be written.
        """
        columns = (self.precision, self.recall, self.f1)
        rows = [
            [name, *(None if np.isnan(one[label]) else f"{one[label]:.6g}" for one in columns), n]
            for label, (name, n) in enumerate(zip(self.class_names, self.counts, strict=True))
        ]
        write_csv(path, ["class", "precision", "recall", "f1", "images"], rows)


def measure(predictions: Predictions) -> Metrics:
    """Return accuracy, and precision, recall and F1 of each class.

    Raises:
        ValueError: there are no predictions.
    """
    if not len(predictions):
        raise ValueError("there are no predictions to measure")
    labels, names = predictions.labels, predictions.class_names
    classes = range(len(names))
    precision, recall, f1, counts = sklearn.metrics.precision_recall_fscore_support(
        labels, predictions.predicted, labels=classes, zero_division=np.nan
    )
    top5 = None
    if len(names) >= MANY:
        probabilities = predictions.probabilities
        true = probabilities[np.arange(len(labels)), labels, None]
        top5 = float(((probabilities > true).sum(axis=1) < TOP).mean())  # without sorting them
    accuracy = float(predictions.right.mean())
    return Metrics(names, precision, recall, f1, counts, accuracy, top5)


def evaluation(predictions: Predictions) -> Evaluation:
    """Return the loss and accuracy of some predictions, as ``training.evaluate`` does."""
    taken = np.bincount(predictions.predicted)
    return Evaluation(
        loss=cross_entropy(predictions),
        correct=int(np.count_nonzero(predictions.right)),
        count=len(predictions),
        only=only_class(taken, predictions.labels, predictions.class_names),
    )


def write_predictions(
    predictions: Predictions, path: str | os.PathLike, mark: bool = False
) -> None:
    """Write each image's name, true and predicted class and their probabilities as CSV.

    ``mark`` is as for ``write_csv``.

    Raises:
        OSError: it cannot be written.
    """
    names, answers = predictions.class_names, predictions.predicted
    every = zip(
        predictions.names, predictions.labels, answers, predictions.probabilities, strict=True
    )
    rows = [
        [name, names[label], names[answer], f"{shares[answer]:.6f}", f"{shares[label]:.6f}"]
        for name, label, answer, shares in every
    ]
    header = ["image", "true_class", "class", "probability", "true_class_probability"]
    write_csv(path, header, rows, mark)
