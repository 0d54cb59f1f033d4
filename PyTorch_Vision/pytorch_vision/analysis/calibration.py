"""Whether probabilities agree with accuracy, and the temperature that makes them agree.

Chuan Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize
import scipy.special

from pytorch_vision.analysis.predictions import Predictions

BINS = 15  # of confidence, from 0 to 1
TEMPERATURES = (0.05, 20.0)  # the range of the search


@dataclass(frozen=True, eq=False)
class Calibration:
    """Confidence and accuracy in bins of equal width, without the empty ones.

    Attributes:
        confidence: float64 (B,), the mean probability of the predicted class in each bin, in
            [0, 1].
        accuracy: float64 (B,), the share of correctly classified images in each bin, in [0, 1].
        counts: int64 (B,), the number of images in each bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error in [0, 1]: the mean |accuracy - confidence| over images."""
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.counts))


def calibration(predictions: Predictions, bins: int = BINS) -> Calibration:
    """Compare confidence with accuracy, in bins of confidence of equal width.

    Raises:
        ValueError: there is no prediction, or no bin.
    """
    if bins < 1 or not len(predictions):
        raise ValueError(f"{bins} bins of {len(predictions)} predictions, expected 1 or more each")
    confidence = predictions.confidence.astype(np.float64).clip(0, 1)  # rounding can exceed 1
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    counts = np.bincount(bin_of)
    held = counts > 0
    mean, accuracy = (
        np.bincount(bin_of, weights)[held] / counts[held]
        for weights in (confidence, predictions.right)
    )
    return Calibration(mean, accuracy, counts[held])


def temperature(predictions: Predictions) -> float:
    """Return the number that minimises the mean cross-entropy when the logits are divided by it.

    Below 1, the network was underconfident; above 1, overconfident. No predicted class changes,
    only its probability. Do not fit it on the images that you judge the calibration by: use
    held-out images, or ``cross_fitted``.

    Raises:
        ValueError: there is no prediction.
    """
    if not len(predictions):
        raise ValueError("there are no predictions to find a temperature for")

    def loss(logarithm: float) -> float:
        return cross_entropy(predictions, np.exp(logarithm))

    bounds = tuple(np.log(TEMPERATURES))
    return float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x))


def temperature_scaled(predictions: Predictions, temperature: float) -> Predictions:
    """Return the predictions of a network whose logits are divided by a temperature."""
    probabilities = np.exp(log_probabilities(predictions, temperature)).astype(np.float32)
    return replace(predictions, probabilities=probabilities)


def cross_fitted(predictions: Predictions) -> tuple[Predictions, tuple[float, float]]:
    """Scale each half of the predictions by the temperature that was fitted on the other half.

    So no image influences its own temperature, and the calibration can be judged on all images.

    Returns:
        The predictions, and the temperatures of the two halves.

    Raises:
        ValueError: there are fewer than two predictions.
    """
    if len(predictions) < 2:
        raise ValueError(f"there are {len(predictions)} predictions, expected 2 or more")
    order = np.random.default_rng(0).permutation(len(predictions))
    halves = np.array_split(order, 2)
    probabilities = np.empty_like(predictions.probabilities)
    temperatures = []
    for half, other in (halves, halves[::-1]):
        temperatures.append(temperature(predictions.select(other)))
        probabilities[half] = temperature_scaled(
            predictions.select(half), temperatures[-1]
        ).probabilities
    return replace(predictions, probabilities=probabilities), (temperatures[0], temperatures[1])


def describe_scaling(predictions: Predictions) -> str:
    """Say in a sentence how much a temperature improves the calibration (``cross_fitted``)."""
    after, temperatures = cross_fitted(predictions)
    before_error, after_error = (100 * calibration(p).error for p in (predictions, after))
    return (
        f"Expected calibration error {before_error:.1f} %; {after_error:.1f} % with the logits "
        f"divided by {np.mean(temperatures):.2f}, the mean of two temperatures: each half of the "
        f"{predictions.kind}s has the one that is best for the other half."
    )


def cross_entropy(predictions: Predictions, temperature: float = 1.0) -> float:
    """Return the mean cross-entropy over the images, at a temperature."""
    logarithms = log_probabilities(predictions, temperature)
    return -float(logarithms[np.arange(len(predictions)), predictions.labels].mean())


def log_probabilities(predictions: Predictions, temperature: float = 1.0) -> np.ndarray:
    """Return the log-probabilities at a temperature: float64 (N, C)."""
    # keeps the logarithm finite where float32 rounded a probability to 0
    smallest = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(predictions.probabilities.astype(np.float64), smallest))
    return scipy.special.log_softmax(logits / temperature, axis=1)
