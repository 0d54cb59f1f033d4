from dataclasses import replace

import numpy as np
import pytest
import scipy.special
from answers import made_up

from pytorch_vision.analysis import Predictions, calibration, cross_fitted, temperature
from pytorch_vision.analysis.calibration import describe_scaling, temperature_scaled


def predictions_at(heat: float, count: int = 4000, seed: int = 0) -> Predictions:
    """Return predictions of three classes whose true logits were divided by ``heat``."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2, size=(count, 3))
    honest = scipy.special.softmax(logits, axis=1)
    labels = (honest.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    return made_up(labels, scipy.special.softmax(logits / heat, axis=1), size=(1, 1))


def test_calibration_by_hand(predictions):
    """Of 4 bins, (0.5, 0.75] holds 0.6 and 0.7, both wrong; the last 0.8 and twice 0.9, two right.

    The others are empty.
    """
    measured = calibration(predictions, bins=4)
    assert measured.counts.tolist() == [2, 3]
    assert measured.accuracy == pytest.approx([0, 2 / 3])
    assert measured.confidence == pytest.approx([0.65, 2.6 / 3])
    assert measured.error == pytest.approx((2 * 0.65 + 3 * 0.2) / 5)


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.0])
def test_temperature_finds_the_factor_of_the_logits(heat):
    assert temperature(predictions_at(heat)) == pytest.approx(1 / heat, rel=0.06)


def test_a_temperature_changes_probabilities_and_no_answer():
    predictions = predictions_at(2.0)
    hotter = temperature_scaled(predictions, 0.5)
    assert np.array_equal(hotter.predicted, predictions.predicted)
    np.testing.assert_allclose(hotter.probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(hotter.probabilities, predictions_at(1.0).probabilities, atol=1e-5)
    np.testing.assert_allclose(
        temperature_scaled(predictions, 1.0).probabilities, predictions.probabilities
    )


def test_probabilities_of_0_stay_finite():
    predictions = predictions_at(0.01)
    assert (predictions.probabilities == 0).any()
    assert np.isfinite(temperature_scaled(predictions, 0.5).probabilities).all()
    assert np.isfinite(temperature(predictions))


def test_each_half_is_calibrated_without_looking_at_itself():
    predictions = predictions_at(2.0)
    after, temperatures = cross_fitted(predictions)
    assert temperatures == pytest.approx((0.5, 0.5), rel=0.1)
    assert temperatures[0] != temperatures[1]
    assert calibration(after).error < 0.03 < 0.1 < calibration(predictions).error
    # labels of one half are nothing to the other half's temperature
    half = np.random.default_rng(0).permutation(4000)[:2000]
    wrong = predictions.labels.copy()
    wrong[half] = 0
    changed, _ = cross_fitted(replace(predictions, labels=wrong))
    assert np.array_equal(changed.probabilities[half], after.probabilities[half])
    assert not np.array_equal(changed.probabilities, after.probabilities)


def test_the_sentence_has_both_errors_and_the_temperature():
    predictions = predictions_at(2.0)
    both = predictions, cross_fitted(predictions)[0]
    before, after = (100 * calibration(one).error for one in both)
    sentence = describe_scaling(predictions)
    assert f"error {before:.1f} %; {after:.1f} % with the logits" in sentence
    assert "divided by 0.5" in sentence or "divided by 0.49" in sentence
    assert sentence.endswith(
        "each half of the test images has the one that is best for the other half."
    )


def test_too_few_predictions_are_named(predictions):
    none, one = (predictions.select(np.arange(count)) for count in (0, 1))
    with pytest.raises(ValueError, match="15 bins of 0 predictions, expected 1 or more each"):
        calibration(none)
    with pytest.raises(ValueError, match="no predictions to find a temperature for"):
        temperature(none)
    with pytest.raises(ValueError, match="there are 1 predictions, expected 2 or more"):
        cross_fitted(one)
