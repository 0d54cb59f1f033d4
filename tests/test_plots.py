import numpy as np
import pytest
from matplotlib.figure import Figure

from pytorch_vision import plots
from pytorch_vision.predict import Predictions
from pytorch_vision.train import EpochRecord, History
from pytorch_vision.transforms import Augmentation


def some_predictions(count: int) -> Predictions:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), count).astype(np.float32).reshape(count, 3)
    return Predictions(
        images=random.integers(0, 256, (count, 32, 32, 3), np.uint8),
        labels=random.integers(0, 3, count),
        probabilities=probabilities,
        indices=np.arange(count),
        class_names=("ant", "bee", "cow"),
    )


def pictures(figure: Figure) -> list:
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_curves_show_training_and_test_together():
    history = History(
        tuple(EpochRecord(e, 2 / e, 40 + e, 3 / e, 30 + e, 0.1, 1, 1) for e in (1, 2, 3))
    )
    figure = plots.loss_and_accuracy(history, "a title")
    loss, accuracy = figure.axes
    assert figure.get_suptitle() == "a title"
    assert (loss.get_xlabel(), accuracy.get_xlabel()) == ("Epoch", "Epoch")
    assert "Loss" in loss.get_ylabel()
    assert "%" in accuracy.get_ylabel()
    drawn = [[list(line.get_ydata()) for line in axes.lines] for axes in figure.axes]
    assert drawn == [
        [history.column("train_loss"), history.column("test_loss")],
        [history.column("train_accuracy"), history.column("test_accuracy")],
    ]
    labels = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert labels == ["train: 43.00 after epoch 3", "test: 33.00 after epoch 3"]


def test_curves_of_no_epoch_say_so():
    figure = plots.loss_and_accuracy(History())
    assert all("no epoch" in axes.texts[0].get_text() for axes in figure.axes)


@pytest.mark.parametrize("count", [1, 5, 7, 10])
def test_gallery_shows_each_image_sharp_under_its_classes(count):
    predictions = some_predictions(count)
    figure = plots.gallery(predictions, "errors")
    shown = pictures(figure)
    assert len(shown) == count
    for picture, image in zip(shown, predictions.images, strict=True):
        assert np.array_equal(picture.get_array(), image)
        assert picture.get_interpolation() == "nearest"
    title = shown[0].axes.get_title()
    names, label, predicted = ["ant", "bee", "cow"], predictions.labels, predictions.predicted
    assert title.startswith(f"true: {names[label[0]]}\npredicted: {names[predicted[0]]} (")
    assert title.endswith(f"({predictions.confidence[0]:.0%})")


def test_galleries_of_no_error_say_so():
    none = some_predictions(0)
    for figure in (plots.gallery(none), plots.gradcam_gallery(none, np.zeros((0, 32, 32)))):
        assert not pictures(figure)
        assert any("none" in text.get_text() for text in figure.texts)


def test_gradcam_gallery_blends_each_map_over_its_image():
    predictions = some_predictions(10)
    maps = np.random.default_rng(1).random((10, 32, 32), np.float32)
    shown = pictures(plots.gradcam_gallery(predictions, maps))
    for picture, image, heat in zip(shown, predictions.images, maps, strict=False):
        np.testing.assert_allclose(picture.get_array(), plots.overlay(image, heat))


def test_overlay_is_half_image_half_colour():
    image = np.full((32, 32, 3), 255, np.uint8)
    cold = plots.overlay(image, np.zeros((32, 32)))
    hot = plots.overlay(image, np.ones((32, 32)))
    assert np.allclose(cold[0, 0], 0.5, atol=0.02)  # inferno begins nearly black
    assert (hot[0, 0] > cold[0, 0]).all()
    assert plots.overlay(image, np.ones((32, 32)), alpha=0).min() == 1


def test_training_views_begin_with_the_image_itself(few):
    figure = plots.training_views(few, Augmentation(), seed=0, count=2, epochs=3)
    shown = [picture.get_array() for picture in pictures(figure)]
    assert len(shown) == 8
    np.testing.assert_allclose(shown[0], few.train_images[0] / 255)
    assert not any(np.allclose(shown[0], other) for other in shown[1:4])


def test_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plots.gallery(some_predictions(3))
    plots.loss_and_accuracy(History())
    assert not list(tmp_path.iterdir())
