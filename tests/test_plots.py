import numpy as np
import pytest
from matplotlib.figure import Figure

from pytorch_vision import plots, predict
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


def caption(predictions: Predictions, kind: str, i: int) -> str:
    label = {"true": predictions.labels, "predicted": predictions.predicted}[kind][i]
    probability = predictions.probabilities[i, label]
    return f"{kind}: {predictions.class_names[label]} ({probability:.0%})"


@pytest.mark.parametrize("count", [1, 5, 7, 10])
def test_gallery_shows_each_image_sharp_under_its_classes(count):
    predictions = some_predictions(count)
    figure = plots.gallery(predictions, "errors")
    shown = pictures(figure)
    assert len(shown) == count
    for i, (picture, image) in enumerate(zip(shown, predictions.images, strict=True)):
        assert np.array_equal(picture.get_array(), image)
        assert picture.get_interpolation() == "nearest"
        both = [caption(predictions, kind, i) for kind in ("true", "predicted")]
        assert picture.axes.get_title() == "\n".join(both)


def test_galleries_of_no_error_say_so():
    none, maps = some_predictions(0), np.zeros((0, 32, 32))
    for figure in (plots.gallery(none), plots.gradcam_gallery(none, maps, maps)):
        assert not pictures(figure)
        assert any("none" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize("count", [3, 10])
def test_gradcam_gallery_stacks_image_predicted_and_true_overlay(count):
    predictions = some_predictions(count)
    maps = np.random.default_rng(1).random((2, count, 32, 32), np.float32)
    figure = plots.gradcam_gallery(predictions, *maps, "errors")
    figure.draw_without_rendering()
    bands = -(-count // 5)
    stacks = np.array(figure.axes[: 15 * bands]).reshape(bands, 3, 5).transpose(0, 2, 1)
    for i, (axes, image) in enumerate(zip(stacks.reshape(-1, 3), predictions.images, strict=False)):
        assert [one.get_title().strip() for one in axes] == [
            f"test image {i}",
            caption(predictions, "predicted", i),
            caption(predictions, "true", i),
        ]
        expected = [image, plots.overlay(image, maps[0, i]), plots.overlay(image, maps[1, i])]
        for one, pixels in zip(axes, expected, strict=True):
            np.testing.assert_allclose(one.images[0].get_array(), pixels)
        boxes = [one.get_window_extent() for one in axes]
        assert np.ptp([box.x0 for box in boxes]) < 1  # one column
        assert boxes[0].y0 > boxes[1].y1 > boxes[1].y0 > boxes[2].y1
        assert min(box.width for box in boxes) >= 150
    assert "each map's own maximum" in figure.axes[-1].get_ylabel()


def test_explanation_shows_the_image_and_a_map_for_each_class():
    predictions, maps = some_predictions(1), np.random.default_rng(1).random((3, 32, 32))
    figure = plots.explanation(predictions.images[0], maps, ["ant", "bee", "cow"], "a.png")
    shown = [picture for picture in pictures(figure) if picture.get_array().ndim == 3]
    titles = [picture.axes.get_title() for picture in shown]
    assert titles == ["as the network sees it", "ant", "bee", "cow"]
    np.testing.assert_allclose(shown[3].get_array(), plots.overlay(predictions.images[0], maps[2]))


def test_confusion_matrix_has_every_count():
    predictions = some_predictions(40)
    axes = plots.confusion_matrix(predictions, "a title").axes[0]
    counts = [int(text.get_text()) for text in axes.texts]
    assert counts == predict.confusion_matrix(predictions).ravel().tolist()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "bee", "cow"]


def test_class_accuracy_is_written_beside_each_class():
    predictions = some_predictions(40)
    axes = plots.class_accuracy(predictions).axes[0]
    written = {float(text.get_text()) for text in axes.texts}
    assert written == {round(value, 1) for value in predict.class_accuracy(predictions)}
    assert "%" in axes.get_xlabel()
    right = (predictions.predicted == predictions.labels).mean()
    assert f"{100 * right:.2f} %" in axes.get_legend().get_texts()[0].get_text()


def test_reliability_shows_the_bins_and_the_error():
    predictions = some_predictions(200)
    above, below = plots.reliability(predictions).axes
    measured = predict.calibration(predictions)
    curve = next(line for line in above.lines if line.get_marker() == "s")
    np.testing.assert_allclose(curve.get_xdata(), measured.confidence)
    np.testing.assert_allclose(curve.get_ydata(), measured.accuracy)
    legend = above.get_legend().get_texts()[-1].get_text()
    assert legend == f"expected calibration error {100 * measured.error:.2f} %"
    assert sum(patch.get_height() for patch in below.patches) == 200


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
