"""Train with several settings or seeds, one after another, and print the accuracies.

    python benchmarks/trials.py seed=1 seed=2 seed=3
    python benchmarks/trials.py --held-out 5000 learning_rate=0.1 "cutout=8 label_smoothing=0.2"

Each argument is a run: values for settings of network and recipe, named as by ``python -m
pytorch_vision train --help``. All runs train in one process, on data that is loaded once, and draw
no plots: on a fast GPU, a run's start and plots take as long as its training. To choose settings,
hold out training images; use the test images only for the chosen settings.
"""

import argparse
import contextlib
import io
import statistics
import sys
import time

from pytorch_vision.app.settings import FIELDS, Settings
from pytorch_vision.data import Augmentation, ImageData, load_data
from pytorch_vision.models import History
from pytorch_vision.runtime.checks import declared
from pytorch_vision.training import TrainConfig, fit

OF_A_TRIAL = (
    "model",
    "conv_padding",
    "filters",
    "recipe",
    *declared(TrainConfig),
    *declared(Augmentation),
)
NAMES = [name for name in FIELDS if name in OF_A_TRIAL]  # others are those of the data


def settings_of(trial: str) -> Settings:
    """Return a run's settings, given as "name=value name=value"."""
    values = dict(pair.split("=", 1) for pair in trial.split())
    if unknown := sorted(values.keys() - set(NAMES)):
        raise ValueError(f"{unknown[0]} is not a setting of a trial; these are: {', '.join(NAMES)}")
    return Settings.of(**values)


def train(settings: Settings, data: ImageData) -> History:
    """Train as the command line does, without printing."""
    with contextlib.redirect_stdout(io.StringIO()):
        return fit(settings.classifier(data), data, settings.config, settings.machine)


def main(data: ImageData, trials: list[str]) -> list[float]:
    """Print the results of each run; return the accuracies."""
    chosen, accuracies = [settings_of(trial) for trial in trials], []
    for trial, settings in zip(trials, chosen, strict=True):
        start = time.perf_counter()
        try:
            last = train(settings, data).records[-1]
        except (FloatingPointError, MemoryError) as error:
            print(f"{trial}: {error}", flush=True)
            continue
        seconds = time.perf_counter() - start
        accuracies.append(last.test_accuracy)
        print(
            f"{trial}: {last.test_accuracy:.2f} %, loss {last.test_loss:.4f}; in training "
            f"{last.train_accuracy:.2f} %; {last.epoch} epochs, {seconds:.1f} s",
            flush=True,
        )
    return accuracies


def describe(accuracies: list[float]) -> str:
    """Return mean and standard deviation of two runs or more."""
    mean, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
    return f"{mean:.2f} ± {deviation:.2f} %, of {len(accuracies)} runs"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="full")
    parser.add_argument("--held-out", type=int, default=0)
    parser.add_argument("trials", nargs="+", metavar="TRIAL")
    options = parser.parse_args()
    images = load_data(options.data, held_out=options.held_out)
    print(images)
    finished = main(images, options.trials)
    if len(finished) > 1:
        print(describe(finished))
    sys.exit(len(finished) < len(options.trials))
