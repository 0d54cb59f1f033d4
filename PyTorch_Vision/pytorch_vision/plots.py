"""Every picture. Each function returns a Figure and saves nothing by itself."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pytorch_vision.data import ImageData
from pytorch_vision.loaders import TrainLoader
from pytorch_vision.predict import Predictions
from pytorch_vision.train import History
from pytorch_vision.transforms import Augmentation, denormalize

PANEL = 1.9  # inches, the width of one small image
DPI = 110  # five panels across are then about as wide as a page of GitHub
HEAT = "inferno"  # perceptually even: equal steps of heat look equally large


def loss_and_accuracy(history: History, title: str = "") -> Figure:
    """Draw loss and accuracy, of training and of test, against the epoch.

    Args:
        history: what ``fit`` returned; without any epoch, the axes stay empty and say so.
        title: what was trained on what.
    """
    figure = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11)
    quantities = {"loss": ("Loss (cross-entropy)", ".3f"), "accuracy": ("Accuracy (%)", ".2f")}
    for axes, (name, (label, form)) in zip(figure.subplots(1, 2), quantities.items(), strict=True):
        axes.set(xlabel="Epoch", ylabel=label)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if not history.records:
            axes.text(0.5, 0.5, "no epoch was trained", ha="center", transform=axes.transAxes)
            continue
        epochs = history.column("epoch")
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        for part, style in {"train": "C0o-", "test": "C1s-"}.items():
            values = history.column(f"{part}_{name}")
            last = f"{part}: {values[-1]:{form}} after epoch {epochs[-1]}"
            axes.plot(epochs, values, style, markersize=4, label=last)
        axes.legend()
    return figure


def training_views(
    data: ImageData, augmentation: Augmentation, seed: int, count: int = 4, epochs: int = 7
) -> Figure:
    """Draw the first training images as they are, and as each of some epochs would show them.

    Args:
        data, augmentation, seed: what training is given.
        count: how many images, one a row.
        epochs: how many views of each, one an epoch.
    """
    loader = TrainLoader(data, augmentation, count, seed)
    columns = [data.train_images[:count] / 255]
    for epoch in range(epochs):
        tensors = denormalize(loader.augment(np.arange(count), epoch, 0), *data.mean_and_std)
        columns.append(tensors.permute(0, 2, 3, 1).numpy())
    figure, panels = _panels(
        count, epochs + 1, 1.2, 1.25, f"Training images of {data.name}, as the network sees them"
    )
    titles = ["as it is", *(f"epoch {epoch + 1}" for epoch in range(epochs))]
    for images, title, axes in zip(columns, titles, panels.T, strict=True):
        axes[0].set_title(title, fontsize=9)
        for image, panel in zip(images, axes, strict=True):
            panel.imshow(image, interpolation="nearest")
    return figure


def gallery(predictions: Predictions, title: str = "") -> Figure:
    """Draw images, five a row, each under its true and its predicted class.

    Args:
        predictions: those to draw; with none, the picture says so.
        title: how they were chosen.
    """
    figure, panels = _gallery_panels(predictions, title)
    for image, panel in zip(predictions.images, panels.flat, strict=False):
        panel.imshow(image, interpolation="nearest")
    return figure


def gradcam_gallery(predictions: Predictions, maps: np.ndarray, title: str = "") -> Figure:
    """Draw the gallery with each image's Grad-CAM map blended over it, and a colour bar.

    Args:
        predictions: those to draw; with none, the picture says so.
        maps: float32 (N, H, W) in [0, 1], as ``grad_cam`` returns them.
        title: which class the maps speak of.
    """
    figure, panels = _gallery_panels(predictions, title)
    colours = ScalarMappable(Normalize(0, 1), HEAT)
    for image, heat, panel in zip(predictions.images, maps, panels.flat, strict=False):
        panel.imshow(overlay(image, heat), interpolation="nearest")
    if len(predictions):
        bar = figure.colorbar(colours, ax=panels, shrink=0.6, pad=0.02)
        bar.set_label("Grad-CAM, share of each map's maximum")
    return figure


def overlay(image: np.ndarray, heat: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Blend a map in [0, 1] (H, W), in colour, over a uint8 image (H, W, 3).

    Returns:
        float64 (H, W, 3) in [0, 1]: (1 - alpha) of the image plus alpha of the colour.
    """
    colour = ScalarMappable(Normalize(0, 1), HEAT).to_rgba(heat)[..., :3]
    return (1 - alpha) * image / 255 + alpha * colour


def _gallery_panels(predictions: Predictions, title: str) -> tuple[Figure, np.ndarray]:
    """Lay out titled panels for the predictions, five a row."""
    rows = max(1, -(-len(predictions) // 5))
    figure, panels = _panels(rows, 5, PANEL, PANEL + 0.4, title)
    names = predictions.class_names
    for panel, label, predicted, confidence in zip(
        panels.flat,
        predictions.labels,
        predictions.predicted,
        predictions.confidence,
        strict=False,
    ):
        panel.set_title(
            f"true: {names[label]}\npredicted: {names[predicted]} ({confidence:.0%})", fontsize=9
        )
    if not len(predictions):
        figure.text(0.5, 0.5, "none: there is no such image", ha="center")
    return figure, panels


def _panels(
    rows: int, columns: int, width: float, height: float, title: str
) -> tuple[Figure, np.ndarray]:
    """Return a figure of empty panels, width by height inches each, without any axes."""
    figure = Figure(figsize=(columns * width, rows * height + 0.35), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    return figure, panels
