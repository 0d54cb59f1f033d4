"""Figures of images, and of maps over them. Each function returns a Figure and saves nothing."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from pytorch_vision.analysis.drawing import LINE, SMALL, finished, fit_text, new_figure
from pytorch_vision.analysis.predictions import Predictions
from pytorch_vision.data import ImageData, Normalization, TrainLoader, denormalize
from pytorch_vision.data.duplicates import Duplicates
from pytorch_vision.data.splits import balanced_indices
from pytorch_vision.explain import Explanation
from pytorch_vision.models.inference import scaled_down
from pytorch_vision.runtime.text import percent
from pytorch_vision.training import TrainConfig

PANEL = 1.9  # inches, the width of one small image
MARGIN = 0.12  # inches, between one caption and the next
BOLD = 1.15  # width of bold letters, as a multiple of the usual ones
BAR = 1.0  # inches, the width of a colour bar with its label
NAME = 1.6  # inches, the longest class name beside its images
MOST_CLASSES = 30  # in one figure
HEAT = "inferno"  # perceptually even: equal steps of heat look equally large
ALPHA = 0.7  # how much the hottest colour covers the image
GREY = 128  # of the picture under the colour bar


def class_examples(data: ImageData, count: int = 6) -> Figure:
    """Draw some training images of each class, and write how many images the class has.

    They are spread evenly over the class's images, in the order of the data. Of more than 30
    classes, the first 30 are drawn.

    Args:
        data: of which the images are.
        count: how many images of each class, one class a row.
    """
    names = data.class_names[:MOST_CLASSES]
    parts = (data.train_labels, data.test_labels)
    trained, tested = (np.bincount(labels, minlength=len(data.class_names)) for labels in parts)
    shown = "" if len(names) == len(data.class_names) else f"first {len(names)} classes of "
    title = f"{shown}{data.name} (training + test images)"
    aspect = _aspect(data.train_images)
    figure, panels = _panels(len(names), count, 0.8, aspect, 0, title, beside=NAME)
    for label, (name, row) in enumerate(zip(names, panels, strict=True)):
        form = f"{{}} ({trained[label]:,} + {tested[label]:,})"
        text = fit_text(name, NAME, lines=2, form=form)
        place = {"ha": "right", "va": "center", "transform": row[0].transAxes}
        row[0].text(-0.08, 0.5, text, fontsize=SMALL, **place)
        images = np.flatnonzero(data.train_labels == label)
        chosen = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
        for index, panel in zip(images[chosen], row, strict=False):
            panel.imshow(data.train_images[index], interpolation="nearest")
    return finished(figure)


def duplicate_pairs(duplicates: Duplicates, count: int = 5) -> Figure:
    """Draw pairs of images that are the same or nearly the same, one below the other.

    Args:
        duplicates: what ``find_duplicates`` returned.
        count: at most so many pairs: those of two different classes first, then the most similar.
    """
    data = duplicates.data
    pairs = sorted(duplicates.described_pairs, key=duplicates.is_of_one_class)[:count]
    texts = [
        [
            fit_text(duplicates.name(index), PANEL - MARGIN, lines=2)
            + "\n"
            + fit_text(duplicates.class_name(index), PANEL - MARGIN)
            for index in pair[:2]
        ]
        for pair in pairs
    ]
    title = f"Duplicates in {data.name}: {len(pairs)} of {len(duplicates.pairs):,} pairs"
    columns = max(len(pairs), 3)
    lines = sum(_most_lines(list(row)) for row in zip(*texts, strict=True)) + 1
    figure, panels = _panels(2, columns, PANEL, _aspect(data.train_images), lines, title)
    for pair, captions, column in zip(pairs, texts, panels.T, strict=False):
        alike = "the same" if pair[2] == 1 else f"correlation {min(pair[2], 0.999):.3f}"
        for index, caption, panel in zip(pair[:2], captions, column, strict=True):
            trained = len(data.train_images)
            test = index >= trained
            image = data.test_images[index - trained] if test else data.train_images[index]
            _show(panel, image, caption)
        column[1].set_title(f"{alike}\n{captions[1]}", fontsize=SMALL)
    _say_if_none(figure, len(pairs))
    return finished(figure)


def training_views(data: ImageData, config: TrainConfig, count: int = 4) -> Figure:
    """Draw some training images as they are, and as seven epochs of a training vary them.

    The images are the first ones of the first classes. The seven epochs are spread evenly over the
    training; a shorter training is drawn as if it had seven.

    Args:
        data, config: as for ``fit``.
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
    """Draw images, five a row, each below its true and its predicted class.

    Args:
        predictions: those to draw; without any, the figure says so.
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
    _say_if_none(figure, len(predictions))
    return finished(figure)


def gradcam_gallery(
    predictions: Predictions,
    predicted_maps: np.ndarray,
    true_maps: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draw images, five a row, each above its maps: of the predicted and of the true class.

    Correct answers have one class, and so one map.

    Args:
        predictions: those to draw; without any, the figure says so.
        predicted_maps: float32 (N, H, W) in [0, 1], what ``grad_cam`` returned for the predicted
            classes.
        true_maps: the same for the true classes; None draws one map for each image.
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
    _say_if_none(figure, len(predictions))
    if len(predictions):
        _heat_bar(figure, panels)
    return finished(figure)


def explanation(explained: Explanation, title: str | None = None) -> Figure:
    """Draw a picture, and beside it the maps of its most probable classes.

    Args:
        explained: what ``Explainer.explain`` returned.
        title: of the figure; None for the picture's name.
    """
    texts = [fit_text(caption, PANEL - MARGIN, lines=3) for caption in explained.captions]
    title = explained.name if title is None else title
    aspect = _aspect(explained.image[None])
    columns = len(explained.maps) + 1
    figure, panels = _panels(1, columns, PANEL, aspect, _most_lines(texts), title, beside=BAR)
    _show(panels[0, 0], explained.image, "as the network sees it")
    for heat, text, panel in zip(explained.maps, texts, panels[0, 1:], strict=True):
        _show(panel, overlay(explained.image, heat), text)
    _heat_bar(figure, panels)
    return finished(figure)


def overlay(image: np.ndarray, heat: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Blend a map in [0, 1] (H, W), in colour, over a uint8 image (H, W, 3).

    The hotter a place, the more its colour covers the image; cold places show the image alone.

    Returns:
        float64 (H, W, 3) in [0, 1]: the sum of c times the colour and (1 - c) times the image,
        where c is ``alpha`` times the heat.
    """
    colour = ScalarMappable(Normalize(0, 1), HEAT).to_rgba(heat)[..., :3]
    cover = alpha * np.clip(heat, 0, 1)[..., None]
    return np.clip((1 - cover) * image / 255 + cover * colour, 0, 1)  # rounding can exceed 1


def heat_scale(steps: int = 256) -> np.ndarray:
    """Return the colours that maps from 0 to 1 have over a mid-grey image: float64 (steps, 3)."""
    heat = np.linspace(0, 1, steps)[None]
    return overlay(np.full((1, steps, 3), GREY, np.uint8), heat)[0]


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


def _say_if_none(figure: Figure, count: int) -> None:
    if not count:
        figure.text(0.5, 0.5, "none: there is no such image", ha="center")


def _heat_bar(figure: Figure, panels: np.ndarray) -> None:
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), ListedColormap(heat_scale())),  # what the eye sees
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
        beside: inches left free at the side.
    """
    height = rows * (width * aspect + 0.05) + LINE * lines + 0.35
    figure = new_figure(columns * width + beside, height, title)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    return figure, panels
