"""Every picture. Each function returns a Figure and saves nothing by itself."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay

from pytorch_vision import predict
from pytorch_vision.data import ImageData
from pytorch_vision.loaders import TrainLoader
from pytorch_vision.predict import Predictions
from pytorch_vision.train import History
from pytorch_vision.transforms import Augmentation, denormalize

PANEL = 1.9  # inches, the width of one small image
BAR = 0.9  # inches, the width of a colour bar with its label
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
    rows = _rows_of_five(predictions)
    figure, panels = _panels(rows, 5, PANEL, PANEL + 0.4, title)
    predicted = _captions("predicted", predictions, predictions.predicted)
    true = _captions("true", predictions, predictions.labels)
    for i, (image, panel) in enumerate(zip(predictions.images, panels.flat, strict=False)):
        _show(panel, image, f"{true[i]}\n{predicted[i]}")
    _say_if_none(figure, predictions)
    return figure


def gradcam_gallery(
    predictions: Predictions,
    predicted_maps: np.ndarray,
    true_maps: np.ndarray,
    title: str = "",
) -> Figure:
    """Draw images, five a row, each above what spoke for its predicted and for its true class.

    Args:
        predictions: those to draw; with none, the picture says so.
        predicted_maps, true_maps: float32 (N, H, W) in [0, 1], as ``grad_cam`` returns them for
            the predicted and for the true classes.
        title: how the images were chosen.
    """
    rows = _rows_of_five(predictions)
    figure, panels = _panels(3 * rows, 5, PANEL, PANEL + 0.22, title, BAR)
    columns = panels.reshape(rows, 3, 5).transpose(0, 2, 1).reshape(-1, 3)
    predicted = _captions("predicted", predictions, predictions.predicted)
    true = _captions("true", predictions, predictions.labels)
    for i, (image, stacked) in enumerate(zip(predictions.images, columns, strict=False)):
        gap = "\n" if i >= 5 else ""  # sets the bands apart
        _show(stacked[0], image, f"{gap}test image {predictions.indices[i]}")
        stacked[0].title.set_fontweight("bold")
        _show(stacked[1], overlay(image, predicted_maps[i]), predicted[i])
        _show(stacked[2], overlay(image, true_maps[i]), true[i])
    _say_if_none(figure, predictions)
    if len(predictions):
        _heat_bar(figure, panels)
    return figure


def explanation(
    image: np.ndarray, maps: np.ndarray, captions: list[str], title: str = ""
) -> Figure:
    """Draw one image, and beside it what spoke for each of some classes.

    Args:
        image: uint8 (H, W, 3).
        maps: float32 (N, H, W) in [0, 1], as ``grad_cam`` returns them.
        captions: N texts, one for each map.
        title: what the image is.
    """
    figure, panels = _panels(1, len(maps) + 1, PANEL, PANEL + 0.22, title, BAR)
    _show(panels[0, 0], image, "as the network sees it")
    for heat, caption, panel in zip(maps, captions, panels[0, 1:], strict=True):
        _show(panel, overlay(image, heat), caption)
    _heat_bar(figure, panels)
    return figure


def overlay(image: np.ndarray, heat: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Blend a map in [0, 1] (H, W), in colour, over a uint8 image (H, W, 3).

    Returns:
        float64 (H, W, 3) in [0, 1]: (1 - alpha) of the image plus alpha of the colour.
    """
    colour = ScalarMappable(Normalize(0, 1), HEAT).to_rgba(heat)[..., :3]
    return (1 - alpha) * image / 255 + alpha * colour


def confusion_matrix(predictions: Predictions, title: str = "") -> Figure:
    """Draw how often each true class (row) was taken for each class (column)."""
    figure = Figure(figsize=(7.6, 6.8), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots()
    display = ConfusionMatrixDisplay(
        predict.confusion_matrix(predictions), display_labels=predictions.class_names
    )
    # few errors beside many successes: on an even scale all errors would look like none
    display.plot(
        ax=axes,
        cmap="Blues",
        colorbar=False,
        xticks_rotation=45,
        values_format="d",
        im_kw={"norm": PowerNorm(0.4)},
        text_kw={"fontsize": 9},
    )
    axes.set(xlabel="Predicted class", ylabel="True class")
    return figure


def class_accuracy(predictions: Predictions, title: str = "") -> Figure:
    """Draw the share of each true class that was classified rightly, the best class on top."""
    accuracy = predict.class_accuracy(predictions)
    order = [label for label in np.argsort(accuracy) if np.isfinite(accuracy[label])]
    overall = 100 * np.mean(predictions.predicted == predictions.labels)
    figure = Figure(figsize=(8, 1 + 0.33 * len(order)), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots()
    axes.axvline(overall, color="C1", linestyle="--", label=f"all classes: {overall:.2f} %")
    axes.plot(accuracy[order], [predictions.class_names[label] for label in order], "o")
    for place, label in enumerate(order):
        axes.annotate(
            f"{accuracy[label]:.1f}",
            (accuracy[label], place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xlabel("Test images of the class that were classified rightly (%)")
    axes.margins(x=0.1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def reliability(predictions: Predictions, title: str = "") -> Figure:
    """Draw how often the network is right against how sure it is, and how often it is so sure."""
    measured = predict.calibration(predictions)
    figure = Figure(figsize=(6.4, 6.4), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    CalibrationDisplay(measured.accuracy, measured.confidence, predictions.confidence).plot(
        ax=above, name=f"expected calibration error {100 * measured.error:.2f} %"
    )
    above.set(xlabel="", ylabel="Share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
    below.hist(predictions.confidence, bins=np.linspace(0, 1, predict.BINS + 1), color="C0")
    below.set(xlabel="Probability given to the predicted class", ylabel="Test images", yscale="log")
    below.set_ylim(bottom=0.7)
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    below.yaxis.set_minor_formatter(NullFormatter())
    for axes in (above, below):
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
    above.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def _rows_of_five(predictions: Predictions) -> int:
    return max(1, -(-len(predictions) // 5))


def _captions(kind: str, predictions: Predictions, labels: np.ndarray) -> list[str]:
    """Return, for each image, the name and the probability of one class."""
    return [
        f"{kind}: {predictions.class_names[label]} ({row[label]:.0%})"
        for label, row in zip(labels, predictions.probabilities, strict=True)
    ]


def _show(panel: Axes, image: np.ndarray, caption: str) -> None:
    panel.imshow(image, interpolation="nearest")
    panel.set_title(caption, fontsize=9)


def _say_if_none(figure: Figure, predictions: Predictions) -> None:
    if not len(predictions):
        figure.text(0.5, 0.5, "none: there is no such image", ha="center")


def _heat_bar(figure: Figure, panels: np.ndarray) -> None:
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), HEAT),
        ax=panels,
        shrink=0.9 if len(panels) == 1 else 0.5,
        pad=0.02,
        aspect=12 * len(panels),
    )
    bar.set_label("Grad-CAM, share of\neach map's own maximum")


def _panels(
    rows: int, columns: int, width: float, height: float, title: str, beside: float = 0
) -> tuple[Figure, np.ndarray]:
    """Return a figure of empty panels, width by height inches each, without any axes.

    ``beside`` inches are left on the right for something else.
    """
    size = (columns * width + beside, rows * height + 0.35)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    return figure, panels
