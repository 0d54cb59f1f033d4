"""The command line's commands: look at data, train, evaluate, explain, predict, serve, export."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pytorch_vision.analysis import (
    Explainer,
    correctly_classified,
    cross_fitted,
    galleries,
    measure,
    misclassified,
    plots,
    predict,
    write_predictions,
    write_report,
)
from pytorch_vision.analysis.metrics import evaluation
from pytorch_vision.app.command_line import FILES, OF_WEIGHTS, OWN_OF, SETTINGS, flag, parse
from pytorch_vision.app.compare import FinishedRun, compare_runs, read_runs, write_comparison
from pytorch_vision.app.file_predictions import (
    classify_files,
    files_of,
    write_file_predictions,
    write_submission,
)
from pytorch_vision.app.run_folder import RunFolder, short_name
from pytorch_vision.app.settings import FIELDS, Settings
from pytorch_vision.data import DataError, ImageData, find_duplicates
from pytorch_vision.data.image_cache import empty_cache
from pytorch_vision.data.load import is_cifar10, short_data_name
from pytorch_vision.explain import NoMapError
from pytorch_vision.models import Classifier, print_summary
from pytorch_vision.models.classifier import weights_path
from pytorch_vision.models.export import TOLERANCE, check_export, export_onnx
from pytorch_vision.runtime import (
    CheckpointError,
    Processes,
    ProcessLostError,
    start_processes,
)
from pytorch_vision.runtime.checks import whole_number
from pytorch_vision.runtime.files import check_writable, free_path, user_path
from pytorch_vision.runtime.interrupts import ended_by_signals
from pytorch_vision.runtime.processes import is_main_process, only_main_prints
from pytorch_vision.runtime.terminal import any_screen
from pytorch_vision.runtime.text import counted, describe_os_error, shown
from pytorch_vision.training import find_learning_rate, fit

EXPECTED_ERRORS = (
    ValueError,  # a setting, an image or a weights file that does not fit
    FloatingPointError,
    DataError,
    CheckpointError,
    ModuleNotFoundError,  # a package that an export or a page needs
)
WRITE_AT_THE_END = {"check", "predict", "report", "find-lr", "export"}
MOST_LISTED = 20  # classes
FILE_ENDINGS = (".csv", ".html", ".onnx", ".png", ".safetensors")


def main(arguments: list[str] | None = None) -> int:
    """Parse a command line, run it, and return the exit status; see ``run``."""
    return run(parse(arguments))


def run(options: dict[str, Any]) -> int:
    """Run one command and return the exit status.

    The status is 0, or 1 after an error, which is printed in one message, or 128 plus the number
    of the signal: 130 after Ctrl-C. Errors that occur in all processes are printed by the first.
    Output that cannot be printed, because the terminal cannot encode it or the pipe is closed,
    does not stop the work.
    """
    with any_screen() as screen:
        message, status = _run(options)
        if message:
            print(message, file=sys.stderr)
    if screen.error is not None and not isinstance(screen.error, BrokenPipeError):
        print(f"error: some output could not be printed: {screen.error}", file=sys.stderr)
        return status or 1
    return status


def _run(options: dict[str, Any]) -> tuple[str, int]:
    """Run one command; return an error message, or an empty string, and the exit status."""
    command, is_main = options["command"], is_main_process()
    if not is_main and command != "train":  # only training uses several processes
        return "", 0
    try:
        with ended_by_signals(), only_main_prints(0 if is_main else 1):
            _call(command, options)
    except OSError as error:  # this and the next can happen in one process alone
        return f"error: {describe_os_error(error)}", 1
    except (MemoryError, ProcessLostError) as error:
        return f"error: {str(error) or 'there is no memory left'}", 1
    except EXPECTED_ERRORS as error:
        return (f"error: {error}", 1) if is_main else ("", 0)
    except KeyboardInterrupt as interrupt:
        lost = ": no results were written" if command in WRITE_AT_THE_END else ""
        return (str(interrupt) or f"Interrupted{lost}.", 130) if is_main else ("", 0)
    return "", 0


def _call(command: str, options: dict[str, Any]) -> None:
    """Call a command with its settings and its own options."""
    values = {name: options[name] for name in FIELDS if options.get(name) is not None}
    if command == "train":
        _train_each_seed(values)
        return
    given: dict[str, Any] = {name: options[name] for name in OWN_OF.get(command, ())}
    if command in FILES:
        given["files"] = [*options["files"], *(options.get("image") or ())]
    if command in OF_WEIGHTS:
        if command == "predict":
            given["weights"] = values.get("weights", ["pretrained"])
            values["weights"] = given["weights"][0]
        needs_data = "data" in SETTINGS[command] and not given.get("files")
        values = _with_data_of_weights({"weights": "pretrained"} | values, needs_data)
    COMMANDS[command](Settings.of(**values), **given)


def _with_data_of_weights(values: dict[str, Any], needs_data: bool) -> dict[str, Any]:
    """Add the data that the weights were trained on, unless the data is given.

    Their run's manifest names it. Other weights are tested on all of CIFAR-10; if their classes
    differ, they are refused before the download.
    """
    known: Mapping[str, Any] = {}
    if "data" not in values and values["weights"] != "pretrained":
        known = RunFolder(user_path(values["weights"]).parent).settings
    data = known.get("data")
    if isinstance(data, str) and (is_cifar10(data) or Path(data).is_dir()):
        names = ["data", "root", "labels", "held_out"]
        names += [] if is_cifar10(data) else ["held_out_share"]
        return {name: known[name] for name in names if name in known} | values
    if isinstance(data, str) and needs_data:
        raise ValueError(
            f"{shown(data)}, on which {values['weights']} was trained, does not exist: name the "
            "folder of pictures, as in --data photographs"
        )
    return {"data": "full"} | values


def _train_each_seed(values: dict[str, Any]) -> None:
    """Train once, or once for each seed, each in its own folder and with its own checkpoints."""
    seeds = dict.fromkeys(values.pop("seed", [FIELDS["seed"].default]))
    runs = [Settings.of(**values, seed=seed) for seed in seeds]
    for settings in runs:  # only once all of them are known to be valid
        if len(runs) > 1:
            folder = Path(settings.folder) / f"seed-{settings.config.seed}"
            kept = settings.checkpoints and str(Path(settings.checkpoints, folder.name))
            settings = replace(settings, output=str(folder), checkpoints=kept)
        train(settings)


def train(settings: Settings) -> None:
    """Train, draw the results, and save the weights."""
    processes, config = Processes(start_processes(settings.machine)), settings.config
    folder = settings.folder
    processes.on_main(lambda: check_writable(folder))
    data = processes.local_main_first(settings.load_data)
    classifier = settings.classifier(data)
    print_summary(classifier)
    if not config.epochs:
        fit(classifier, data, config, settings.machine)
        return
    output = processes.on_main(lambda: RunFolder.prepare(folder))
    _, written = settings.train(data, output, classifier=classifier)
    if not processes.is_main:
        return
    print(f"Weights in {written.weights}")
    if len(classifier.history.records) < config.epochs:
        raise KeyboardInterrupt(f"Interrupted: the unfinished run is in {written.folder}")
    curves = plots.training_curves(classifier.history, classifier.description, config)
    written.keep(curves, "training_curves")
    if not len(data.test_labels):
        print("No plots of errors: there are no test images")
    elif reason := _draw_errors(classifier, data, written.plots, settings):
        print(f"No Grad-CAM plots: {reason}")  # no error, as the training succeeded


def check(settings: Settings) -> None:
    """Print what is in the data, and which images are duplicates; with an output, as a table."""
    if settings.output:
        check_writable(settings.output)
    found = find_duplicates(settings.load_data())
    print(found.describe())
    if settings.output:
        path = RunFolder(user_path(settings.output)).duplicates
        found.to_csv(path)
        print(f"Table in {path}")


def find_lr(settings: Settings) -> None:
    """Find a learning rate by a range test: a short training in which the rate rises."""
    data = settings.load_data()
    classifier = settings.classifier(data)
    output = RunFolder(user_path(settings.folder))
    check_writable(output.plots)
    test = find_learning_rate(classifier, data, settings.config, settings.machine)
    name = f"lr_finder_{test.rate}"
    output.keep(plots.lr_finder(test, classifier.description), name)
    found = " ".join(
        f"{flag(name)} {value if isinstance(value, str) else f'{value:.2g}'}"
        for name, value in test.settings.items()
    )
    print(f"The loss is smallest at {found}")
    print(f"Plot in {output.plots / name}.png")


def evaluate_weights(settings: Settings, byte_order_mark: bool = False) -> None:
    """Evaluate weights: print accuracy and other metrics, write tables."""
    output = _output(settings, of_data=True)  # fails early if it cannot be written
    classifier, data = _restore(settings)
    predictions = predict(classifier, data, settings.machine)
    metrics = measure(predictions)
    metrics.to_csv(output.metrics)
    write_predictions(predictions, output.test_predictions, mark=byte_order_mark)
    names = f"{output.metrics.name}, {output.test_predictions.name}"
    print(metrics, f"Tables in {output.folder}: {names}", sep="\n")
    print(evaluation(predictions))


def classify(
    settings: Settings,
    files: list[str],
    weights: list[str],
    probabilities: bool = False,
    ids: bool = False,
    like: str | None = None,
    byte_order_mark: bool = False,
) -> None:
    """Classify new pictures, files or folders, and write a table."""
    output = _output(settings)
    classifiers = [_load(replace(settings, weights=one)) for one in weights]
    names = classifiers[0].class_names
    written, listed = tee(classify_files(classifiers, files, settings.machine))
    if like is not None:
        table = write_submission(written, names, like, output.submission, mark=byte_order_mark)
    else:
        path, columns = output.predictions, names if probabilities else ()
        table = write_file_predictions(written, path, columns, ids=ids, mark=byte_order_mark)
    rows = list(listed)
    counts = Counter(row.class_name for row in rows if not row.problem)
    if not counts:
        why = rows[0].problem + (f"; {table} says why for each" if rows[1:] else "")
        raise ValueError(f"none of {counted(len(rows), 'file')} could be read: {why}")
    for name, count in counts.most_common(MOST_LISTED):
        print(f"  {name}: {count:,}")
    if len(counts) > MOST_LISTED:
        print(f"  and {len(counts) - MOST_LISTED:,} other classes")
    problems = len(rows) - counts.total()
    why = ", and the table says why" if like is None else ""
    unread = f"; {problems:,} could not be read{why}" if problems else ""
    print(f"{counted(counts.total(), 'picture')} classified{unread}. Table in {table}")


def explain(settings: Settings, files: list[str]) -> None:
    """Draw the test errors, or given image files, and where the network looked."""
    if files:
        _explain_images(settings, files)
        return
    output = _output(settings, of_data=True)
    # a run's own plots stay as they are
    folder = output.plots if output.read() is None else output.explained
    check_writable(folder)
    classifier, data = _restore(settings)
    if reason := _draw_errors(classifier, data, folder, settings):
        raise ValueError(reason)


def _explain_images(settings: Settings, paths: list[str]) -> None:
    """Classify and explain image files; then raise ValueError naming the unreadable ones."""
    classifier = settings.load_classifier()
    settings.print_unused(classifier)
    files: list[str] = []
    for path in map(user_path, paths):
        found = files_of(path)
        if not found:
            raise ValueError(f"{path} has no pictures")
        files += found
    failed, output, explainer = [], _output(settings), Explainer(classifier)
    for path in map(Path, dict.fromkeys(files)):
        try:
            image, summary = classifier.read(path)
        except (ValueError, OSError) as error:
            failed.append(describe_os_error(error) if isinstance(error, OSError) else str(error))
            continue
        print(summary)
        explained = explainer.explain(image, machine=settings.machine)
        print(f"{classifier}: {explained}")
        source = f"{path.resolve()} by {weights_path(settings.weights).resolve()}"
        figure = galleries.explanation(explained, path.name)
        print(f"Plot in {_save_plot(figure, output.gradcam(path), source)}")
    if failed:
        raise ValueError("; ".join(failed))


def report(settings: Settings) -> None:
    """Write a page that shows a classifier's errors in a browser."""
    output = _output(settings, of_data=True)
    classifier, data = _restore(settings)
    predictions = predict(classifier, data, settings.machine, settings.split)
    page = output.training_page if settings.split == "train" else output.page
    write_report(classifier, predictions, page, machine=settings.machine)
    print(f"{counted(len(misclassified(predictions)), 'error')} in {page}")


def serve(settings: Settings, host: str | None = None, port: str | None = None) -> None:
    """Open a page in the browser to try a network: drop a picture, or use the camera."""
    from pytorch_vision.app.demo import launch_demo  # here, as gradio is an extra

    number = None if port is None else whole_number(port, "port")
    if number is not None and not 0 < number < 2**16:
        raise ValueError(f"port is {port}, expected 1 to 65535")
    launch_demo(_load(settings), settings.machine, server_name=host, server_port=number)


def compare(settings: Settings, files: list[str]) -> None:
    """Compare runs, given by their folders: print a table and draw their curves."""
    output = RunFolder(user_path(settings.output or "runs"))
    check_writable(output.folder)
    found: list[FinishedRun] = []
    without: list[str] = []
    for one in files:
        try:
            found += read_runs(one)
        except ValueError as error:
            without.append(str(error))
    if not found:
        raise ValueError("; ".join(without))
    if without:
        print("Left out:", *without, sep="\n  ")
    runs = list({user_path(run.name).resolve(): run for run in found}.values())  # each one once
    print(compare_runs(runs))
    figure = plots.compare({run.name: run.history for run in runs}, "Runs side by side")
    source = ", ".join(str(user_path(one).resolve()) for one in files)
    plot = _save_plot(figure, output.comparison.with_suffix(".png"), source)
    table = plot.with_suffix(output.comparison.suffix)
    write_comparison(runs, table)
    print(f"Plot in {plot}, table in {table}")


def export(settings: Settings) -> None:
    """Write weights as ONNX, for programs without PyTorch."""
    check_export()
    classifier = _load(settings)
    path = export_onnx(classifier, _output(settings).onnx)
    print(
        f"onnxruntime gives PyTorch's probabilities, to within {TOLERANCE:g}, for any number of "
        f"images; written to {path}"
    )


def delete_kept_pictures(settings: Settings) -> None:
    """Delete the decoded pictures that are kept in a folder, and print their size."""
    print(f"Deleted {empty_cache(settings.root) / 1e6:,.1f} MB of pictures in {settings.root}")


def _load(settings: Settings) -> Classifier:
    """Load the weights, and print what they are and which settings they override."""
    classifier = settings.load_classifier()
    print(f"Weights: {classifier}")
    settings.print_unused(classifier)
    return classifier


def _restore(settings: Settings) -> tuple[Classifier, ImageData]:
    """Load the weights, and test data prepared as their training data was."""
    classifier = settings.load_classifier()
    print(f"Weights: {classifier}")
    data = settings.load_data(classifier)
    classifier.check(data)
    return classifier, data


def _draw_errors(classifier: Classifier, data: ImageData, folder: Path, settings: Settings) -> str:
    """Draw a classifier's errors; return why there are no maps, or an empty string."""
    predictions = predict(classifier, data, settings.machine)
    errors = misclassified(predictions, settings.count, settings.order)
    right = correctly_classified(predictions, settings.count, settings.order)
    scaled = cross_fitted(predictions)[0] if len(predictions) > 1 else None
    figures = {
        "misclassified": galleries.gallery(errors),
        "confusion_matrix": plots.confusion_matrix(predictions),
        "class_accuracy": plots.class_accuracy(predictions),
        "reliability": plots.reliability(predictions, scaled=scaled),
    }
    try:
        explainer, reason = Explainer(classifier), ""
        predicted, true = explainer.maps(errors.images, np.stack([errors.predicted, errors.labels]))
        of_right = explainer.maps(right.images, right.predicted)
        figures |= {
            "misclassified_gradcam": galleries.gradcam_gallery(errors, predicted, true),
            "correct_gradcam": galleries.gradcam_gallery(right, of_right),
        }
    except NoMapError as error:
        reason = str(error)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    print(f"Plots in {folder}")
    return reason


def _save_plot(figure: Figure, path: Path, source: str) -> Path:
    """Save a plot as PNG, at a numbered path if one of another source is there; return the path.

    ``source`` is what it was drawn from, and is stored in the file's metadata.
    """
    source = shown(source)

    def is_the_same(existing: Path) -> bool:
        try:
            with Image.open(existing) as plot:
                return plot.info.get("Source") == source
        except (OSError, ValueError):  # no image, so it stays
            return False

    free = free_path(path, is_the_same)
    free.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(free, metadata={"Source": source})
    return free


def _output(settings: Settings, of_data: bool = False) -> RunFolder:
    """Return the folder to write into, without creating it; default: that of the weights.

    Results that are ``of_data`` go into a folder beside the run's files if it is not the run's own.

    Raises:
        OSError: nothing can be written there.
        ValueError: the folder is named like a file.
    """
    if settings.output:
        folder = user_path(settings.output)
    elif settings.weights == "pretrained":
        folder = Path("runs/pretrained")
    else:
        folder = user_path(settings.weights).parent
        learned = RunFolder(folder).settings.get("data")
        if of_data and isinstance(learned, str) and _place(learned) != _place(settings.data):
            folder /= short_name(f"on-{short_data_name(settings.data)}")
    if folder.suffix in FILE_ENDINGS and not folder.is_dir():
        raise ValueError(f"output is {str(folder)!r}, expected a folder, such as {folder.stem!r}")
    check_writable(folder)
    return RunFolder(folder)


def _place(data: str) -> str:
    return data if is_cifar10(data) else os.path.realpath(user_path(data))


COMMANDS: dict[str, Callable[..., None]] = {
    "check": check,
    "train": train,
    "evaluate": evaluate_weights,
    "predict": classify,
    "explain": explain,
    "report": report,
    "serve": serve,
    "compare": compare,
    "export": export,
    "find-lr": find_lr,
    "empty-cache": delete_kept_pictures,
}
