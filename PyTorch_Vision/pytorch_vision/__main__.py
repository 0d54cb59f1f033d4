"""The notebook's job from a shell: ``python -m pytorch_vision train|evaluate|explain|report``."""

import argparse
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from pytorch_vision.analysis import (
    Order,
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
from pytorch_vision.models import MODELS, create, print_summary
from pytorch_vision.models.resnet import Geometry
from pytorch_vision.settings import default_batch_size, default_data, default_plots
from pytorch_vision.training import (
    CheckpointError,
    TrainConfig,
    TrainedModel,
    evaluate,
    fit,
    load_trained,
    save_trained,
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status: 0, or 1 after an error told in one message."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (
        ValueError,  # a setting, an image or a weights file that does not fit
        FloatingPointError,
        MemoryError,
        DataError,
        CheckpointError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def train(options: argparse.Namespace) -> None:
    """Train, draw what was learned, and keep the weights."""
    batch_size = options.batch_size
    config = TrainConfig(
        epochs=options.epochs,
        batch_size=default_batch_size(options.data) if batch_size is None else batch_size,
        seed=options.seed,
    )
    data = _load(options)
    # What cannot be written shows now, not after hours of training.
    folder = _folder(options.plots or default_plots(options.data))
    _folder(Path(options.weights).parent)
    torch.manual_seed(options.seed)
    model = create(options.model, len(data.class_names), geometry=options.geometry)
    print_summary(model, (3, *data.train_images.shape[1:3]))
    history = fit(model, data, config, options.checkpoints)

    description = f"{model.name} on {data.name}"
    trained = TrainedModel(model, data.class_names, data.mean_and_std, history, description)
    save_trained(options.weights, trained)
    print(f"Weights in {options.weights}")
    history.to_csv(folder / "history.csv")
    plots.loss_and_accuracy(history, description).savefig(folder / "loss_accuracy.png")
    _draw_errors(trained, data, folder, options)


def evaluate_weights(options: argparse.Namespace) -> None:
    """Print the loss and the accuracy of given weights on the test images."""
    trained, data = _restore(options)
    print(evaluate(trained.model, data))


def explain(options: argparse.Namespace) -> None:
    """Draw what given weights get wrong, and where they looked; or explain one image file."""
    if options.image is None:
        _draw_errors(*_restore(options), _folder(options.plots), options)
        return
    trained = load_trained(options.weights)
    image, told = read_image(options.image)
    print(told)
    images = image[None]
    probabilities = classify(trained.model, images, trained.mean_and_std)[0]
    likely = probabilities.argsort()[::-1][:3]
    captions = [f"{trained.class_names[label]} ({probabilities[label]:.1%})" for label in likely]
    print(f"{trained.description}: {', '.join(captions)}")
    maps = grad_cam(trained.model, images.repeat(len(likely), 0), likely, trained.mean_and_std)
    path = _folder(options.plots) / f"{Path(options.image).stem}_gradcam.png"
    galleries.explanation(image, maps, captions, Path(options.image).name).savefig(path)
    print(f"Picture in {path}")


def report(options: argparse.Namespace) -> None:
    """Write a page of all the errors of given weights, to look through in a browser."""
    trained, data = _restore(options)
    predictions = predict(trained.model, data)
    errors = misclassified(predictions)
    maps = _maps(trained, errors)
    page = error_page(predictions, *maps, trained.description, _trust(trained, errors, maps[0]))
    write_page(options.output, page)
    print(f"{len(errors):,} errors in {options.output}")


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
    figures = {
        "misclassified": galleries.gallery(errors, chosen),
        "misclassified_gradcam": galleries.gradcam_gallery(errors, *_maps(trained, errors), chosen),
        "confusion_matrix": plots.confusion_matrix(predictions, title),
        "class_accuracy": plots.class_accuracy(predictions, title),
        "reliability": plots.reliability(predictions, title),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    print(f"Pictures in {folder}")


def _folder(path: str | Path) -> Path:
    Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    defaults = TrainConfig()
    parser = argparse.ArgumentParser("python -m pytorch_vision", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def add(name: str, command, data: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=command.__doc__,
            description=command.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        added.set_defaults(command=command)
        added.add_argument(
            "--data",
            default=data,
            help="full, sample (1,000 images, needs no network) or a number of training images",
        )
        added.add_argument("--root", default="data", help="folder that CIFAR-10 is kept in")
        return added

    trainer = add("train", train, default_data())
    trainer.add_argument("--epochs", type=int, default=defaults.epochs, help="0 only evaluates")
    trainer.add_argument(
        "--batch-size",
        type=int,
        help="images a step; by default 512, or 32 for 5,000 images or less",
    )
    trainer.add_argument("--seed", type=int, default=defaults.seed, help="of everything random")
    trainer.add_argument("--model", choices=tuple(MODELS), default="ResNet18", help="the network")
    trainer.add_argument(
        "--geometry",
        choices=get_args(Geometry),
        default="original",
        help="padding: the original notebook's, or 1 throughout at half the work",
    )
    trainer.add_argument("--checkpoints", help="folder for checkpoints; a stopped run continues")
    trainer.add_argument(
        "--weights", default="runs/weights.safetensors", help="file to write the weights to"
    )
    trainer.add_argument("--plots", help="folder for pictures; by default it follows the data")

    evaluator = add("evaluate", evaluate_weights, "full")
    explainer = add("explain", explain, "full")
    explainer.add_argument("--image", help="explain this image file instead of the test errors")
    explainer.add_argument("--plots", default="runs/explained", help="folder for pictures")
    reporter = add("report", report, "full")
    reporter.add_argument("--output", default="runs/errors.html", help="the page to write")
    for command in (evaluator, explainer, reporter):
        command.add_argument(
            "--weights",
            default="pretrained",
            help="weights file that train wrote, or those that come with PyTorch_Vision",
        )
    for command in (trainer, explainer):
        command.add_argument("--count", type=_count, default=10, help="errors to show")
        command.add_argument(
            "--order",
            choices=get_args(Order),
            default="first",
            help="which errors to show: the first, the most confident, or spread over the classes",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
