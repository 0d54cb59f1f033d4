"""What a test has shown, in words: the result, what the errors have in common, what to try next."""

import re

import numpy as np

from pytorch_vision.analysis.predictions import (
    Predictions,
    class_accuracy,
    confusion_matrix,
    misclassified,
)
from pytorch_vision.data.cifar10 import CIFAR10_CLASSES
from pytorch_vision.models import Classifier
from pytorch_vision.runtime.text import percent

ORIGINAL = 0.8712  # of the CIFAR-10 test images, in the notebook that this project grew from
TEST_IMAGES = 10_000  # of CIFAR-10
UNEQUAL = 3  # times as many images in the largest class as in the smallest


def lessons_learned(classifier: Classifier, predictions: Predictions) -> str:
    """Return what the test images have shown, as Markdown; each sentence is computed.

    Args:
        classifier: that was tested.
        predictions: its answers, what ``predict`` returned.
    """
    parts = (
        f"**The result.** {_result(classifier, predictions)}",
        f"**What the errors have in common.** {_errors(predictions)}",
        f"**Three things to try next**, each by one line in the settings:\n\n"
        f"{_next_steps(classifier, predictions)}",
    )
    return "\n\n".join(parts)


def _result(classifier: Classifier, predictions: Predictions) -> str:
    right = predictions.predicted == predictions.labels
    told = (
        f"{_shown(str(classifier))}: {percent(right.mean(), 2)} of {len(right):,} "
        f"{predictions.kind}s are correctly classified."
    )
    if _is_cifar10(predictions) and len(right) == TEST_IMAGES:
        return (
            f"{told} The original notebook, ResNet18 after 20 epochs, had "
            f"{percent(ORIGINAL, 2)} of the same images."
        )
    most = np.bincount(predictions.labels).max() / len(right)
    told += f" To give the same answer every time would be right for at most {percent(most)}."
    if _is_cifar10(predictions):
        told += (
            f" The original notebook's {percent(ORIGINAL, 2)} are no figure to compare this with: "
            "it learned from all 50,000 images, and was tested on all 10,000."
        )
    return told


def _errors(predictions: Predictions) -> str:
    errors = misclassified(predictions)
    if not len(errors):
        return "There are none."
    names = [_shown(name) for name in predictions.class_names]
    matrix = confusion_matrix(errors)
    pairs = np.triu(matrix + matrix.T)
    one, other = np.unravel_index(pairs.argmax(), pairs.shape)
    accuracy = class_accuracy(predictions)
    worst, best = np.nanargmin(accuracy), np.nanargmax(accuracy)
    two = np.argsort(-errors.probabilities, axis=1, kind="stable")[:, 1]
    second, sure = two == errors.labels, errors.confidence
    return "\n".join(
        (
            "\n",
            f"- Which classes: of {len(errors):,} errors, {_of(pairs[one, other], errors)} take "
            f"*{names[one]}* for *{names[other]}* or the other way round, more than for any other "
            f"pair. Of all classes, *{names[worst]}* is found least often "
            f"({accuracy[worst]:.1f} % of its images) and *{names[best]}* most often "
            f"({accuracy[best]:.1f} %).",
            f"- How far off: in {_of(second.sum(), errors)}, the true class was the second guess.",
            f"- How sure: half of the errors were made with a probability of "
            f"{percent(np.median(sure))} or more, the surest with {percent(sure.max())}. Look for "
            "habits, and for wrong labels, among the surest.",
        )
    )


def _of(count: int, errors: Predictions) -> str:
    return f"{count:,} ({percent(count / len(errors))})"


def _next_steps(classifier: Classifier, predictions: Predictions) -> str:
    is_resnet18 = classifier.description.startswith("ResNet18")
    epochs = 2 * max(10, len(classifier.history.records))
    longer = f"EPOCHS = {epochs}", "train longer, with learning rates that fall more slowly"
    network = "CustomResNet" if is_resnet18 else "ResNet18"
    other = f'MODEL = "{network}"', "see whether another network makes the same errors"
    counts = np.bincount(predictions.labels, minlength=len(predictions.class_names))
    if _is_cifar10(predictions) and len(predictions) < TEST_IMAGES:
        full = "learn from all 50,000 images, which helps most, and takes a GPU or hours"
        steps = [('DATA = "full"', full), longer, other]
    elif _is_cifar10(predictions):
        own = "take your own pictures, a folder that has a folder for each class"
        steps = [longer, other, ('DATA = "photographs"', own)]
    else:
        pretrained = "begin with the filters of a ResNet18 that knows CIFAR-10"
        unequal = "let rare classes count more, since these classes are unequal"
        steps = [
            ('WEIGHTS = "pretrained"', pretrained) if is_resnet18 else other,
            ('OVERRIDES = "class_weights=0.5"', unequal)
            if counts.max() > UNEQUAL * counts.min()
            else longer,
            ('ORDER = "confident"', "see the errors that the network was surest of"),
        ]
    return "\n".join(f"{n}. `{line}`: {why}." for n, (line, why) in enumerate(steps, 1))


def _is_cifar10(predictions: Predictions) -> bool:
    return predictions.class_names == CIFAR10_CLASSES


def _shown(text: str) -> str:
    """Return a text as Markdown shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>|$])", r"\\\1", " ".join(text.split()))
