"""The commands of the command line: train, evaluate, explain and report."""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only

from pytorch_vision.analysis import (
    Predictions,
    blind_maps,
    classify,
    describe_choice,
    describe_removal,
    error_page,
    galleries,
    grad_cam,
    misclassified,
    plots,
    predict,
    removal,
    write_page,
)
from pytorch_vision.data import DataError, ImageData, load_data, read_image
from pytorch_vision.data.cifar10 import check_choice
from pytorch_vision.models import create, print_summary
from pytorch_vision.options import make_parser
from pytorch_vision.settings import default_batch_size
from pytorch_vision.training import (
    CheckpointError,
    Output,
    Processes,
    ProcessLostError,
    TrainConfig,
    TrainedModel,
    ended_by_signals,
    evaluate,
    fit,
    load_trained,
    only_first_prints,
    save_trained,
    start_processes,
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status.

    0, or 1 after an error told in one message, or 128 and a signal's number after it: 130 after
    Ctrl-C. Of several processes, the first tells what goes for all of them.
    """
    commands = {"train": train, "evaluate": evaluate_weights, "explain": explain, "report": report}
    options = make_parser(commands).parse_args(arguments)
    rank = int(getattr(rank_zero_only, "rank", 0))
    if rank and options.command != "train":  # the others are one process's work
        return 0
    try:
        with ended_by_signals(), only_first_prints(rank):
            commands[options.command](options)
    except (ProcessLostError, MemoryError, OSError) as error:  # of one process, maybe
        return _told(f"error: {error}", 1)
    except (
        ValueError,  # a setting, an image or a weights file that does not fit
        FloatingPointError,
        DataError,
        CheckpointError,
    ) as error:
        return 0 if rank else _told(f"error: {error}", 1)
    except KeyboardInterrupt as interrupt:
        return 0 if rank else _told(str(interrupt) or "Interrupted.", 130)
    return 0


def _told(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def train(options: argparse.Namespace) -> None:
    """Train, draw what was learned, and keep the weights."""
    batch_size = options.batch_size
    config = TrainConfig(
        epochs=options.epochs,
        batch_size=default_batch_size(options.data) if batch_size is None else batch_size,
        seed=options.seed,
        devices=options.devices,
    )
    processes = Processes(start_processes(config))
    data = processes.one_a_machine_first(lambda: _load(options))
    output = processes.first_does(
        lambda: Output.prepare(options.output or f"runs/{check_choice(options.data)}")
    )
    torch.manual_seed(options.seed)
    model = create(options.model, len(data.class_names), geometry=options.geometry)
    print_summary(model, (3, *data.train_images.shape[1:3]))
    history = fit(model, data, config, options.checkpoints)
    if not processes.first:
        return
    output = output.of_run(history, config.epochs)
    description = f"{model.name} on {data.name}"
    trained = TrainedModel(model, data.class_names, data.mean_and_std, history, description)
    save_trained(output.weights, trained)
    history.to_csv(output.history)
    print(f"Weights in {output.weights}")
    if len(history.records) < config.epochs:
        raise KeyboardInterrupt(f"Interrupted: what there is of it is in {output.folder}")
    plots.loss_and_accuracy(history, description).savefig(output.plots / "loss_accuracy.png")
    _draw_errors(trained, data, output.plots, options)


def evaluate_weights(options: argparse.Namespace) -> None:
    """Print the loss and the accuracy of given weights on the test images."""
    trained, data = _restore(options)
    print(evaluate(trained.model, data))


def explain(options: argparse.Namespace) -> None:
    """Draw what given weights get wrong, and where they looked; or explain one image file."""
    if options.image is None:
        trained, data = _restore(options)
        _draw_errors(trained, data, _output(options).plots, options)
        return
    trained = load_trained(options.weights)
    image, told = read_image(options.image)
    output = _output(options)
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


def report(options: argparse.Namespace) -> None:
    """Write a page of all the errors of given weights, to look through in a browser."""
    trained, data = _restore(options)
    output = _output(options)
    predictions = predict(trained.model, data)
    errors = misclassified(predictions)
    predicted, true = _maps(trained, errors)
    note = _trust(trained, errors, predicted)
    page = error_page(predictions, predicted, true, trained.description, note)
    write_page(output.page, page)
    print(f"{len(errors):,} errors in {output.page}")


def _load(options: argparse.Namespace) -> ImageData:
    data = load_data(options.data, options.root)
    print(data)
    return data


def _restore(options: argparse.Namespace) -> tuple[TrainedModel, ImageData]:
    """Load weights, and test data normalised as their training data was."""
    trained = load_trained(options.weights)
    print(f"Weights: {trained.description}")
    return trained, trained.normalized(_load(options))


def _maps(trained: TrainedModel, errors: Predictions) -> np.ndarray:
    """Return the Grad-CAM maps of the predicted and of the true classes."""
    classes = np.stack([errors.predicted, errors.labels])
    return grad_cam(trained.model, errors.images, classes, trained.mean_and_std)


def _trust(trained: TrainedModel, errors: Predictions, maps: np.ndarray) -> str:
    """Say how far the maps of the predicted classes can be trusted; nothing of no error."""
    if not len(errors):
        return ""
    both = {"map": maps, "random": blind_maps(errors.images)["random"]}
    found = removal(
        trained.model, errors.images, errors.predicted, both, trained.mean_and_std, (0.3,)
    )
    return describe_removal(found["map"], found["random"])


def _draw_errors(
    trained: TrainedModel, data: ImageData, folder: Path, options: argparse.Namespace
) -> None:
    predictions = predict(trained.model, data)
    errors = misclassified(predictions, options.count, options.order)
    title = trained.description
    chosen = f"{title}: {describe_choice(options.order, len(errors))}"
    predicted, true = _maps(trained, errors)
    figures = {
        "misclassified": galleries.gallery(errors, chosen),
        "misclassified_gradcam": galleries.gradcam_gallery(errors, predicted, true, chosen),
        "confusion_matrix": plots.confusion_matrix(predictions, title),
        "class_accuracy": plots.class_accuracy(predictions, title),
        "reliability": plots.reliability(predictions, title),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    print(f"Pictures in {folder}")


def _output(options: argparse.Namespace) -> Output:
    """Return the folder that was asked for, or that of the weights."""
    if options.output is None and options.weights == "pretrained":
        return Output.prepare("runs/pretrained")
    return Output.prepare(options.output or Path(options.weights).parent)
