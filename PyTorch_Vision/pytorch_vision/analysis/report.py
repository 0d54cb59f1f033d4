"""The page of all errors, and of some right answers: one HTML file, with a filter and maps."""

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
from torch import nn
from tqdm import tqdm

from pytorch_vision.analysis.calibration import describe_scaling
from pytorch_vision.analysis.faithfulness import blind_maps, describe_removal, removal
from pytorch_vision.analysis.galleries import HEAT, overlay
from pytorch_vision.analysis.gradcam import grad_cam
from pytorch_vision.analysis.predict import (
    Predictions,
    confusion_matrix,
    correctly_classified,
    misclassified,
)
from pytorch_vision.data.images import MeanAndStd
from pytorch_vision.training import TrainConfig, written_whole

CHUNK = 100  # images whose maps are made at once, between two moves of the bar
STOPS = np.linspace(0, 1, 9)  # of the colour bar's gradient


def error_page(
    predictions: Predictions,
    predicted_maps: np.ndarray,
    true_maps: np.ndarray,
    title: str,
    note: str = "",
    confidence: str = "",
    right: Predictions | None = None,
    right_maps: np.ndarray | None = None,
) -> str:
    """Return a self-contained HTML page of every misclassified image.

    It needs no network, no other file and no server. Each image takes about 10 kB.

    Args:
        predictions: of all test images, right and wrong.
        predicted_maps, true_maps: float32 (M, H, W) in [0, 1], as ``grad_cam`` returns them for
            the predicted and for the true classes of the M images of ``misclassified``.
        title: what was trained on what.
        note: how far the maps can be trusted, in a sentence; it stands below the title.
        confidence: how far the probabilities can be, likewise.
        right: some images that were classified rightly, which a filter shows.
        right_maps: float32 (R, H, W), of their predicted classes.

    Raises:
        ValueError: the maps are not as many as the images.
    """
    errors = misclassified(predictions)
    right = predictions.select(np.zeros(len(predictions), bool)) if right is None else right
    right_maps = right_maps if right_maps is not None else np.zeros((0, 1, 1), np.float32)
    if len(right) != len(right_maps):
        raise ValueError(f"there are {len(right)} right images, but {len(right_maps)} maps")
    if not len(errors) == len(predicted_maps) == len(true_maps):
        raise ValueError(
            f"there are {len(errors)} misclassified images, but {len(predicted_maps)} and "
            f"{len(true_maps)} maps"
        )
    cards = _cards(errors, predicted_maps, true_maps) + _cards(right, right_maps)
    matrix = confusion_matrix(predictions)
    template = resources.files("pytorch_vision.analysis") / "report.html"
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        title=title,
        note=note,
        confidence=confidence,
        errors=len(errors),
        right=len(right),
        names=predictions.class_names,
        count=len(predictions),
        cards=cards,
        matrix=matrix.tolist(),
        most=int((matrix - np.diag(matrix.diagonal())).max(initial=1)),
        heat=[matplotlib.colors.to_hex(colour) for colour in matplotlib.colormaps[HEAT](STOPS)],
    )


def make_report(
    model: nn.Module,
    predictions: Predictions,
    mean_and_std: MeanAndStd,
    title: str,
    right_count: int = 100,
    config: TrainConfig | None = None,
) -> str:
    """Return the page of predictions that are at hand, with all that it needs besides.

    A bar shows how far the maps are.

    Args:
        model: what predicted.
        predictions: of all test images, right and wrong.
        mean_and_std: by which its images are normalised.
        title: what was trained on what.
        right_count: how many right answers to show beside all errors, spread over the classes.
        config: names the device, if it is to be another than the usual one.
    """
    errors = misclassified(predictions)
    right = correctly_classified(predictions, right_count, "spread")
    images = np.concatenate([errors.images, errors.images, right.images])
    classes = np.concatenate([errors.predicted, errors.labels, right.predicted])
    maps = [np.zeros((0, *images.shape[1:3]), np.float32)]
    with tqdm(total=len(images), desc="Grad-CAM", unit=" maps", file=sys.stdout) as bar:
        for start in range(0, len(images), CHUNK):
            some = slice(start, start + CHUNK)
            maps.append(grad_cam(model, images[some], classes[some], mean_and_std))
            bar.update(len(maps[-1]))
    predicted, true, of_right = np.split(np.concatenate(maps), [len(errors), 2 * len(errors)])
    note = ""
    if len(errors):
        both = {"map": predicted, "random": blind_maps(errors.images)["random"]}
        found = removal(
            model, errors.images, errors.predicted, both, mean_and_std, (0.3,), config=config
        )
        note = describe_removal(found["map"], found["random"])
    confidence = describe_scaling(predictions) if len(predictions) > 1 else ""
    return error_page(predictions, predicted, true, title, note, confidence, right, of_right)


def write_page(path: str | os.PathLike, page: str) -> None:
    """Write a page, whole or not at all, making its folder if it is missing."""
    with written_whole(path) as file:
        file.write(page.encode())


def _cards(
    shown: Predictions, predicted_maps: np.ndarray, true_maps: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Return what the page says of each image; right answers have one map."""
    return [
        {
            "index": int(shown.indices[i]),
            "right": true_maps is None,
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
