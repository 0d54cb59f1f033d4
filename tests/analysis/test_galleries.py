import html
import io
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from answers import some_predictions
from matplotlib import rc_context
from matplotlib.figure import Figure

from pytorch_vision.analysis import Predictions, galleries, plots
from pytorch_vision.data import Augmentation, find_duplicates
from pytorch_vision.explain import Explanation
from pytorch_vision.training import TrainConfig


def pictures(figure: Figure) -> list:
    return [axes.images[0] for axes in figure.axes if axes.images]


KINDS = ("predicted", "true")


def caption(predictions: Predictions, kind: str, i: int) -> str:
    label = {"true": predictions.labels, "predicted": predictions.predicted}[kind][i]
    probability = predictions.probabilities[i, label]
    return f"{kind}: {predictions.class_names[label]} ({100 * probability:.0f} %)"


@pytest.mark.parametrize("count", [1, 7])
def test_gallery_shows_each_image_sharp_under_its_classes(count):
    predictions = some_predictions(count)
    figure = galleries.gallery(predictions, "errors")
    shown = pictures(figure)
    assert len(shown) == count
    for i, (picture, image) in enumerate(zip(shown, predictions.images, strict=True)):
        assert np.array_equal(picture.get_array(), image)
        assert picture.get_interpolation() == "nearest"
        both = [caption(predictions, kind, i) for kind in ("true", "predicted")]
        assert picture.axes.get_title() == "\n".join(both)


def test_a_title_is_that_of_the_predictions_unless_it_is_given():
    predictions = replace(some_predictions(5), description="a network", choice="5 errors")
    maps = np.zeros((5, 32, 32))
    for draw in (
        galleries.gallery,
        lambda some, title="": galleries.gradcam_gallery(some, maps, title=title),
        plots.confusion_matrix,
        plots.class_accuracy,
        plots.reliability,
    ):
        assert draw(predictions).get_suptitle() == "a network: 5 errors"
        assert draw(predictions, title="mine").get_suptitle() == "mine"


def test_galleries_of_no_error_say_so():
    none, maps = some_predictions(0), np.zeros((0, 32, 32))
    for figure in (galleries.gallery(none), galleries.gradcam_gallery(none, maps, maps)):
        assert not pictures(figure)
        assert "no such image" in figure.texts[-1].get_text()


@pytest.mark.parametrize(("count", "both"), [(7, True), (3, False)])
def test_gradcam_gallery_stacks_image_and_overlays(count, both):
    """Of the predicted and of the true class, which is the same for correct answers."""
    predictions = some_predictions(count)
    maps = np.random.default_rng(1).random((2, count, 32, 32), np.float32)[: 1 + both]
    figure = galleries.gradcam_gallery(predictions, *maps, title="errors")
    figure.draw_without_rendering()
    high, bands = 1 + len(maps), -(-count // 5)
    stacks = np.array(figure.axes[: 5 * high * bands]).reshape(bands, high, 5).transpose(0, 2, 1)
    for i, (axes, image) in enumerate(
        zip(stacks.reshape(-1, high), predictions.images, strict=False)
    ):
        captions = [f"test image {i}", *(caption(predictions, k, i) for k in KINDS[: len(maps)])]
        assert [one.get_title().strip() for one in axes] == captions
        expected = [image, *(galleries.overlay(image, heats[i]) for heats in maps)]
        for one, pixels in zip(axes, expected, strict=True):
            np.testing.assert_allclose(one.images[0].get_array(), pixels)
        boxes = [one.get_window_extent() for one in axes]
        assert np.ptp([box.x0 for box in boxes]) < 1  # one column
        assert all(one.y0 > other.y1 for one, other in pairwise(boxes))
        assert min(box.width for box in boxes) >= 150
    assert "each map's own maximum" in figure.axes[-1].get_ylabel()


LONG = ("Animals & Nature", "a_very_long_class_name_" * 4, "W" * 80)


@pytest.mark.parametrize("size", [(32, 96), (96, 16)])
def test_no_caption_runs_into_another(size):
    predictions = replace(
        some_predictions(10),
        images=np.random.default_rng(0).integers(0, 256, (10, *size, 3), np.uint8),
        class_names=LONG,
        files=tuple(f"some folder/with a long name/{'x' * 30}_{i}.png" for i in range(10)),
    )
    maps = np.zeros((10, *size), np.float32)
    for figure in (
        galleries.gallery(predictions, "a title " * 30),
        galleries.gradcam_gallery(predictions, maps, maps, "a title " * 30),
        galleries.gradcam_gallery(predictions, maps, title="a title"),
    ):
        figure.draw_without_rendering()
        titles = [axes.title for axes in figure.axes if axes.get_title()]
        texts = [*titles, figure._suptitle]
        boxes = [text.get_window_extent() for text in texts]
        panels = [picture.axes.get_window_extent() for picture in pictures(figure)]
        assert min(panel.width for panel in panels) > 150
        boxes += panels
        boxes += [axes.get_window_extent() for axes in figure.axes if axes.get_ylabel()]
        for one, other in combinations([box.padded(-1) for box in boxes], 2):
            assert not one.overlaps(other)


def test_no_file_s_name_runs_into_its_neighbour():
    """Names are bold, and so wider."""
    names = [f"Oceania/{'Norfolk Island'[:count]}s.png" for count in range(2, 15, 3)]
    for name in names:
        predictions = replace(some_predictions(2), files=(name, name))
        figure = galleries.gradcam_gallery(predictions, np.zeros((2, 32, 32)))
        figure.draw_without_rendering()
        one, other = (axes.title.get_window_extent() for axes in figure.axes[:2])
        assert other.x0 - one.x1 > 5


def explained(predictions: Predictions, names: tuple[str, ...], name: str) -> Explanation:
    maps = np.random.default_rng(1).random((len(names), 32, 32), np.float32)
    shares = np.full(len(names), 0.25, np.float32)
    return Explanation(predictions.images[0], names, shares, maps, name)


def test_explanation_shows_the_image_and_a_map_for_each_class():
    explanation = explained(some_predictions(1), ("ant", "bee", "cow"), "a.png")
    figure = galleries.explanation(explanation)
    assert figure.get_suptitle() == "a.png"
    shown = [picture for picture in pictures(figure) if picture.get_array().ndim == 3]
    titles = [picture.axes.get_title() for picture in shown]
    assert titles == ["as the network sees it", "ant (25.0 %)", "bee (25.0 %)", "cow (25.0 %)"]
    np.testing.assert_allclose(
        shown[3].get_array(), galleries.overlay(explanation.image, explanation.maps[2])
    )


def test_the_colour_bar_has_the_colours_of_an_overlay():
    scale = galleries.heat_scale(9)
    grey = np.full((1, 9, 3), 128, np.uint8)
    np.testing.assert_allclose(scale[None], galleries.overlay(grey, np.linspace(0, 1, 9)[None]))
    np.testing.assert_allclose(scale[0], 128 / 255)
    assert scale[-1].max() < 0.95  # not the yellow of the colour map itself


def test_overlay_covers_the_more_the_hotter_and_leaves_the_rest():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    none = galleries.overlay(image, np.zeros((32, 32)))
    np.testing.assert_allclose(none, image / 255)
    halves = np.repeat([[0.5], [1.0]], 16, axis=0) * np.ones(32)
    drawn = galleries.overlay(image, halves)
    for rows, left in ((slice(16), 0.65), (slice(16, 32), 0.3)):  # of the picture's own contrast
        contrast = (image[rows] / 255).std(axis=(0, 1))
        np.testing.assert_allclose(drawn[rows].std(axis=(0, 1)), left * contrast)
    assert np.array_equal(galleries.overlay(image, halves, alpha=0), image / 255)


def test_overlay_of_white_is_no_brighter_than_white():
    """Under a heat that 1 - heat rounds away it was, a little, of which matplotlib warned."""
    heat = np.geomspace(1e-9, 1, 1024, dtype=np.float32).reshape(32, 32)
    drawn = galleries.overlay(np.full((32, 32, 3), 255, np.uint8), heat)
    assert drawn.max() <= 1


def test_examples_of_each_class_with_how_many_it_has(few):
    lacking = few.train_labels != 3
    labels, images = few.train_labels[lacking], few.train_images[lacking]
    data = replace(few, train_images=images, train_labels=labels)
    figure = galleries.class_examples(data)
    shown = [np.asarray(picture.get_array()) for picture in pictures(figure)]
    assert len(shown) == len(data.class_names)
    counts = [np.bincount(one, minlength=10) for one in (labels, data.test_labels)]
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        f"{name}\n{train} + {test}"
        for name, train, test in zip(data.class_names, *counts, strict=True)
    ]
    first = images[labels == 0]
    assert np.array_equal(shown[0][:32, :32], first[0])
    last = min(len(first), 9) - 1
    row, column = divmod(last, 3)
    corner = shown[0][34 * row :, 34 * column :]
    assert np.array_equal(corner[:32, :32], first[-1])
    assert (shown[3] == 255).all()  # it has none


def test_of_a_thousand_classes_the_first_fifty_have_examples(few):
    names = tuple(f"class {n} of {'a long name ' * 9}" for n in range(1000))
    figure = galleries.class_examples(replace(few, class_names=names))
    assert len(pictures(figure)) == 50
    assert "the first 50 classes" in figure.get_suptitle()


def test_the_pairs_most_alike_are_drawn_with_their_classes(few):
    test = few.test_images.copy()
    test[2], test[5] = few.train_images[1], few.train_images[3] // 2
    found = find_duplicates(replace(few, test_images=test))
    figure = galleries.duplicate_pairs(found, count=1)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title().replace("\n", " ") for axes in drawn] == [
        f"train image 1 ({few.class_names[few.train_labels[1]]})",
        f"test image 2 ({few.class_names[few.test_labels[2]]})",
    ]
    assert all(np.array_equal(axes.images[0].get_array(), test[2]) for axes in drawn)
    assert len(pictures(galleries.duplicate_pairs(found))) == 4


def test_training_views_are_what_the_epochs_show(few):
    order = np.argsort(few.train_labels, kind="stable")  # as in a folder
    images, labels = few.train_images[order], few.train_labels[order]
    few = replace(few, train_images=images, train_labels=labels)
    figure = galleries.training_views(few, TrainConfig(epochs=20), count=2)
    shown = [picture.get_array() for picture in pictures(figure)]
    assert len(shown) == 16
    for row, image in zip((0, 1), (images[labels == 0][0], images[labels == 1][0]), strict=True):
        drawn = next(one.images[0] for one in figure.axes[8 * row :]).get_array()
        np.testing.assert_allclose(drawn, image / 255)
    assert not any(np.allclose(shown[0], other) for other in shown[1:8])
    titles = [axes.get_title() for axes in figure.axes[:8]]
    assert titles[:2] + titles[7:] == ["original", "epoch 1", "epoch 20"]


def test_training_views_are_small_where_the_epochs_are(few):
    plain = Augmentation(padding=0, flip="none", cutout=16, cutout_probability=1)
    config = TrainConfig(epochs=7, progressive_resizing=0.5, augmentation=plain)
    figure = galleries.training_views(few, config, 1)
    shown = [picture.get_array() for picture in pictures(figure)]
    assert [len(image) for image in shown] == [32, 24, 24, 24, 32, 32, 32, 32]
    assert np.array_equal(shown[1], shown[2])  # small images have no hole
    assert not np.array_equal(shown[4], shown[5])


NAMES = (r"$\frac{x$.png", "dollar$5_and$6.png", r"a\$b", "<b>&amp;</b>")


def test_text_in_pictures_is_text():
    """Names of files and classes are arbitrary; between dollar signs they are no formulas."""
    predictions, title = replace(some_predictions(20), class_names=NAMES[:3]), NAMES[3]
    for figure, names in (
        (galleries.explanation(explained(predictions, NAMES[:3], title)), NAMES),
        (galleries.gallery(predictions, title), NAMES),
        (plots.confusion_matrix(predictions, title), NAMES),
        (plots.class_accuracy(predictions, title), NAMES),
        (plots.reliability(predictions, title), [title]),
    ):
        drawn = io.StringIO()
        with rc_context({"svg.fonttype": "none"}):
            figure.savefig(drawn, format="svg")
        for name in names:
            assert html.escape(name, quote=False) in drawn.getvalue()
