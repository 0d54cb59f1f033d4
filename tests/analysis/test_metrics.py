from dataclasses import replace

import numpy as np
import pytest
from answers import answered
from small import csv_rows

from pytorch_vision.analysis import measure, predict, write_predictions
from pytorch_vision.analysis.metrics import evaluation
from pytorch_vision.runtime import Machine
from pytorch_vision.training import evaluate

CPU = Machine(accelerator="cpu")


def test_metrics_of_each_class(predictions):
    """The matrix is [[1, 1, 0], [2, 0, 0], [0, 0, 1]]."""
    metrics = measure(predictions)
    np.testing.assert_allclose(metrics.precision, [1 / 3, 0, 1])
    np.testing.assert_allclose(metrics.recall, [1 / 2, 0, 1])
    np.testing.assert_allclose(metrics.f1, [0.4, 0, 1])
    assert metrics.counts.tolist() == [2, 2, 1]
    assert metrics.accuracy == pytest.approx(2 / 5)
    assert metrics.balanced_accuracy == pytest.approx(1 / 2)
    assert metrics.top5 is None
    assert metrics.worst.tolist() == [1, 0, 2]


def test_shares_without_images_are_nan(tmp_path):
    """Neither for a class without images, nor for one that no image was taken for."""
    metrics = measure(answered([0, 1, 0, 0, 1], [0] * 5))
    np.testing.assert_equal(metrics.precision, [0.6, np.nan, np.nan])
    np.testing.assert_equal(metrics.recall, [1, 0, np.nan])
    assert metrics.balanced_accuracy == 0.5
    assert "Classes without any image: cow." in str(metrics)
    metrics.to_csv(tmp_path / "metrics.csv")
    assert csv_rows(tmp_path / "metrics.csv") == [
        ["class", "precision", "recall", "f1", "images"],
        ["ant", "0.6", "1", "0.75", "3"],
        ["bee", "", "0", "0", "2"],
        ["cow", "", "", "", "0"],
    ]


@pytest.mark.parametrize("count", [19, 20, 1000])
def test_of_many_classes_the_worst_are_told_and_the_five_most_probable_count(count):
    labels, probabilities = np.arange(count), np.zeros((count, count), np.float32)
    for label in labels:
        more_probable = label % 7  # so many classes than the true one
        probabilities[label, (label + np.arange(1, more_probable + 1)) % count] = 0.9
        probabilities[label, label] = 0.5
    names = tuple(f"class {label} {'x' * 80}" for label in labels)
    metrics = measure(replace(answered(labels, labels, names), probabilities=probabilities))
    expected = None if count < 20 else pytest.approx(np.mean(labels % 7 < 5))
    assert metrics.top5 == expected
    lines = str(metrics).splitlines()
    assert ("top-5" in lines[0]) == (count >= 20)
    assert max(map(len, lines)) <= 100
    assert len(lines) == (count + 2 if count < 1000 else 33)
    assert count < 1000 or lines[-1] == "These 30 of 1,000 classes have the lowest F1."


def test_evaluation_of_predictions_is_that_of_evaluate(few, tiny):
    told, expected = evaluation(predict(tiny, few, CPU)), evaluate(tiny, few, CPU)
    assert (told.correct, told.count, told.only) == (expected.correct, 50, expected.only)
    assert told.loss == pytest.approx(expected.loss, abs=1e-5)


def test_one_answer_for_every_image_is_told():
    told = evaluation(answered([0, 1, 2], [2, 2, 2]))
    assert told.only == "cow"
    assert "taken for 'cow'" in str(told)
    assert evaluation(answered([2, 2], [2, 2])).only is None


def test_the_table_of_predictions_has_the_files(predictions, tmp_path):
    files = ("a/1.png", "a/\udcff.png", None, "é.png", 'x,"y".png')
    write_predictions(replace(predictions, files=files), tmp_path / "new" / "table.csv")
    rows = csv_rows(tmp_path / "new" / "table.csv")
    assert rows[0][:3] == ["image", "true_class", "class"]
    images = ["a/1.png", r"a/\udcff.png", "test image 2", "é.png", 'x,"y".png']
    assert [row[0] for row in rows[1:]] == images
    assert rows[2][1:] == ["b", "a", "0.600000", "0.200000"]


@pytest.mark.parametrize(
    ("right", "count", "summary"),
    [
        (14, 16, "Accuracy 87.50 % (95 % interval 64 to 97 %), balanced 87.50 %"),
        (9504, 10_000, "Accuracy 95.04 % (95 % interval 94.60 to 95.45 %), balanced 95.04 %"),
        (2, 2, "Accuracy 100.00 % (95 % interval 34 to 100 %), balanced 100.00 %"),
    ],
)
def test_accuracy_comes_with_its_interval(right, count, summary):
    """Wilson's; the numbers are those of the formula in Wilson (1927)."""
    measured = measure(answered([0] * count, [0] * right + [1] * (count - right), size=(1, 1)))
    assert measured.summary == repr(measured).splitlines()[0] == summary


def test_no_prediction_has_no_figures(predictions):
    with pytest.raises(ValueError, match="no predictions"):
        measure(predictions.select(np.arange(0)))
