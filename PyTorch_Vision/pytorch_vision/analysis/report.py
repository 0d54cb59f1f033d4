"""A page to look through errors and some correct answers: one HTML file, with filters and maps."""

import base64
import io
import os
from importlib import resources
from typing import Any

import matplotlib.colors
import numpy as np
from jinja2 import Environment
from PIL import Image

from pytorch_vision.analysis.calibration import describe_scaling
from pytorch_vision.analysis.galleries import heat_scale, overlay
from pytorch_vision.analysis.metrics import measure
from pytorch_vision.analysis.plots import LARGEST, MOST_CLASSES
from pytorch_vision.analysis.predictions import (
    Order,
    Predictions,
    confusion_matrix,
    correctly_classified,
    largest_confusions,
    misclassified,
)
from pytorch_vision.explain import Explainer, NoMapError
from pytorch_vision.explain.removal import baseline_maps, describe_removal, removal
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine, atomic_write
from pytorch_vision.runtime.terminal import Bar
from pytorch_vision.runtime.text import cut

CHUNK = 100  # images whose maps are made at once, between two updates of the bar
TESTED = 100  # errors whose maps are tested, which takes more than twice as long as drawing them
SMALL = 128  # pixels of the longer side up to which images are PNG; larger ones become JPEG
SIDE = 256  # pixels that the longer side of such a larger image is reduced to
LONG = 90  # letters of class names that fit side by side above the matrix
STOPS = 9  # colours of the colour bar's gradient


def write_report(
    classifier: Classifier,
    predictions: Predictions,
    path: str | os.PathLike,
    right_count: int = 100,
    machine: Machine | None = None,
    error_count: int = 2000,
) -> None:
    """Write a self-contained HTML page of the misclassified images, and of some correct answers.

    It needs no internet, no other file and no server. Each image takes about 10 kB, or up to 100 kB
    with more than 128 pixels a side. A bar shows the progress of the maps; if the network gives no
    maps, the page says why. The page is written atomically.

    Args:
        classifier: the one that predicted.
        predictions: of all images of a split, misclassified or not. A page of training images
            begins with the most confident errors.
        path: the file; its folder is created if missing.
        right_count: the number of correct answers beside the errors, spread over the classes.
        machine: ``Machine()`` if None.
        error_count: the greatest number of errors, by default what a browser can still show: a fair
            sample of test images, or the most confident ones of training images.

    Raises:
        ValueError: there are no predictions.
        OSError: it cannot be written.
    """
    order: Order = "confident" if predictions.split == "train" else "auto"
    errors = misclassified(predictions, error_count, order)
    errors = errors.select(np.argsort(errors.indices))
    correct = correctly_classified(predictions, right_count, "spread")
    try:
        explainer, without_maps = Explainer(classifier), ""
        explainer.maps(predictions.images[:1], predictions.predicted[:1])  # needs a gradient, too
    except NoMapError as error:
        explainer, without_maps = None, str(error)
    cards = []
    total = 2 * len(errors) + len(correct)
    with Bar(total=total, desc="Grad-CAM", unit=" maps") as bar:
        for shown in (errors, correct):
            for start in range(0, len(shown), CHUNK):
                some = shown.select(np.arange(start, min(start + CHUNK, len(shown))))
                classes = np.stack([some.predicted, some.labels][: 2 if shown is errors else 1])
                cards += _cards(some, explainer.maps(some.images, classes) if explainer else None)
                bar.update(classes.size)
    page = _page(
        predictions,
        cards,
        title=classifier.description,
        without_maps=without_maps,
        note=_note(explainer, errors, machine) if explainer and len(errors) else "",
        confidence=describe_scaling(predictions) if len(predictions) > 1 else "",
    )
    with atomic_write(path) as file:
        file.write(page.encode(errors="backslashreplace"))


def _note(explainer: Explainer, errors: Predictions, machine: Machine | None) -> str:
    """Say how coarse the errors' maps are, and how far they can be trusted."""
    some, (height, width) = misclassified(errors, TESTED), errors.images.shape[1:3]
    maps = explainer.maps(some.images, some.predicted)
    both = {"map": maps, "random": baseline_maps(some.images)["random"]}
    removals = removal(explainer.classifier, some.images, some.predicted, both, (0.3,), machine)
    apart = max(explainer.geometry.stride)
    fine = f"The cells of a map lie {apart:g} pixels apart, on images of {height}x{width}. "
    return fine + describe_removal(removals["map"], removals["random"])


def _page(predictions: Predictions, cards: list[dict[str, Any]], **texts: str) -> str:
    """Return the page: metrics and confusions of all predictions, then the cards."""
    names, metrics = predictions.class_names, measure(predictions)
    many = len(names) > MOST_CLASSES
    confusions = largest_confusions(predictions)
    shares = {(one.true, one.predicted): one.share for one in confusions}
    template = resources.files("pytorch_vision.analysis") / "report.html"
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        **texts,
        kind=predictions.kind,
        training=predictions.split == "train",
        errors=sum(not card["correct"] for card in cards),
        all_errors=int(np.count_nonzero(~predictions.right)),
        correct=sum(card["correct"] for card in cards),
        names=names,
        short=cut,
        count=len(predictions),
        cards=cards,
        matrix=[] if many else confusion_matrix(predictions).tolist(),
        shares=shares,
        most=max(shares.values(), default=1),
        upright=sum(map(len, names)) > LONG,
        largest=confusions[:LARGEST] if many else [],
        confusions=len(confusions),
        metrics=metrics,
        rows=metrics.worst[:LARGEST] if many else np.flatnonzero(metrics.counts),
        true_classes=sorted({card["true"] for card in cards}),
        predicted_classes=sorted({card["predicted"] for card in cards}),
        small=max(predictions.images.shape[1:3]) <= SMALL,
        heat=[matplotlib.colors.to_hex(colour) for colour in heat_scale(STOPS)],
    )


def _cards(shown: Predictions, maps: np.ndarray | None) -> list[dict[str, Any]]:
    """Return the values that the page shows for each image.

    The maps are float32 (2, N, H, W), for the predicted and the true classes, or (1, N, H, W) for
    correct answers; None for a network without maps.
    """
    names, right = shown.names, shown.right
    return [
        {
            "name": names[i],
            "index": int(shown.indices[i]),
            "correct": bool(right[i]),
            "true": int(shown.labels[i]),
            "predicted": int(shown.predicted[i]),
            "true_probability": float(shown.probabilities[i, shown.labels[i]]),
            "predicted_probability": float(shown.confidence[i]),
            "image": _picture(image),
            "overlays": [] if maps is None else [_picture(overlay(image, m[i])) for m in maps],
        }
        for i, image in enumerate(shown.images)
    ]


def _picture(image: np.ndarray) -> str:
    """Return an image (H, W, 3), uint8 or in [0, 1], as a data URL."""
    if image.dtype != np.uint8:
        image = (255 * image).round().astype(np.uint8)
    picture, buffer = Image.fromarray(image), io.BytesIO()
    if max(picture.size) <= SMALL:
        form = "png"
        picture.save(buffer, form, optimize=True)
    else:
        form = "jpeg"
        picture.thumbnail((SIDE, SIDE))
        picture.save(buffer, form, quality=88)
    return f"data:image/{form};base64," + base64.b64encode(buffer.getvalue()).decode()
