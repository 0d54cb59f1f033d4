"""The command line: train, evaluate, explain, report and find-lr."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
from matplotlib.figure import Figure

from pytorch_vision import __version__
from pytorch_vision.analysis import (
    Predictions,
    correctly_classified,
    cross_fitted,
    describe_choice,
    galleries,
    grad_cam,
    misclassified,
    plots,
    predict,
    write_report,
)
from pytorch_vision.data import DataError, ImageData, read_image
from pytorch_vision.models import Classifier, print_summary
from pytorch_vision.runtime import (
    CheckpointError,
    Processes,
    ProcessLostError,
    start_processes,
)
from pytorch_vision.runtime.interrupts import ended_by_signals
from pytorch_vision.runtime.processes import is_main_process, only_main_prints
from pytorch_vision.settings import FIELDS, Settings
from pytorch_vision.training import Output, evaluate, find_learning_rate, train_into

EXPECTED_ERRORS = (
    ValueError,  # a setting, an image or a weights file that does not fit
    FloatingPointError,
    DataError,
    CheckpointError,
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status.

    0, or 1 after an error in one message, or 128 and a signal's number after it: 130 after
    Ctrl-C. Of several processes, the first reports what goes for all of them.
    """
    options = vars(make_parser().parse_args(arguments))
    command, image = options.pop("command"), options.pop("image", None)
    main_process = is_main_process()
    if not main_process and command != "train":  # the others are one process's work
        return 0
    try:
        with ended_by_signals(), only_main_prints(0 if main_process else 1):
            chosen = {name: value for name, value in options.items() if value is not None}
            settings = Settings.of(**chosen)
            if image is not None:
                explain_image(settings, image)
            else:
                COMMANDS[command](settings)
    except (ProcessLostError, MemoryError, OSError) as error:  # of one process, maybe
        return _report(f"error: {error}", 1)
    except EXPECTED_ERRORS as error:
        return _report(f"error: {error}", 1) if main_process else 0
    except KeyboardInterrupt as interrupt:
        return _report(str(interrupt) or "Interrupted.", 130) if main_process else 0
    return 0


def _report(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def train(settings: Settings) -> None:
    """Train, draw what was learned, and keep the weights."""
    processes = Processes(start_processes(settings.machine))
    data = processes.local_main_first(settings.load_data)
    classifier = settings.classifier(data)
    print_summary(classifier)
    folder = settings.output or f"runs/{settings.name}"
    output = processes.on_main(lambda: Output.prepare(folder))
    config = settings.config
    written = train_into(
        output, classifier, data, config, settings.machine, settings.checkpoints or None
    )
    if not processes.is_main or not config.epochs:
        return
    print(f"Weights in {written.weights}")
    if written is not output:
        raise KeyboardInterrupt(f"Interrupted: what there is of it is in {written.folder}")
    curves = plots.loss_and_accuracy(classifier.history, classifier.description)
    curves.savefig(output.plots / "loss_accuracy.png")
    _draw_errors(classifier, data, output.plots, settings)


def find_lr(settings: Settings) -> None:
    """Find a learning rate by a range test: a short training in which it rises."""
    data = settings.load_data()
    classifier, config = settings.classifier(data), settings.config
    output = Output.prepare(settings.output or f"runs/{settings.name}")
    test = find_learning_rate(classifier, data, config, settings.machine)
    path = output.plots / f"lr_finder_{test.rate}.png"
    plots.lr_finder(test, classifier.description).savefig(path)
    found = f"--{test.rate.replace('_', '-')} {test.suggestion:.2g}"
    if test.rate == "muon_learning_rate":
        ratio = config.peak_learning_rate / config.muon_learning_rate
        found += f" --learning-rate {test.suggestion * ratio:.2g}"
    print(f"The loss is smallest at {found}")
    print(f"Picture in {path}")


def evaluate_weights(settings: Settings) -> None:
    """Print the loss and the accuracy of given weights on the test images."""
    classifier, data = _restore(settings)
    print(evaluate(classifier, data, settings.machine))


def explain(settings: Settings) -> None:
    """Draw what given weights get wrong, and where they looked; or explain one image file."""
    classifier, data = _restore(settings)
    _draw_errors(classifier, data, _output(settings).plots, settings)


def explain_image(settings: Settings, image_path: str) -> None:
    """Print and draw what given weights see in one image file."""
    classifier = settings.load_weights()
    image, summary = read_image(image_path, classifier.size, classifier.resize)
    output = _output(settings)
    print(summary)
    probabilities = classifier.predict(image[None], settings.machine)[0]
    likely = probabilities.argsort()[::-1][:3]
    captions = [f"{classifier.class_names[label]} ({probabilities[label]:.1%})" for label in likely]
    print(f"{classifier}: {', '.join(captions)}")
    maps = grad_cam(classifier, image[None].repeat(len(likely), 0), likely)
    path = output.plots / f"{Path(image_path).stem}_gradcam.png"
    galleries.explanation(image, maps, captions, Path(image_path).name).savefig(path)
    print(f"Picture in {path}")


def report(settings: Settings) -> None:
    """Write a page of all the errors of given weights, to look through in a browser."""
    classifier, data = _restore(settings)
    output = _output(settings)
    predictions = predict(classifier, data, settings.machine)
    write_report(classifier, predictions, output.page, machine=settings.machine)
    print(f"{len(misclassified(predictions)):,} errors in {output.page}")


def _restore(settings: Settings) -> tuple[Classifier, ImageData]:
    """Load weights, and test data made ready as their training data was."""
    classifier = settings.load_weights()
    print(f"Weights: {classifier}")
    data = settings.load_data(classifier)
    classifier.check(data)
    return classifier, data


def _draw_errors(classifier: Classifier, data: ImageData, folder: Path, settings: Settings) -> None:
    predictions = predict(classifier, data, settings.machine)
    for name, figure in _error_figures(classifier, predictions, settings):
        figure.savefig(folder / f"{name}.png")
    print(f"Pictures in {folder}")


def _error_figures(
    classifier: Classifier, predictions: Predictions, settings: Settings
) -> Iterator[tuple[str, Figure]]:
    """Yield each picture with its name; Grad-CAM's come last, as not every network has a map."""
    order, title = settings.order, classifier.description
    errors = misclassified(predictions, settings.count, order)
    right = correctly_classified(predictions, settings.count, order)
    chosen = f"{title}: {describe_choice(order, len(errors))}"
    chosen_right = f"{title}: {describe_choice(order, len(right), 'correct answers')}"
    scaled = cross_fitted(predictions)[0] if len(predictions) > 1 else None
    yield "misclassified", galleries.gallery(errors, chosen)
    yield "confusion_matrix", plots.confusion_matrix(predictions, title)
    yield "class_accuracy", plots.class_accuracy(predictions, title)
    yield "reliability", plots.reliability(predictions, title, scaled)
    both = np.stack([errors.predicted, errors.labels])
    predicted, true = grad_cam(classifier, errors.images, both)
    yield "misclassified_gradcam", galleries.gradcam_gallery(errors, predicted, true, chosen)
    of_right = grad_cam(classifier, right.images, right.predicted)
    yield "correct_gradcam", galleries.gradcam_gallery(right, of_right, title=chosen_right)


def _output(settings: Settings) -> Output:
    """Return the folder that was asked for, or that of the weights."""
    if not settings.output and settings.weights == "pretrained":
        return Output.prepare("runs/pretrained")
    return Output.prepare(settings.output or Path(settings.weights).parent)


COMMANDS: dict[str, Callable[[Settings], None]] = {
    "train": train,
    "evaluate": evaluate_weights,
    "explain": explain,
    "report": report,
    "find-lr": find_lr,
}
IMAGES = ("data", "root", "size", "resize", "held_out")
NETWORK = ("model", "conv_padding", "weights")
MACHINE = ("accelerator", "devices", "precision")
OTHERS = {*IMAGES, *NETWORK, *MACHINE, "checkpoints", "keep_on_drive", "order", "count", "output"}
RECIPE = tuple(name for name in FIELDS if name not in OTHERS)
# which settings each command has
OPTIONS = {
    "train": (*IMAGES, *NETWORK, *RECIPE, *MACHINE, "checkpoints", "output", "order", "count"),
    "evaluate": (*IMAGES, *NETWORK, *MACHINE),
    "explain": (*IMAGES, *NETWORK, *MACHINE, "output", "order", "count"),
    "report": (*IMAGES, *NETWORK, *MACHINE, "output"),
    "find-lr": (*IMAGES, *NETWORK, *RECIPE, *MACHINE, "output"),
}
# for those that need weights: all of the test set, and the weights that come with the library
OF_WEIGHTS = {"data": "full", "weights": "pretrained"}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; ``Settings`` checks the values."""
    parser = argparse.ArgumentParser(
        "python -m pytorch_vision", description="The notebook's job from a shell."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, dest="command")
    for command, names in OPTIONS.items():
        text = COMMANDS[command].__doc__
        added = commands.add_parser(command, help=text, description=text)
        defaults = OF_WEIGHTS if command in ("evaluate", "explain", "report") else {}
        for name in names:
            _add(added, name, defaults.get(name))
        if command == "explain":
            added.add_argument("--image", help="explain this image file instead of the test errors")
    return parser


def _add(parser: argparse.ArgumentParser, name: str, default: str | None) -> None:
    """Add the option of one setting, its sentence and its default in its help."""
    field = FIELDS[name]
    usual = default or field.get_default(call_default_factory=True)
    shown = "none" if usual in ("", None) else usual
    text = f"{field.description} (default: {shown})".replace("%", "%%")
    choices = _choices(field.annotation)
    parser.add_argument(
        f"--{name.replace('_', '-')}",
        default=default,
        metavar=f"{{{','.join(choices)}}}" if choices else None,
        help=text,
    )


def _choices(annotation: Any) -> tuple[str, ...]:
    """Return the values that a type names, if it names all of them."""
    parts = [one for one in get_args(annotation) if one is not type(None)]
    if not parts or get_origin(annotation) is None:
        return ()
    if all(isinstance(one, str) for one in parts):
        return tuple(parts)
    return _choices(parts[0]) if len(parts) == 1 else ()
