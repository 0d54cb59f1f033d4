"""Figures of images, and of maps over them. Each function returns a Figure and saves nothing."""

from collections.abc import Sequence

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

ACROSS = 5  # images in a row
PANEL = 1.9  # inches, the width of one image
MARGIN = 0.12  # inches, between one caption and the next
BOLD = 1.15  # width of bold letters, as a multiple of regular ones
MOST_CLASSES = 50  # drawn in one figure
SIDE = 3  # images of a class in a row and in a column
BAR = 1.0  # inches, the width of a colour bar with its label
HEAT = "inferno"  # perceptually uniform: equal steps of heat look equally large
ALPHA = 0.7  # how much the hottest colour covers the image
GREY = 128  # the image under the colour bar

Stack = list[tuple[np.ndarray, str]]  # images with their captions, one below the other


def class_examples(data: ImageData) -> Figure:
    """Draw nine training images of each class, and the number of its images.

    They are spread evenly over the class. Of more than 50 classes, the first 50 are drawn.
    """
    trained, tested = data.class_counts
    most = min(SIDE**2, trained.max())
    stacks = []
    for label, name in enumerate(data.class_names[:MOST_CLASSES]):
        of_class = np.flatnonzero(data.train_labels == label)
        places = np.linspace(0, len(of_class) - 1, min(most, len(of_class))).round().astype(int)
        mosaic = _mosaic(data.train_images[of_class[places]], rows=-(-most // SIDE))
        counts = f"{trained[label]:,} + {tested[label]:,}"
        stacks.append([(mosaic, f"{fit_text(name, PANEL - MARGIN)}\n{counts}")])
    first = f", the first {len(stacks)} classes" if len(stacks) < len(trained) else ""
    figure, _ = _draw(stacks, f"{data.name}{first}: training + test images of each class")
    return finished(figure)


def _mosaic(images: np.ndarray, rows: int) -> np.ndarray:
    """Return images as one image: rows of three, with white gaps."""
    count, height, width, _ = images.shape
    gap = max(height, width) // 16
    cells = np.full((rows * SIDE, height + gap, width + gap, 3), 255, np.uint8)
    cells[:count, :height, :width] = images
    grid = cells.reshape(rows, SIDE, *cells.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * (height + gap), SIDE * (width + gap), 3)


def duplicate_pairs(duplicates: Duplicates, count: int = 5) -> Figure:
    """Draw the most similar pairs of images, one above the other, each motif once."""
    stacks = []
    for pair in sorted(duplicates.motifs, key=lambda pair: -pair[2])[:count]:
        texts = [f"{duplicates.name(i)} ({duplicates.class_name(i)})" for i in pair[:2]]
        captions = [fit_text(text, PANEL - MARGIN, lines=2) for text in texts]
        stacks.append([(duplicates.image(i), c) for i, c in zip(pair[:2], captions, strict=True)])
    figure, _ = _draw(stacks, f"{duplicates.data.name}: the pairs that are most alike")
    return finished(figure)


def training_views(data: ImageData, config: TrainConfig, count: int = 4) -> Figure:
    """Draw training images without augmentation, and as seven epochs of a run augment them.

    The images are the first ones of the first classes, one per row. The epochs are spread evenly
    over the run; a shorter run is drawn as if it had seven.
    """
    normalization = Normalization.of(data.train_images)
    every = balanced_indices(data.train_labels, min(count, len(data.train_labels)))
    count = len(every)
    loader = TrainLoader(data, normalization, config.augmentation, count, config.seed)
    columns, titles = [data.train_images[every] / 255], ["original"]
    for epoch in np.linspace(0, max(config.epochs, 7) - 1, 7).round().astype(int).tolist():
        loader.vary(config.augmentation_in(epoch))
        views = loader.augment(every, loader.draws(every, epoch, 0))
        scale = config.scale_in(epoch)
        views = scaled_down(denormalize(views, normalization), scale)
        columns.append(views.permute(0, 2, 3, 1).numpy())
        height, width = views.shape[2:]
        titles.append(f"epoch {epoch + 1}" + (f", {height}x{width}" if scale < 1 else ""))
    title = f"Training images of {data.name}, as the network sees them"
    figure, panels = _panels(count, len(columns), 1.2, _aspect(data.train_images[0]), 1, title)
    for images, caption, axes in zip(columns, titles, panels.T, strict=True):
        axes[0].set_title(caption, fontsize=SMALL)
        for image, panel in zip(images, axes, strict=True):
            panel.imshow(image, interpolation="nearest", origin="upper")
    return finished(figure)


def gallery(predictions: Predictions, title: str = "") -> Figure:
    """Draw images, five in a row, each below its true and its predicted class.

    Without any, the figure says so. The default title is ``predictions.title``.
    """
    true = _captions("true", predictions, predictions.labels)
    predicted = _captions("predicted", predictions, predictions.predicted)
    captions = [f"{one}\n{other}" for one, other in zip(true, predicted, strict=True)]
    stacks = [[one] for one in zip(predictions.images, captions, strict=True)]
    figure, _ = _draw(stacks, title or predictions.title)
    return finished(figure)


def gradcam_gallery(
    predictions: Predictions,
    predicted_maps: np.ndarray,
    true_maps: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draw images, five in a row, each above its maps for the predicted and for the true class.

    Maps are float32 (N, H, W) in [0, 1], as ``grad_cam`` returns them. For correct answers, both
    classes are the same, and one map is enough. Without any image, the figure says so. The default
    title is ``predictions.title``.
    """
    names = [fit_text(name, PANEL - MARGIN, BOLD * SMALL, lines=2) for name in predictions.names]
    maps = [(predicted_maps, _captions("predicted", predictions, predictions.predicted))]
    if true_maps is not None:
        maps.append((true_maps, _captions("true", predictions, predictions.labels)))
    rows = [zip(predictions.images, names, strict=True)]
    for heats, captions in maps:
        rows.append(zip(map(overlay, predictions.images, heats), captions, strict=True))
    stacks = [list(stack) for stack in zip(*rows, strict=True)]
    figure, panels = _draw(stacks, title or predictions.title, beside=BAR)
    for panel in panels[:: len(maps) + 1].flat:
        panel.title.set_fontweight("bold")
    if stacks:
        _heat_bar(figure, panels)
    return finished(figure)


def explanation(explained: Explanation, title: str | None = None) -> Figure:
    """Draw a picture, and beside it the maps for its most probable classes.

    The default title is the picture's name.
    """
    texts = [fit_text(caption, PANEL - MARGIN, lines=3) for caption in explained.captions]
    overlays = (overlay(explained.image, heat) for heat in explained.maps)
    drawn = [(explained.image, "as the network sees it"), *zip(overlays, texts, strict=True)]
    title = explained.name if title is None else title
    figure, panels = _draw([[one] for one in drawn], title, len(drawn), BAR)
    _heat_bar(figure, panels)
    return finished(figure)


def overlay(image: np.ndarray, heat: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Blend a map in [0, 1] (H, W), in colour, over a uint8 image (H, W, 3).

    The higher the map's value, the more its colour covers the image; at 0, the image is unchanged.

    Returns:
        float64 (H, W, 3) in [0, 1]: c * colour + (1 - c) * image, with c = ``alpha`` * heat.
    """
    colour = ScalarMappable(Normalize(0, 1), HEAT).to_rgba(heat)[..., :3]
    cover = alpha * np.clip(heat, 0, 1)[..., None]
    return np.clip((1 - cover) * image / 255 + cover * colour, 0, 1)  # rounding can exceed 1


def heat_scale(steps: int = 256) -> np.ndarray:
    """Return the colours of map values from 0 to 1 over a mid-grey image: float64 (steps, 3)."""
    heat = np.linspace(0, 1, steps)[None]
    return overlay(np.full((1, steps, 3), GREY, np.uint8), heat)[0]


def _captions(kind: str, predictions: Predictions, labels: np.ndarray) -> list[str]:
    """Return a caption for each image: ``kind``, and its label's class name and probability."""
    names = predictions.class_names
    return [
        fit_text(
            names[label], PANEL - MARGIN, lines=2, form=f"{kind}: {{}} ({percent(row[label])})"
        )
        for label, row in zip(labels, predictions.probabilities, strict=True)
    ]


def _draw(
    stacks: Sequence[Stack], title: str, across: int = ACROSS, beside: float = 0
) -> tuple[Figure, np.ndarray]:
    """Draw stacks of one height, ``across`` of them in each band, or say that there is none.

    ``beside`` inches are left free at the side. The panels are (bands * height, across).
    """
    bands = [stacks[start : start + across] for start in range(0, len(stacks), across)]
    rows = [row for band in bands for row in zip(*band, strict=True)] or [()]
    high, aspect = (len(stacks[0]), _aspect(stacks[0][0][0])) if stacks else (1, 1.0)
    gap = "\n" if high > 1 else ""  # sets the bands apart
    lines = sum(max((caption.count("\n") + 1 for _, caption in row), default=0) for row in rows)
    lines += len(gap) * (len(rows) // high - 1)
    figure, panels = _panels(len(rows), across, PANEL, aspect, lines, title, beside)
    for number, (row, axes) in enumerate(zip(rows, panels, strict=True)):
        above = gap if number and number % high == 0 else ""
        for (image, caption), panel in zip(row, axes, strict=False):
            _show(panel, image, above + caption)
    if not stacks:
        figure.text(0.5, 0.5, "there is no such image", ha="center")
    return figure, panels


def _show(panel: Axes, image: np.ndarray, caption: str) -> None:
    panel.imshow(image, interpolation="nearest", origin="upper")
    panel.set_title(caption, fontsize=SMALL)
    height, width = image.shape[:2]
    aspect = _aspect(image)
    if height > aspect * width:  # the panel stays as wide as its caption
        panel.set_xlim((width - height / aspect) / 2 - 0.5, (width + height / aspect) / 2 - 0.5)


def _aspect(image: np.ndarray) -> float:
    """Return the height of an image's panel, as a share of its width."""
    return min(max(image.shape[0] / image.shape[1], 0.3), 1.5)


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
    rows: int, columns: int, width: float, aspect: float, lines: int, title: str, beside: float = 0
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its empty panels, (rows, columns), whose axes are not drawn.

    Panels are ``width`` inches wide and ``aspect`` times as high. All captions of a column together
    have so many ``lines``. ``beside`` inches are left free at the side.
    """
    height = rows * (width * aspect + 0.05) + LINE * lines + 0.35
    figure = new_figure(columns * width + beside, height, title)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    return figure, panels
