"""The figures that are asked for of a classifier: of each class, and of all."""

import csv
import io
import os
from dataclasses import dataclass

import numpy as np
import sklearn.metrics

from pytorch_vision.analysis.predictions import Predictions
from pytorch_vision.runtime import atomic_write
from pytorch_vision.runtime.text import cut, percent
from pytorch_vision.training import Evaluation

TOP = 5  # of the most probable classes; told where there are
MANY = 20  # classes or more
SHOWN = 30  # classes in a table; of more, the worst ones
NAME = 40  # characters of a name in a line of text


@dataclass(frozen=True, eq=False)
class Metrics:
    """How well each class is found, and all of them.

    Attributes:
        class_names: the C names, by label.
        precision: float64 (C,) in [0, 1], of the images that were taken for the class, the share
            that are of it; NaN for a class that none was taken for.
        recall: float64 (C,) in [0, 1], of the images of the class, the share that were taken for
            it; NaN for a class without images.
        f1: float64 (C,) in [0, 1], the harmonic mean of both; NaN where there was neither.
        counts: int64 (C,), the images of each class.
        accuracy: the share of all images that is correctly classified.
        top5: the share whose true class is among the five most probable; None for fewer than 20
            classes.
    """

    class_names: tuple[str, ...]
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    counts: np.ndarray
    accuracy: float
    top5: float | None

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have images: each counts alike, however few."""
        return float(np.nanmean(self.recall))

    @property
    def worst(self) -> np.ndarray:
        """The labels of the classes that have images, the lowest F1 first."""
        order = np.argsort(self.f1, kind="stable")
        return order[self.counts[order] > 0]

    def __str__(self) -> str:
        lines = [self.summary]
        shown = np.flatnonzero(self.counts) if len(self.counts) <= SHOWN else self.worst[:SHOWN]
        names = [cut(" ".join(self.class_names[label].split()), NAME) for label in shown]
        width = max(map(len, names), default=0)
        lines.append(f"{'':{width}}  precision   recall       F1   images")
        for name, label in zip(names, shown, strict=True):
            shares = [self.precision[label], self.recall[label], self.f1[label]]
            texts = ["-" if np.isnan(share) else percent(share, 1) for share in shares]
            lines.append(
                f"{name:{width}}  {texts[0]:>9}{texts[1]:>9}{texts[2]:>9}{self.counts[label]:>9,}"
            )
        if len(self.counts) > SHOWN:
            lines.append(f"These {len(shown)} of {len(self.counts):,} classes have the lowest F1.")
        if empty := np.count_nonzero(self.counts == 0):
            lines.append(f"Classes without any image: {empty:,}.")
        return "\n".join(lines)

    @property
    def summary(self) -> str:
        """One line about all images."""
        both = (
            f"Accuracy {percent(self.accuracy, 2)}, balanced {percent(self.balanced_accuracy, 2)}"
        )
        return both + ("" if self.top5 is None else f", top-{TOP} {percent(self.top5, 2)}")

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a header and a line for each class; shares are in [0, 1], empty where unknown.

        Raises:
            OSError: it cannot be written.
        """
        columns = (self.precision, self.recall, self.f1)
        rows = [
            [name, *("" if np.isnan(one[label]) else f"{one[label]:.6g}" for one in columns), count]
            for label, (name, count) in enumerate(zip(self.class_names, self.counts, strict=True))
        ]
        write_table(path, ["class", "precision", "recall", "f1", "images"], rows)


def measure(predictions: Predictions) -> Metrics:
    """Return the figures of some predictions.

    Raises:
        ValueError: there are none.
    """
    if not len(predictions):
        raise ValueError("there are no predictions to measure")
    labels, predicted = predictions.labels, predictions.predicted
    classes = range(len(predictions.class_names))
    precision, recall, f1, counts = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=np.nan
    )
    top5 = None
    if len(classes) >= MANY:
        probabilities = predictions.probabilities
        top5 = sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=TOP, labels=classes)
    accuracy = float(np.mean(labels == predicted))
    return Metrics(predictions.class_names, precision, recall, f1, counts, accuracy, top5)


def evaluation(predictions: Predictions) -> Evaluation:
    """Return what ``training.evaluate`` would, without asking the network again."""
    labels, predicted = predictions.labels, predictions.predicted
    # a probability that float32 rounds to 0 keeps a finite loss
    smallest = np.finfo(np.float32).tiny
    given = predictions.probabilities[np.arange(len(labels)), labels].astype(np.float64)
    only = None
    if len(np.unique(predicted)) == 1 < len(np.unique(labels)):
        only = predictions.class_names[predicted[0]]
    return Evaluation(
        loss=float(-np.log(np.maximum(given, smallest)).mean()),
        correct=int(np.count_nonzero(predicted == labels)),
        count=len(labels),
        only=only,
    )


def write_predictions(predictions: Predictions, path: str | os.PathLike) -> None:
    """Write a line for each image: its name, both classes and their probabilities.

    Raises:
        OSError: it cannot be written.
    """
    names = predictions.class_names
    rows = [
        [
            name,
            names[label],
            names[predicted],
            f"{row[predicted]:.4f}",
            f"{row[label]:.4f}",
        ]
        for name, label, predicted, row in zip(
            predictions.names,
            predictions.labels,
            predictions.predicted,
            predictions.probabilities,
            strict=True,
        )
    ]
    header = ["image", "true class", "predicted class", "its probability", "of the true class"]
    write_table(path, header, rows)


def write_table(path: str | os.PathLike, header: list[str], rows: list[list]) -> None:
    """Write a CSV file, in UTF-8, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode(errors="backslashreplace"))
