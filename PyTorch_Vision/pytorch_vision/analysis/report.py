"""The page of all errors: one HTML file, with a filter, an order and the maps of each image."""

import base64
import io
import os
from importlib import resources

import matplotlib
import numpy as np
from jinja2 import Environment
from PIL import Image

from pytorch_vision.analysis.galleries import HEAT, overlay
from pytorch_vision.analysis.predict import Predictions, confusion_matrix, misclassified
from pytorch_vision.training import written_whole

STOPS = np.linspace(0, 1, 9)  # of the colour bar's gradient


def error_page(
    predictions: Predictions,
    predicted_maps: np.ndarray,
    true_maps: np.ndarray,
    title: str,
    note: str = "",
) -> str:
    """Return a self-contained HTML page of every misclassified image.

    It needs no network, no other file and no server. Each image takes about 10 kB.

    Args:
        predictions: of all test images, right and wrong.
        predicted_maps, true_maps: float32 (M, H, W) in [0, 1], as ``grad_cam`` returns them for
            the predicted and for the true classes of the M images of ``misclassified``.
        title: what was trained on what.
        note: how far the maps can be trusted, in a sentence; it stands below the title.

    Raises:
        ValueError: the maps are not as many as the misclassified images.
    """
    errors = misclassified(predictions)
    if not len(errors) == len(predicted_maps) == len(true_maps):
        raise ValueError(
            f"there are {len(errors)} misclassified images, but {len(predicted_maps)} and "
            f"{len(true_maps)} maps"
        )
    cards = [
        {
            "index": int(errors.indices[i]),
            "true": int(errors.labels[i]),
            "predicted": int(errors.predicted[i]),
            "true_probability": float(errors.probabilities[i, errors.labels[i]]),
            "predicted_probability": float(errors.confidence[i]),
            "image": _png(image),
            "predicted_overlay": _png(overlay(image, predicted_maps[i])),
            "true_overlay": _png(overlay(image, true_maps[i])),
        }
        for i, image in enumerate(errors.images)
    ]
    matrix = confusion_matrix(predictions)
    template = resources.files("pytorch_vision.analysis") / "report.html"
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        title=title,
        note=note,
        names=predictions.class_names,
        count=len(predictions),
        cards=cards,
        matrix=matrix.tolist(),
        most=int((matrix - np.diag(matrix.diagonal())).max(initial=1)),
        heat=[matplotlib.colors.to_hex(colour) for colour in matplotlib.colormaps[HEAT](STOPS)],
    )


def write_page(path: str | os.PathLike, page: str) -> None:
    """Write a page, whole or not at all, making its folder if it is missing."""
    with written_whole(path) as file:
        file.write(page.encode())


def _png(image: np.ndarray) -> str:
    """Return an image, uint8 or in [0, 1], (H, W, 3), as a data URL."""
    if image.dtype != np.uint8:
        image = (255 * image).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
