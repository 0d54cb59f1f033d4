"""The commands of the command line: train, evaluate, explain, report and find-lr."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lightning_fabric.utilities.rank_zero import rank_zero_only
from matplotlib.figure import Figure
from torch import nn

from pytorch_vision.analysis import (
    Predictions,
    classify,
    correctly_classified,
    describe_choice,
    galleries,
    grad_cam,
    make_report,
    misclassified,
    plots,
    predict,
    two_fold,
    write_page,
)
from pytorch_vision.data import DataError, ImageData, load_data, read_image
from pytorch_vision.models import create, is_ours, network_name, print_summary
from pytorch_vision.options import chosen_settings, make_parser
from pytorch_vision.settings import Settings
from pytorch_vision.training import (
    RECIPES,
    CheckpointError,
    Output,
    Processes,
    ProcessLostError,
    TrainConfig,
    TrainedModel,
    begin_with,
    ended_by_signals,
    evaluate,
    find_rate,
    fit,
    load_trained,
    only_first_prints,
    save_trained,
    start_processes,
)

TOLD = (
    ValueError,  # a setting, an image or a weights file that does not fit
    FloatingPointError,
    DataError,
    CheckpointError,
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status.

    0, or 1 after an error told in one message, or 128 and a signal's number after it: 130 after
    Ctrl-C. Of several processes, the first tells what goes for all of them.
    """
    commands = {
        "train": train,
        "evaluate": evaluate_weights,
        "explain": explain,
        "report": report,
        "find-lr": find_lr,
    }
    options = make_parser(commands).parse_args(arguments)
    rank = int(getattr(rank_zero_only, "rank", 0))
    if rank and options.command != "train":  # the others are one process's work
        return 0
    try:
        with ended_by_signals(), only_first_prints(rank):
            commands[options.command](chosen_settings(options), options)
    except (ProcessLostError, MemoryError, OSError) as error:  # of one process, maybe
        return _told(f"error: {error}", 1)
    except TOLD as error:
        return 0 if rank else _told(f"error: {error}", 1)
    except KeyboardInterrupt as interrupt:
        return 0 if rank else _told(str(interrupt) or "Interrupted.", 130)
    return 0


def _told(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def train(settings: Settings, options: argparse.Namespace) -> None:
    """Train, draw what was learned, and keep the weights."""
    processes = Processes(start_processes(TrainConfig(devices=settings.devices)))
    data = processes.one_a_machine_first(lambda: _load(settings))
    config, model = _config(settings, data), _model(settings, data)
    print_summary(model, (3, *data.size))
    output = processes.first_does(
        lambda: Output.prepare(settings.output or f"runs/{settings.name}")
    )
    history = fit(model, data, config, settings.checkpoints or None, output.keep)
    if not processes.first:
        return
    output = output.of_run(history, config.epochs)
    trained = TrainedModel.of(model, data, history)
    save_trained(output.weights, trained)
    history.to_csv(output.history)
    print(f"Weights in {output.weights}")
    if len(history.records) < config.epochs:
        raise KeyboardInterrupt(f"Interrupted: what there is of it is in {output.folder}")
    curves = plots.loss_and_accuracy(history, trained.description)
    curves.savefig(output.plots / "loss_accuracy.png")
    _draw_errors(trained, data, output.plots, settings, options.count)


def find_lr(settings: Settings, options: argparse.Namespace) -> None:
    """Find a learning rate by a range test: a short training in which it rises."""
    data = _load(settings)
    config, model = _config(settings, data), _model(settings, data)
    output = Output.prepare(settings.output or f"runs/{settings.name}")
    test = find_rate(model, data, config)
    path = output.plots / f"lr_finder_{test.rate}.png"
    plots.lr_finder(test, f"{network_name(model)} on {data.name}").savefig(path)
    found = f"--{test.rate.replace('_', '-')} {test.suggestion:.2g}"
    if test.rate == "muon_rate":
        found += f" --learning-rate {test.suggestion * config.peak_rate / config.muon_rate:.2g}"
    print(f"The loss is smallest at {found}")
    print(f"Picture in {path}")


def evaluate_weights(settings: Settings, options: argparse.Namespace) -> None:
    """Print the loss and the accuracy of given weights on the test images."""
    trained, data = _restore(settings)
    print(evaluate(trained.model, data))


def explain(settings: Settings, options: argparse.Namespace) -> None:
    """Draw what given weights get wrong, and where they looked; or explain one image file."""
    if options.image is None:
        trained, data = _restore(settings)
        _draw_errors(trained, data, _output(settings).plots, settings, options.count)
        return
    trained = _trained(settings)
    image, told = read_image(options.image, trained.size, trained.fit)
    output = _output(settings)
    print(told)
    images = image[None]
    probabilities = classify(trained.model, images, trained.mean_and_std)[0]
    likely = probabilities.argsort()[::-1][:3]
    captions = [f"{trained.class_names[label]} ({probabilities[label]:.1%})" for label in likely]
    print(f"{trained.description}: {', '.join(captions)}")
    maps = grad_cam(trained.model, images.repeat(len(likely), 0), likely, trained.mean_and_std)
    path = output.plots / f"{Path(options.image).stem}_gradcam.png"
    galleries.explanation(image, maps, captions, Path(options.image).name).savefig(path)
    print(f"Picture in {path}")


def report(settings: Settings, options: argparse.Namespace) -> None:
    """Write a page of all the errors of given weights, to look through in a browser."""
    trained, data = _restore(settings)
    output = _output(settings)
    predictions = predict(trained.model, data)
    title = trained.description
    write_page(output.page, make_report(trained.model, predictions, data.mean_and_std, title))
    print(f"{len(misclassified(predictions)):,} errors in {output.page}")


def _config(settings: Settings, data: ImageData) -> TrainConfig:
    """Return what to train with; weights to begin with do not mean that there is no training."""
    epochs = RECIPES[settings.recipe]().epochs if settings.epochs is None else settings.epochs
    return settings.train_config(len(data.train_labels), epochs=epochs)


def _model(settings: Settings, data: ImageData) -> nn.Module:
    """Make the network, and put the weights into it that it is to begin with."""
    model = settings.create_model(len(data.class_names))
    if settings.weights:
        print(begin_with(model, settings.weights))
    return model


def _load(settings: Settings, like: TrainedModel | None = None) -> ImageData:
    """Return the images that are asked for, in the size of a network that has one already."""
    size, fit = (settings.size, settings.fit) if like is None else (like.size, like.fit)
    data = load_data(settings.data, settings.root, size, fit, settings.held_out)
    print(data)
    return data


def _trained(settings: Settings) -> TrainedModel:
    """Load weights, into a network of the caller's own if it was named."""
    if is_ours(settings.model):
        return load_trained(settings.weights)
    return load_trained(settings.weights, lambda classes: create(settings.model, classes))


def _restore(settings: Settings) -> tuple[TrainedModel, ImageData]:
    """Load weights, and test data made ready as their training data was."""
    trained = _trained(settings)
    print(f"Weights: {trained.description}")
    return trained, trained.normalized(_load(settings, trained))


def _draw_errors(
    trained: TrainedModel, data: ImageData, folder: Path, settings: Settings, count: int
) -> None:
    for name, figure in _error_figures(trained, predict(trained.model, data), settings, count):
        figure.savefig(folder / f"{name}.png")
    print(f"Pictures in {folder}")


def _error_figures(
    trained: TrainedModel, predictions: Predictions, settings: Settings, count: int
) -> Iterator[tuple[str, Figure]]:
    """Yield each picture with its name; Grad-CAM's come last, as not every network has a map."""
    errors = misclassified(predictions, count, settings.order)
    right = correctly_classified(predictions, count, settings.order)
    title, mean_and_std = trained.description, trained.mean_and_std
    chosen = f"{title}: {describe_choice(settings.order, len(errors))}"
    chosen_right = f"{title}: {describe_choice(settings.order, len(right), 'right answers')}"
    scaled = two_fold(predictions)[0] if len(predictions) > 1 else None
    yield "misclassified", galleries.gallery(errors, chosen)
    yield "confusion_matrix", plots.confusion_matrix(predictions, title)
    yield "class_accuracy", plots.class_accuracy(predictions, title)
    yield "reliability", plots.reliability(predictions, title, scaled)
    both = np.stack([errors.predicted, errors.labels])
    predicted, true = grad_cam(trained.model, errors.images, both, mean_and_std)
    yield "misclassified_gradcam", galleries.gradcam_gallery(errors, predicted, true, chosen)
    of_right = grad_cam(trained.model, right.images, right.predicted, mean_and_std)
    yield "right_gradcam", galleries.gradcam_gallery(right, of_right, title=chosen_right)


def _output(settings: Settings) -> Output:
    """Return the folder that was asked for, or that of the weights."""
    if not settings.output and settings.weights == "pretrained":
        return Output.prepare("runs/pretrained")
    return Output.prepare(settings.output or Path(settings.weights).parent)
