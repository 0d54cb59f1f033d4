import numpy as np
import pytest
from matplotlib.figure import Figure

from pytorch_vision.analysis import curves
from pytorch_vision.models import EpochRecord, History
from pytorch_vision.training import RangeTest, TrainConfig


def history_of(*accuracies: float, loss: float = 1.0, **more: float) -> History:
    return History(
        tuple(
            EpochRecord(e, 2 / e, 40 + e, loss / e, accuracy, 0.1 / e, 1, 1, **more)
            for e, accuracy in enumerate(accuracies, 1)
        )
    )


def test_curves_show_training_and_test_together_and_the_learning_rates():
    """And from where on the images have their full size."""
    history = history_of(31.0, 32.0, 33.0, 34.0, muon_learning_rate=0.3)
    config = TrainConfig(epochs=4, progressive_resizing=0.5)
    figure = curves.training_curves(history, "a title", config)
    loss, accuracy, rate = figure.axes
    assert figure.get_suptitle() == "a title"
    assert {axes.get_xlabel() for axes in figure.axes} == {"Epoch"}
    assert "Learning rate" in rate.get_ylabel()
    assert "Loss" in loss.get_ylabel()
    assert "%" in accuracy.get_ylabel()
    drawn = [[list(line.get_ydata()) for line in axes.lines[:2]] for axes in figure.axes]
    assert drawn == [
        [history.column("train_loss"), history.column("test_loss")],
        [history.column("train_accuracy"), history.column("test_accuracy")],
        [history.column("learning_rate"), [0.3] * 4],
    ]
    labels = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert labels == [
        "train: 44.00 % after epoch 4",
        "test: 34.00 % after epoch 4",
        "full size from epoch 3 on",
    ]
    assert accuracy.lines[-1].get_xdata() == loss.lines[-1].get_xdata() == [2.5, 2.5]
    assert "label smoothing included" in loss.get_legend().get_texts()[0].get_text()


def test_curves_of_no_epoch_say_so():
    figure = curves.training_curves(History())
    assert all("no epoch" in axes.texts[0].get_text() for axes in figure.axes)


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_compare_draws_every_run_in_a_colour_of_its_own():
    runs = {f"runs/run {n}": history_of(60.0, 70.0 + n) for n in range(12)}
    figure = curves.compare(runs | {"runs/new": History()}, "a title")
    loss, accuracy = figure.axes
    assert len({str(line.get_color()) for line in accuracy.lines}) == 13
    np.testing.assert_allclose(accuracy.lines[3].get_ydata(), [60, 73])
    texts = legend_of(figure)
    assert texts[3] == "run 3: test loss 0.500, test accuracy 73.00 % after epoch 2"
    assert texts[12] == "new: no epoch"
    assert figure.legends[0].get_title().get_text() == "all in runs"
    assert (loss.get_xlabel(), accuracy.get_ylabel()) == ("Epoch", "Test accuracy (%)")


def test_names_from_the_root_of_the_disk_lose_nothing():
    figure = curves.compare({"/one": history_of(60.0), "/two": history_of(70.0)})
    assert figure.legends[0].get_title().get_text() == "all in /"
    assert [text.partition(":")[0] for text in legend_of(figure)] == ["one", "two"]


@pytest.mark.parametrize("count", [1, 13])
def test_compare_s_legend_hides_nothing_and_names_can_be_told_apart(count):
    names = [f"runs/a study/{'of a long name ' * 4}with seed {seed}" for seed in range(count)]
    figure = curves.compare({name: history_of(60.0, 70.0) for name in names}, "a title")
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)
    assert min(box.x0, box.y0, figure.bbox.x1 - box.x1) >= 0
    assert len(set(legend_of(figure))) == count
    assert all(f"with seed {seed}" in text for seed, text in enumerate(legend_of(figure)))
    assert min(axes.get_window_extent().height for axes in figure.axes) > 200


def test_compare_is_not_flattened_by_an_outlier():
    runs = {
        "Muon": history_of(80.0, 90.0, 94.0, 95.0),
        "SGD": history_of(70.0, 85.0, 92.0, 93.0),
        "diverged": history_of(10.0, 10.0, 10.0, 10.0, loss=1e6),
        "not finite": history_of(10.0, float("nan"), 10.0, 10.0, loss=float("nan")),
    }
    figure = curves.compare(runs)
    loss, accuracy = figure.axes
    assert accuracy.get_ylim()[0] > 60
    assert loss.get_ylim()[1] < 2
    assert [text.count("off the scale") for text in legend_of(figure)] == [0, 0, 2, 2]
    with pytest.raises(ValueError, match="no histories to compare"):
        curves.compare({})


def test_lr_finder_marks_the_suggestion():
    rates = np.logspace(-4, 1, 50)
    test = RangeTest("muon_learning_rate", rates, np.linspace(2, 1, 50), 0.03)
    (axes,) = curves.lr_finder(test, "a network").axes
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "Muon's learning rate"
    legend = axes.get_legend().get_texts()[-1].get_text()
    assert legend == "muon_learning_rate=0.03: the smallest loss"
    assert axes.lines[1].get_xdata()[0] == 0.03
