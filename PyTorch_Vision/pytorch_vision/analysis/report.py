"""The page of all errors, and of some correct answers: one HTML file, with a filter and maps."""

import base64
import io
import os
import sys
from importlib import resources
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment
from PIL import Image
from tqdm import tqdm

from pytorch_vision.analysis.calibration import describe_scaling
from pytorch_vision.analysis.faithfulness import baseline_maps, describe_removal, removal
from pytorch_vision.analysis.galleries import HEAT, overlay
from pytorch_vision.analysis.gradcam import grad_cam
from pytorch_vision.analysis.predict import (
    Predictions,
    confusion_matrix,
    correctly_classified,
    misclassified,
)
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine, atomic_write

CHUNK = 100  # images whose maps are made at once, between two moves of the bar
STOPS = np.linspace(0, 1, 9)  # of the colour bar's gradient


def write_report(
    classifier: Classifier,
    predictions: Predictions,
    path: str | os.PathLike,
    right_count: int = 100,
    machine: Machine | None = None,
) -> None:
    """Write a self-contained HTML page of every misclassified image, and of some correct answers.

    It needs no network, no other file and no server. Each image takes about 10 kB. A bar shows how
    far the maps are. The page is written whole or not at all.

    Args:
        classifier: what predicted.
        predictions: of all test images, misclassified or not.
        path: the file; its folder is made if it is missing.
        right_count: how many correct answers to show beside all errors, spread over the classes.
        machine: ``Machine()`` if None.

    Raises:
        OSError: it cannot be written.
    """
    errors = misclassified(predictions)
    correct = correctly_classified(predictions, right_count, "spread")
    images = np.concatenate([errors.images, errors.images, correct.images])
    classes = np.concatenate([errors.predicted, errors.labels, correct.predicted])
    maps = [np.zeros((0, *images.shape[1:3]), np.float32)]
    with tqdm(total=len(images), desc="Grad-CAM", unit=" maps", file=sys.stdout) as bar:
        for start in range(0, len(images), CHUNK):
            some = slice(start, start + CHUNK)
            maps.append(grad_cam(classifier, images[some], classes[some]))
            bar.update(len(maps[-1]))
    predicted, true, of_correct = np.split(np.concatenate(maps), [len(errors), 2 * len(errors)])
    page = _page(
        predictions,
        _cards(errors, predicted, true) + _cards(correct, of_correct),
        title=classifier.description,
        note=_note(classifier, errors, predicted, machine),
        confidence=describe_scaling(predictions) if len(predictions) > 1 else "",
    )
    with atomic_write(path) as file:
        file.write(page.encode())


def _note(
    classifier: Classifier, errors: Predictions, maps: np.ndarray, machine: Machine | None
) -> str:
    """Say in a sentence how far the maps of the errors can be trusted."""
    if not len(errors):
        return ""
    both = {"map": maps, "random": baseline_maps(errors.images)["random"]}
    removals = removal(classifier, errors.images, errors.predicted, both, (0.3,), machine)
    return describe_removal(removals["map"], removals["random"])


def _page(predictions: Predictions, cards: list[dict[str, Any]], **texts: str) -> str:
    """Return the page of some cards, with a matrix of all predictions above them."""
    matrix = confusion_matrix(predictions)
    template = resources.files("pytorch_vision.analysis") / "report.html"
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        **texts,
        errors=sum(not card["correct"] for card in cards),
        correct=sum(card["correct"] for card in cards),
        names=predictions.class_names,
        count=len(predictions),
        cards=cards,
        matrix=matrix.tolist(),
        most=int((matrix - np.diag(matrix.diagonal())).max(initial=1)),
        heat=[matplotlib.colors.to_hex(colour) for colour in matplotlib.colormaps[HEAT](STOPS)],
    )


def _cards(
    shown: Predictions, predicted_maps: np.ndarray, true_maps: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Return what the page says of each image; correct answers have one map."""
    return [
        {
            "index": int(shown.indices[i]),
            "correct": true_maps is None,
            "true": int(shown.labels[i]),
            "predicted": int(shown.predicted[i]),
            "true_probability": float(shown.probabilities[i, shown.labels[i]]),
            "predicted_probability": float(shown.confidence[i]),
            "image": _png(image),
            "predicted_overlay": _png(overlay(image, predicted_maps[i])),
            "true_overlay": None if true_maps is None else _png(overlay(image, true_maps[i])),
        }
        for i, image in enumerate(shown.images)
    ]


def _png(image: np.ndarray) -> str:
    """Return an image, uint8 or in [0, 1], (H, W, 3), as a data URL."""
    if image.dtype != np.uint8:
        image = (255 * image).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
