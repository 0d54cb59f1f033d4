"""Runs with other settings or other seeds, one after another, by their accuracy.

    python benchmarks/trials.py seed=1 seed=2 seed=3
    python benchmarks/trials.py --held-out 5000 muon_rate=0.08 "muon_rate=0.12 label_smoothing=0.2"

Each argument is a run, with the network and the values of its recipe, by the names that
``python -m pytorch_vision train --help`` has for them. All of them train in one process, on data
that is loaded once, and draw nothing: on a fast GPU the start and the pictures of a run take as
long as its training. To choose settings, hold out training images; the test images are for the
runs of what was chosen.
"""

import argparse
import contextlib
import io
import statistics
import sys
import time
from dataclasses import fields

from pytorch_vision.data import ImageData, load_data
from pytorch_vision.options import RECIPE
from pytorch_vision.settings import Settings, parsed
from pytorch_vision.training import History, fit


def settings_of(told: str) -> Settings:
    """Return the settings of a run, told as "name=value name=value"."""
    names = ("model", "geometry", *RECIPE)  # the data is loaded before
    known = {one.name: one for one in fields(Settings) if one.name in names}
    values = dict(pair.split("=", 1) for pair in told.split())
    if unknown := sorted(values.keys() - known.keys()):
        raise ValueError(f"{unknown[0]} is not a setting of a trial; these are: {', '.join(known)}")
    return Settings(**{name: parsed(known[name], value, name) for name, value in values.items()})


def train(settings: Settings, data: ImageData) -> History:
    """Train as the command line does, but say nothing."""
    model = settings.create_model(len(data.class_names))
    with contextlib.redirect_stdout(io.StringIO()):
        return fit(model, data, settings.train_config(len(data.train_labels)))


def main(data: ImageData, trials: list[str]) -> list[float]:
    """Print what came of each run; return the accuracies."""
    chosen, accuracies = [settings_of(told) for told in trials], []
    for told, settings in zip(trials, chosen, strict=True):
        start = time.perf_counter()
        try:
            last = train(settings, data).records[-1]
        except (FloatingPointError, MemoryError) as error:
            print(f"{told}: {error}", flush=True)
            continue
        seconds = time.perf_counter() - start
        accuracies.append(last.test_accuracy)
        print(
            f"{told}: {last.test_accuracy:.2f} %, loss {last.test_loss:.4f}; in training "
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
    found = main(images, options.trials)
    if len(found) > 1:
        print(describe(found))
    sys.exit(len(found) < len(options.trials))
