from dataclasses import replace

import numpy as np
import pytest
from answers import answered

from pytorch_vision.analysis.predictions import (
    Predictions,
    confusion_matrix,
    correctly_classified,
    largest_confusions,
    misclassified,
    predict,
)


def test_errors_come_with_all_that_belongs_to_them(predictions):
    errors = misclassified(predictions)
    assert errors.labels.tolist() == [1, 0, 1]
    assert errors.predicted.tolist() == [0, 1, 0]
    assert errors.confidence == pytest.approx([0.6, 0.9, 0.7])
    assert np.array_equal(errors.images, predictions.images[[1, 3, 4]])


@pytest.mark.parametrize(
    ("count", "order", "indices"),
    [
        (None, "auto", [1, 3, 4]),
        (2, "confident", [3, 4]),
        (2, "spread", [1, 3]),  # of two classes
        (3, "spread", [1, 3, 4]),
        (None, "spread", [1, 3, 4]),
        (0, "spread", []),
        (10, "auto", [1, 3, 4]),
    ],
)
def test_errors_are_chosen_by_count_and_order(predictions, count, order, indices):
    assert misclassified(predictions, count, order).indices.tolist() == indices


def in_runs(*errors_of: int) -> Predictions:
    """Return 60 images in a folder's order; of each class, ``errors_of`` are misclassified."""
    labels = np.repeat([0, 1, 2], 20)
    wrong = np.concatenate([np.arange(20) < count for count in errors_of])
    return answered(labels, (labels + wrong) % 3)


def test_auto_order_is_spread_over_the_classes_of_a_folder():
    folder = in_runs(18, 4, 1)
    errors, correct = misclassified(folder, 10), correctly_classified(folder, 10)
    assert np.bincount(errors.labels).tolist() == [5, 4, 1]
    assert np.bincount(correct.labels).tolist() == [2, 4, 4]
    last_class_first = misclassified(folder.select(np.arange(60)[::-1]), 10)
    assert errors.choice == last_class_first.choice == "10 errors spread over the true classes"
    assert errors.indices.tolist() == sorted(errors.indices)
    assert errors.indices.tolist()[:5] != [0, 1, 2, 3, 4]  # nor the first files of a class
    assert np.array_equal(misclassified(folder, 10).indices, errors.indices)  # the same each time
    many = replace(folder, class_names=tuple(map(str, range(100))), labels=np.arange(60) + 20)
    assert misclassified(many, 5).labels.max() > 30  # nor the first classes by name


def test_auto_order_is_first_in_random_order():
    shuffled = in_runs(18, 4, 1).select(np.random.default_rng(0).permutation(60))
    errors = misclassified(shuffled, 10)
    assert np.array_equal(errors.indices, misclassified(shuffled, 10, "first").indices)
    assert errors.choice == "the first 10 errors in test order"
    assert correctly_classified(shuffled, 3).choice == "the first 3 correct answers in test order"
    assert misclassified(shuffled, 3, "confident").choice == "the 3 most confident errors"


def test_confusions_come_largest_first():
    found = largest_confusions(in_runs(3, 5, 0))
    assert [(one.true, one.predicted, one.count, one.share) for one in found] == [
        (1, 2, 5, 0.25),
        (0, 1, 3, 0.15),
    ]
    assert largest_confusions(in_runs(0, 0, 0)) == []


def test_images_are_called_by_their_files(predictions):
    assert predictions.names[3] == "test image 3"
    named = replace(predictions, files=("a/1.png", "b/2.png", None, "a/4.png", "b/5.png"))
    assert misclassified(named).names == ["b/2.png", "a/4.png", "b/5.png"]
    assert named.names[2] == "test image 2"
    assert replace(predictions, split="train").names[0] == "training image 0"


def test_the_training_images_can_be_asked_for(few, tiny):
    files = tuple(f"{number}.png" for number in range(100))
    predictions = predict(tiny, replace(few, train_files=files), split="train")
    assert np.array_equal(predictions.labels, few.train_labels)
    assert predictions.names == list(files)
    with pytest.raises(ValueError, match="split is 'valid', expected 'test', 'train'"):
        predict(tiny, few, split="valid")
    alone = replace(few, test_images=few.test_images[:0], test_labels=few.test_labels[:0])
    with pytest.raises(ValueError, match="has no test images: test on another folder of pict"):
        predict(tiny, alone)


def test_correct_answers(predictions):
    assert correctly_classified(predictions).indices.tolist() == [0, 2]
    assert correctly_classified(predictions, 1, "confident").indices.tolist() == [2]
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
    some = predictions.select(np.array([0, 1]))  # no image of the last class
    assert confusion_matrix(some).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_the_test_images_are_predicted_in_order(few, tiny):
    predictions = predict(tiny, few)
    assert predictions.indices.tolist() == list(range(50))
    assert np.array_equal(predictions.images, few.test_images)
    assert np.array_equal(predictions.probabilities, tiny.predict(few.test_images))
