import numpy as np

from pytorch_vision.analysis import calibration, class_accuracy, confusion_matrix, plots
from pytorch_vision.training import EpochRecord, History


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


def test_confusion_matrix_has_every_count(some_predictions):
    predictions = some_predictions(40)
    axes = plots.confusion_matrix(predictions, "a title").axes[0]
    counts = [int(text.get_text()) for text in axes.texts]
    assert counts == confusion_matrix(predictions).ravel().tolist()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "bee", "cow"]


def test_class_accuracy_is_written_beside_each_class(some_predictions):
    predictions = some_predictions(40)
    axes = plots.class_accuracy(predictions).axes[0]
    written = {float(text.get_text()) for text in axes.texts}
    assert written == {round(value, 1) for value in class_accuracy(predictions)}
    assert "%" in axes.get_xlabel()
    right = (predictions.predicted == predictions.labels).mean()
    assert f"{100 * right:.2f} %" in axes.get_legend().get_texts()[0].get_text()


def test_reliability_shows_the_bins_and_the_error(some_predictions):
    predictions = some_predictions(200)
    above, below = plots.reliability(predictions).axes
    measured = calibration(predictions)
    curve = next(line for line in above.lines if line.get_marker() == "s")
    np.testing.assert_allclose(curve.get_xdata(), measured.confidence)
    np.testing.assert_allclose(curve.get_ydata(), measured.accuracy)
    legend = above.get_legend().get_texts()[-1].get_text()
    assert legend == f"expected calibration error {100 * measured.error:.2f} %"
    assert sum(patch.get_height() for patch in below.patches) == 200


def test_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plots.loss_and_accuracy(History())
    assert not list(tmp_path.iterdir())
