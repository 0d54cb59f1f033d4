"""The command line: look at data, train, evaluate, explain, predict, compare and export."""

import argparse
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pytorch_vision import __version__
from pytorch_vision.analysis import (
    Explainer,
    correctly_classified,
    cross_fitted,
    galleries,
    grad_cam,
    measure,
    misclassified,
    plots,
    predict,
    write_predictions,
    write_report,
)
from pytorch_vision.analysis.metrics import evaluation
from pytorch_vision.app import manifest
from pytorch_vision.app.compare import FinishedRun, compare_runs
from pytorch_vision.app.file_predictions import classify_files, write_file_predictions
from pytorch_vision.app.run_folder import Output
from pytorch_vision.app.settings import FIELDS, Settings
from pytorch_vision.data import DataError, ImageData, find_duplicates, read_image
from pytorch_vision.data.folder_layout import find_files
from pytorch_vision.data.image_files import pictures_of
from pytorch_vision.data.load import is_cifar10, short_data_name
from pytorch_vision.models import Classifier, print_summary
from pytorch_vision.models.classifier import weights_path
from pytorch_vision.models.export import TOLERANCE, check_export, export_onnx
from pytorch_vision.runtime import (
    CheckpointError,
    Processes,
    ProcessLostError,
    start_processes,
)
from pytorch_vision.runtime.files import free_path, user_path
from pytorch_vision.runtime.interrupts import ended_by_signals
from pytorch_vision.runtime.processes import is_main_process, only_main_prints
from pytorch_vision.runtime.terminal import any_screen
from pytorch_vision.runtime.text import counted, shown
from pytorch_vision.training import find_learning_rate, fit

EXPECTED_ERRORS = (
    ValueError,  # a setting, an image or a weights file that does not fit
    FloatingPointError,
    DataError,
    CheckpointError,
    ModuleNotFoundError,  # of what only an export needs
)
MOST_LISTED = 20  # classes
FILE_ENDINGS = (".csv", ".html", ".onnx", ".png", ".safetensors")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status.

    0, or 1 after an error in one message, or 128 and a signal's number after it: 130 after
    Ctrl-C. Of several processes, the first reports what goes for all of them. What cannot be
    printed, on a terminal without its letters or into a pipe that was closed, stops no work.
    """
    with any_screen() as screen:
        status = _run(vars(make_parser().parse_args(arguments)))
    if screen.error is not None and not isinstance(screen.error, BrokenPipeError):
        return _report(f"error: not all could be printed: {screen.error}", status or 1)
    return status


def _run(options: dict[str, Any]) -> int:
    command = options.pop("command")
    files = [*(options.pop("files", None) or ()), *(options.pop("image", None) or ())]
    main_process = is_main_process()
    if not main_process and command != "train":  # the others are one process's work
        return 0
    try:
        with ended_by_signals(), only_main_prints(0 if main_process else 1):
            chosen = {name: value for name, value in options.items() if value is not None}
            if command in OF_WEIGHTS:
                needs_data = command not in ("predict", "export") and not files
                chosen = _known_of_weights(chosen, needs_data)
            settings = Settings.of(**chosen)
            COMMANDS[command](settings, *([files] if command in FILES else []))
    except (ProcessLostError, MemoryError, OSError) as error:  # of one process, maybe
        return _report(f"error: {error or 'there is no memory left'}", 1)
    except EXPECTED_ERRORS as error:
        return _report(f"error: {error}", 1) if main_process else 0
    except KeyboardInterrupt as interrupt:
        return _report(str(interrupt) or "Interrupted.", 130) if main_process else 0
    return 0


def _report(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def _known_of_weights(chosen: dict[str, Any], needs_data: bool) -> dict[str, Any]:
    """Add to given settings those that their weights have by themselves.

    A run's own file says what it was trained on. Other weights are tested on all of CIFAR-10,
    which is refused before it is downloaded if they have other classes.
    """
    chosen = {"weights": "pretrained"} | chosen
    if "data" in chosen:
        return chosen
    made_with = None
    if chosen["weights"] != "pretrained":
        made_with = manifest.read(user_path(chosen["weights"]).parent)
    known = (made_with or {}).get("settings")
    known = known if isinstance(known, dict) else {}
    if _is_there(known.get("data")):
        names = ("data", "root", "held_out")
        return {name: known[name] for name in names if name in known} | chosen
    if isinstance(known.get("data"), str) and needs_data:
        raise ValueError(
            f"{shown(known['data'])}, which {chosen['weights']} was trained on, is not there: name "
            "the folder of pictures, as in --data photographs"
        )
    return {"data": "full"} | chosen


def _is_there(data: Any) -> bool:
    return isinstance(data, str) and (is_cifar10(data) or Path(data).is_dir())


def train(settings: Settings) -> None:
    """Train, draw what was learned, and keep the weights."""
    processes, config = Processes(start_processes(settings.machine)), settings.config
    folder = settings.output or f"runs/{settings.name}"
    processes.on_main(lambda: Output.check(folder))
    data = processes.local_main_first(settings.load_data)
    classifier = settings.classifier(data)
    print_summary(classifier)
    if not config.epochs:
        fit(classifier, data, config, settings.machine)
        return
    output = processes.on_main(lambda: Output.prepare(folder))
    written = settings.train_classifier(classifier, data, output)
    if not processes.is_main:
        return
    print(f"Weights in {written.weights}")
    if written.is_unfinished:
        raise KeyboardInterrupt(f"Interrupted: what there is of it is in {written.folder}")
    curves = plots.training_curves(classifier.history, classifier.description)
    curves.savefig(written.plots / "training_curves.png")
    if reason := _draw_errors(classifier, data, written.plots, settings):
        print(f"No picture of where it looked: {reason}")  # it is trained all the same


def check(settings: Settings) -> None:
    """Print what is in the data, and which images are there twice; with --output, in a table."""
    found = find_duplicates(settings.load_data())
    print(found.describe())
    if settings.output:
        path = user_path(settings.output) / "duplicates.csv"
        found.to_csv(path)
        print(f"Table in {path}")


def find_lr(settings: Settings) -> None:
    """Find a learning rate by a range test: a short training in which it rises."""
    data = settings.load_data()
    classifier = settings.classifier(data)
    output = Output.prepare(settings.output or f"runs/{settings.name}")
    test = find_learning_rate(classifier, data, settings.config, settings.machine)
    path = output.plots / f"lr_finder_{test.rate}.png"
    plots.lr_finder(test, classifier.description).savefig(path)
    found = " ".join(
        f"--{name.replace('_', '-')} {value if isinstance(value, str) else f'{value:.2g}'}"
        for name, value in test.settings.items()
    )
    print(f"The loss is smallest at {found}")
    print(f"Picture in {path}")


def evaluate_weights(settings: Settings) -> None:
    """Print the figures of given weights on the test images, and write them as tables."""
    folder = _output(settings, of_data=True).folder  # shows now if nothing can be written there
    classifier, data = _restore(settings)
    predictions = predict(classifier, data, settings.machine)
    metrics = measure(predictions)
    metrics.to_csv(folder / "metrics.csv")
    write_predictions(predictions, folder / "test_predictions.csv")
    print(metrics, f"Tables in {folder}: metrics.csv, test_predictions.csv", sep="\n")
    print(evaluation(predictions))


def classify(settings: Settings, paths: list[str]) -> None:
    """Write the classes of new pictures, files or folders of them, to a table."""
    folder = _output(settings).folder
    classifier = settings.load_weights()
    print(f"Weights: {classifier}")
    rows = list(classify_files(classifier, paths, settings.machine))
    table = write_file_predictions(rows, folder / "predictions.csv")
    counts = Counter(row.class_name for row in rows if not row.problem)
    if not counts:
        raise ValueError(f"none of {counted(len(rows), 'file')} could be read: {table} says why")
    for name, count in counts.most_common(MOST_LISTED):
        print(f"  {name}: {count:,}")
    if len(counts) > MOST_LISTED:
        print(f"  and {len(counts) - MOST_LISTED:,} other classes")
    problems = len(rows) - counts.total()
    unread = f"; {problems:,} could not be read, and the table says why" if problems else ""
    print(f"{counted(counts.total(), 'picture')} in {table}{unread}")


def explain(settings: Settings, paths: list[str]) -> None:
    """Draw what given weights get wrong, and where they looked; or explain image files."""
    if paths:
        _explain_images(settings, paths)
        return
    output = _output(settings, of_data=True)
    classifier, data = _restore(settings)
    output = Output.prepare(output.folder)
    of_a_run = output.history.exists()  # whose own pictures stay as they are
    folder = output.folder / "explained" if of_a_run else output.plots
    folder.mkdir(exist_ok=True)
    if reason := _draw_errors(classifier, data, folder, settings):
        raise ValueError(reason)


def _explain_images(settings: Settings, paths: list[str]) -> None:
    """Print and draw what given weights see in image files.

    One that cannot be read is told at the end, and costs the others nothing.
    """
    classifier = settings.load_weights()
    weights = weights_path(settings.weights).resolve()
    failed, output = [], None
    files: list[str] = []
    for path in map(user_path, paths):
        found = pictures_of(find_files(path)) if path.is_dir() else [str(path)]
        if not found:
            raise ValueError(f"{path} has no pictures")
        files += found
    explainer = Explainer(classifier)
    for path in map(Path, dict.fromkeys(files)):
        try:
            image, summary = read_image(path, classifier.size, classifier.resize)
        except (ValueError, OSError) as error:
            failed.append(str(error))
            continue
        output = output or Output.prepare(_output(settings).folder)
        print(summary)
        explained = explainer.explain(image, machine=settings.machine)
        print(f"{classifier}: {explained}")
        figure = galleries.explanation(explained, path.name)
        source = f"{path.resolve()} by {weights}"
        drawn = save_picture(figure, output.plots / f"{path.stem[:200]}_gradcam.png", source)
        print(f"Picture in {drawn}")
    if failed:
        raise ValueError("; ".join(failed))


def report(settings: Settings) -> None:
    """Write a page of the errors of given weights, to look through in a browser."""
    output = _output(settings, of_data=True)
    classifier, data = _restore(settings)
    predictions = predict(classifier, data, settings.machine, settings.split)
    page = output.page
    if settings.split == "train":
        page = page.with_name("training_errors.html")
    write_report(classifier, predictions, page, machine=settings.machine)
    print(f"{counted(len(misclassified(predictions)), 'error')} in {page}")


def compare(settings: Settings, folders: list[str]) -> None:
    """Print a table of runs, given by their folders, and draw their curves."""
    runs = [FinishedRun.read(folder) for folder in folders]
    print(compare_runs(runs))
    figure = plots.compare({run.name: run.history for run in runs}, "Runs side by side")
    folder = Path(settings.output or "runs")
    folder.mkdir(parents=True, exist_ok=True)
    source = ", ".join(str(user_path(one).resolve()) for one in folders)
    print(f"Picture in {save_picture(figure, folder / 'comparison.png', source)}")


def export(settings: Settings) -> None:
    """Write given weights as ONNX, for programs without PyTorch."""
    check_export()
    classifier = settings.load_weights()
    print(f"Weights: {classifier}")
    source = hashlib.sha256(weights_path(settings.weights).read_bytes()).hexdigest()
    path = export_onnx(classifier, _output(settings).folder / "model.onnx", source)
    print(
        f"onnxruntime gives the probabilities of PyTorch, to within {TOLERANCE:g}, for any number "
        f"of images; written to {path}"
    )


def _restore(settings: Settings) -> tuple[Classifier, ImageData]:
    """Load weights, and test data made ready as their training data was."""
    classifier = settings.load_weights()
    print(f"Weights: {classifier}")
    data = settings.load_data(classifier)
    classifier.check(data)
    return classifier, data


def _draw_errors(classifier: Classifier, data: ImageData, folder: Path, settings: Settings) -> str:
    """Draw what a classifier gets wrong; return why there are no maps, or nothing."""
    predictions = predict(classifier, data, settings.machine)
    title, reason = classifier.description, ""
    errors = misclassified(predictions, settings.count, settings.order)
    right = correctly_classified(predictions, settings.count, settings.order)
    chosen, chosen_right = f"{title}: {errors.choice}", f"{title}: {right.choice}"
    scaled = cross_fitted(predictions)[0] if len(predictions) > 1 else None
    figures = {
        "misclassified": galleries.gallery(errors, chosen),
        "confusion_matrix": plots.confusion_matrix(predictions, title),
        "class_accuracy": plots.class_accuracy(predictions, title),
        "reliability": plots.reliability(predictions, title, scaled),
    }
    try:
        both = np.stack([errors.predicted, errors.labels])
        predicted, true = grad_cam(classifier, errors.images, both)
        of_right = grad_cam(classifier, right.images, right.predicted)
    except ValueError as error:  # not every network has a map
        reason = str(error)
    else:
        figures |= {
            "misclassified_gradcam": galleries.gradcam_gallery(errors, predicted, true, chosen),
            "correct_gradcam": galleries.gradcam_gallery(right, of_right, title=chosen_right),
        }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    print(f"Pictures in {folder}")
    return reason


def save_picture(figure: Figure, path: Path, source: str) -> Path:
    """Save a picture, and return where; one of another source is not replaced.

    Args:
        figure: what is saved.
        path: of a PNG; of ``cat.png``, the next one is ``cat-2.png``.
        source: what it was made of, which its file keeps.
    """
    source = shown(source)
    free = free_path(path, lambda there: _source(there) == source)
    figure.savefig(free, metadata={"Source": source})
    return free


def _source(path: Path) -> str:
    try:
        with Image.open(path) as picture:
            return str(picture.info.get("Source", ""))
    except (OSError, ValueError):  # no picture: it stays as it is
        return ""


def _output(settings: Settings, of_data: bool = False) -> Output:
    """Return the folder that was asked for, or that of the weights, before anything is made.

    Args:
        settings: name the weights, the output and the data.
        of_data: what is written depends on the data: where these are not the run's own, it goes
            into a folder beside what the run has written.

    Raises:
        OSError: nothing can be written there.
        ValueError: it is the name of a file.
    """
    folder = Path("runs/pretrained")
    if settings.weights != "pretrained":
        folder = user_path(settings.weights).parent
        learned = _data_of(folder)
        if of_data and learned not in (None, _place(settings.data)):
            folder /= f"on-{short_data_name(settings.data)}"
    folder = user_path(settings.output) if settings.output else folder
    if folder.suffix in FILE_ENDINGS and not folder.is_dir():
        raise ValueError(f"output is {str(folder)!r}, expected a folder, such as {folder.stem!r}")
    try:
        Output.check(folder)
    except OSError as error:
        raise OSError(f"{error}; name another folder with --output") from error
    return Output(folder)


def _data_of(folder: Path) -> str | None:
    """Return the data that a run's folder says it was trained on."""
    settings = (manifest.read(folder) or {}).get("settings")
    data = settings.get("data") if isinstance(settings, dict) else None
    return _place(data) if isinstance(data, str) else None


def _place(data: str) -> str:
    return data if is_cifar10(data) else os.path.realpath(user_path(data))


COMMANDS: dict[str, Callable[..., None]] = {
    "check": check,
    "train": train,
    "evaluate": evaluate_weights,
    "predict": classify,
    "explain": explain,
    "report": report,
    "compare": compare,
    "export": export,
    "find-lr": find_lr,
}
IMAGES = ("data", "root", "size", "resize", "held_out")
NETWORK = ("model", "conv_padding", "weights")
MACHINE = ("accelerator", "devices", "precision")
WRITTEN = ("output", "overwrite")
LOOKED_AT = ("order", "count", "split")
OTHERS = {*IMAGES, *NETWORK, *MACHINE, *WRITTEN, *LOOKED_AT, "checkpoints", "keep_on_drive"}
RECIPE = tuple(name for name in FIELDS if name not in OTHERS)
# which settings each command has
OPTIONS = {
    "check": (*IMAGES, "output"),
    "train": (*IMAGES, *NETWORK, *RECIPE, *MACHINE, "checkpoints", *WRITTEN, "order", "count"),
    "evaluate": (*IMAGES, *NETWORK, *MACHINE, "output"),
    "predict": (*NETWORK, *MACHINE, "output"),
    "explain": (*IMAGES, *NETWORK, *MACHINE, "output", "order", "count"),
    "report": (*IMAGES, *NETWORK, *MACHINE, "output", "split"),
    "compare": ("output",),
    "export": (*NETWORK, "output"),
    "find-lr": (*IMAGES, *NETWORK, *RECIPE, *MACHINE, "output"),
}
# those that need weights, and what of their settings is not as in training
OF_WEIGHTS = ("evaluate", "predict", "explain", "report", "export")
USUAL = {"data": "what the weights were trained on", "weights": "pretrained"}


# those that are told files or folders by their names alone: what they are, and how many
FILES = {
    "predict": ("a picture, or a folder of them at any depth", "+"),
    "explain": ("an image file, or a folder, to explain instead of the test errors", "*"),
    "compare": ("the folder of a run", "+"),
}


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
        usual = USUAL if command in OF_WEIGHTS else {}
        for name in names:
            _add(added, name, usual.get(name))
        if command in FILES:
            text, count = FILES[command]
            added.add_argument("files", nargs=count, metavar="FILE", help=text)
        if command == "explain":
            added.add_argument("--image", action="append", help="the same as FILE")
    return parser


def _add(parser: argparse.ArgumentParser, name: str, usual: str | None) -> None:
    """Add the option of one setting, its sentence and its usual value in its help."""
    field = FIELDS[name]
    usual = usual or field.get_default(call_default_factory=True)
    shown = "none" if usual in ("", None) else usual
    text = f"{field.description} (default: {shown})".replace("%", "%%")
    choices = _choices(field.annotation)
    parser.add_argument(
        f"--{name.replace('_', '-')}",
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
