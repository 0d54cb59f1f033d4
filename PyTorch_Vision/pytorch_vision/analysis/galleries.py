"""Pictures of images and of maps over them. Each function returns a Figure and saves nothing."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pytorch_vision.analysis.drawing import LINE, SMALL, finished, fit_text, new_figure
from pytorch_vision.analysis.predictions import Predictions
from pytorch_vision.data import ImageData, Normalization, TrainLoader, denormalize
from pytorch_vision.data.images import balanced_indices
from pytorch_vision.models.inference import scaled_down
from pytorch_vision.runtime.text import percent
from pytorch_vision.training import TrainConfig

PANEL = 1.9  # inches, the width of one small image
MARGIN = 0.12  # inches, between one caption and the next
BOLD = 1.15  # times as wide as the letters of a text that is not bold
BAR = 1.0  # inches, the width of a colour bar with its label
HEAT = "inferno"  # perceptually even: equal steps of heat look equally large


def training_views(data: ImageData, config: TrainConfig, count: int = 4) -> Figure:
    """Draw some training images as they are, and as seven epochs of a training vary them.

    The images are the first ones of the first classes. The epochs are spread over all there are; if
    these are fewer than seven, more are added.

    Args:
        data, config: what training is given.
        count: how many images, one a row.
    """
    normalization = Normalization.of(data.train_images)
    every = balanced_indices(data.train_labels, min(count, len(data.train_labels)))
    count = len(every)
    loader = TrainLoader(data, normalization, config.augmentation, count, config.seed)
    columns, titles = [data.train_images[every] / 255], ["as it is"]
    for epoch in np.linspace(0, max(config.epochs, 7) - 1, 7).round().astype(int).tolist():
        loader.vary(config.augmentation_in(epoch))
        views = loader.augment(every, loader.draws(every, epoch, 0))
        scale = config.scale_in(epoch)
        views = scaled_down(denormalize(views, normalization), scale)
        columns.append(views.permute(0, 2, 3, 1).numpy())
        height, width = views.shape[2:]
        titles.append(f"epoch {epoch + 1}" + (f", {height}x{width}" if scale < 1 else ""))
    title = f"Training images of {data.name}, as the network sees them"
    figure, panels = _panels(count, len(columns), 1.2, _aspect(data.train_images), 1, title)
    for images, caption, axes in zip(columns, titles, panels.T, strict=True):
        axes[0].set_title(caption, fontsize=SMALL)
        for image, panel in zip(images, axes, strict=True):
            panel.imshow(image, interpolation="nearest")
    return finished(figure)


def gallery(predictions: Predictions, title: str = "") -> Figure:
    """Draw images, five a row, each under its true and its predicted class.

    Args:
        predictions: those to draw; with none, the picture says so.
        title: how they were chosen.
    """
    rows = _rows_of_five(predictions)
    predicted = _captions("predicted", predictions, predictions.predicted)
    true = _captions("true", predictions, predictions.labels)
    captions = [f"{one}\n{other}" for one, other in zip(true, predicted, strict=True)]
    lines = rows * _most_lines(captions)
    figure, panels = _panels(rows, 5, PANEL, _aspect(predictions.images), lines, title)
    for image, caption, panel in zip(predictions.images, captions, panels.flat, strict=False):
        _show(panel, image, caption)
    _say_if_none(figure, predictions)
    return finished(figure)


def gradcam_gallery(
    predictions: Predictions,
    predicted_maps: np.ndarray,
    true_maps: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draw images, five a row, each above the maps of its predicted and of its true class.

    Correct answers have one class, and one map.

    Args:
        predictions: those to draw; with none, the picture says so.
        predicted_maps, true_maps: float32 (N, H, W) in [0, 1], as ``grad_cam`` returns them for
            the predicted and for the true classes; without the latter there is one map each.
        title: how the images were chosen.
    """
    rows, high = _rows_of_five(predictions), 2 if true_maps is None else 3
    names = [fit_text(name, PANEL - MARGIN, BOLD * SMALL, lines=2) for name in predictions.names]
    predicted = _captions("predicted", predictions, predictions.predicted)
    true = _captions("true", predictions, predictions.labels)
    shown = [names, predicted] if true_maps is None else [names, predicted, true]
    lines = rows * (1 + sum(map(_most_lines, shown)))
    figure, panels = _panels(
        high * rows, 5, PANEL, _aspect(predictions.images), lines, title, beside=BAR
    )
    columns = panels.reshape(rows, high, 5).transpose(0, 2, 1).reshape(-1, high)
    for i, (image, stacked) in enumerate(zip(predictions.images, columns, strict=False)):
        gap = "\n" if i >= 5 else ""  # sets the bands apart
        _show(stacked[0], image, f"{gap}{names[i]}")
        stacked[0].title.set_fontweight("bold")
        _show(stacked[1], overlay(image, predicted_maps[i]), predicted[i])
        if true_maps is not None:
            _show(stacked[2], overlay(image, true_maps[i]), true[i])
    _say_if_none(figure, predictions)
    if len(predictions):
        _heat_bar(figure, panels)
    return finished(figure)


def explanation(
    image: np.ndarray, maps: np.ndarray, captions: list[str], title: str = ""
) -> Figure:
    """Draw one image, and beside it the maps of some classes.

    Args:
        image: uint8 (H, W, 3).
        maps: float32 (N, H, W) in [0, 1], as ``grad_cam`` returns them.
        captions: N texts, one for each map.
        title: what the image is.
    """
    texts = [fit_text(caption, PANEL - MARGIN, lines=3) for caption in captions]
    figure, panels = _panels(
        1, len(maps) + 1, PANEL, _aspect(image[None]), _most_lines(texts), title, beside=BAR
    )
    _show(panels[0, 0], image, "as the network sees it")
    for heat, text, panel in zip(maps, texts, panels[0, 1:], strict=True):
        _show(panel, overlay(image, heat), text)
    _heat_bar(figure, panels)
    return finished(figure)


def overlay(image: np.ndarray, heat: np.ndarray, alpha: float = 0.7) -> np.ndarray:
    """Blend a map in [0, 1] (H, W), in colour, over a uint8 image (H, W, 3).

    The colour covers the more, the hotter it is, so that elsewhere the image stays what it is.

    Returns:
        float64 (H, W, 3) in [0, 1]: c of the colour and (1 - c) of the image, where c is ``alpha``
        times the heat.
    """
    colour = ScalarMappable(Normalize(0, 1), HEAT).to_rgba(heat)[..., :3]
    cover = alpha * np.clip(heat, 0, 1)[..., None]
    return np.clip((1 - cover) * image / 255 + cover * colour, 0, 1)  # rounding can exceed 1


def _rows_of_five(predictions: Predictions) -> int:
    return max(1, -(-len(predictions) // 5))


def _captions(kind: str, predictions: Predictions, labels: np.ndarray) -> list[str]:
    """Return, for each image, the name and the probability of one class."""
    names = predictions.class_names
    return [
        fit_text(
            names[label], PANEL - MARGIN, lines=2, form=f"{kind}: {{}} ({percent(row[label])})"
        )
        for label, row in zip(labels, predictions.probabilities, strict=True)
    ]


def _show(panel: Axes, image: np.ndarray, caption: str) -> None:
    panel.imshow(image, interpolation="nearest")
    panel.set_title(caption, fontsize=SMALL)
    height, width = image.shape[:2]
    aspect = _aspect(image[None])
    if height > aspect * width:  # the panel stays as wide as its caption
        panel.set_xlim((width - height / aspect) / 2 - 0.5, (width + height / aspect) / 2 - 0.5)


def _most_lines(captions: list[str]) -> int:
    return max((caption.count("\n") + 1 for caption in captions), default=1)


def _aspect(images: np.ndarray) -> float:
    """Return the height of a panel for these images, as a share of its width."""
    return min(max(images.shape[1] / images.shape[2], 0.3), 1.5)


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
    rows: int,
    columns: int,
    width: float,
    aspect: float,
    lines: int,
    title: str,
    beside: float = 0,
) -> tuple[Figure, np.ndarray]:
    """Return a figure of empty panels, without any axes.

    Args:
        rows, columns: of panels.
        width: of each, in inches.
        aspect: its height, as a share of its width.
        lines: of all captions, one below the other.
        title: of the figure.
        beside: inches that are left on the right for something else.
    """
    height = rows * (width * aspect + 0.05) + LINE * lines + 0.35
    figure = new_figure(columns * width + beside, height, title)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    return figure, panels
