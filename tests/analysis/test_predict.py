import numpy as np
import pytest

from pytorch_vision.analysis import (
    class_accuracy,
    confusion_matrix,
    correctly_classified,
    describe_choice,
    misclassified,
    predict,
)
from pytorch_vision.training import evaluate


def test_errors_come_in_test_order(predictions):
    errors = misclassified(predictions)
    assert errors.indices.tolist() == [1, 3, 4]
    assert errors.labels.tolist() == [1, 0, 1]
    assert errors.predicted.tolist() == [0, 1, 0]
    assert errors.confidence == pytest.approx([0.6, 0.9, 0.7])
    assert errors.images[:, 0, 0, 0].tolist() == [1, 3, 4]


def test_errors_come_most_confident_first(predictions):
    assert misclassified(predictions, 2, "confident").indices.tolist() == [3, 4]


def test_errors_come_from_every_class_in_turn(predictions):
    assert misclassified(predictions, 2, "spread").labels.tolist() == [1, 0]
    assert misclassified(predictions, 2, "spread").indices.tolist() == [1, 3]
    assert misclassified(predictions, 3, "spread").indices.tolist() == [1, 3, 4]
    assert misclassified(predictions, order="spread").indices.tolist() == [1, 3, 4]
    assert len(misclassified(predictions, 0, "spread")) == 0


def test_titles_say_how_errors_were_chosen():
    assert describe_choice("first", 10) == "the first 10 errors in test order"
    assert describe_choice("confident", 3) == "the 3 most confident errors"
    assert describe_choice("spread", 10) == "10 errors spread over the true classes"


def test_the_others_are_correct(predictions):
    assert correctly_classified(predictions).indices.tolist() == [0, 2]
    assert correctly_classified(predictions, 1, "confident").indices.tolist() == [2]


def test_fewer_errors_than_asked_for(predictions):
    assert len(misclassified(predictions, 10)) == 3
    none = misclassified(predictions.select(np.array([0, 2])), 10)
    assert len(none) == 0
    assert none.confidence.shape == none.predicted.shape == (0,)


def test_wrong_arguments_are_named(predictions):
    with pytest.raises(ValueError, match="order is 'random', expected 'first', 'confident', 'spr"):
        misclassified(predictions, order="random")
    with pytest.raises(ValueError, match="count is -1"):
        misclassified(predictions, -1)


def test_confusions_are_counted_by_true_and_predicted_class(predictions):
    assert confusion_matrix(predictions).tolist() == [[1, 1, 0], [2, 0, 0], [0, 0, 1]]
    assert class_accuracy(predictions).tolist() == [50, 0, 100]


def test_a_class_without_images_has_no_accuracy(predictions):
    accuracy = class_accuracy(predictions.select(np.array([0, 1])))
    assert accuracy[:2].tolist() == [100, 0]
    assert np.isnan(accuracy[2])
    assert confusion_matrix(predictions.select(np.array([0, 1]))).shape == (3, 3)


def test_predictions_agree_with_the_test_line(few, tiny):
    predictions = predict(tiny, few)
    assert predictions.indices.tolist() == list(range(50))
    assert np.array_equal(predictions.images, few.test_images)
    correct = (predictions.predicted == few.test_labels).sum()
    assert correct == evaluate(tiny, few).correct
    assert len(misclassified(predictions)) == 50 - correct
