"""The notebook's job from a shell: ``python -m pytorch_vision train|evaluate|explain``."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from pytorch_vision import models, plots
from pytorch_vision.checkpoint import CheckpointError, load_weights, save_weights
from pytorch_vision.data import ImageData, load_data
from pytorch_vision.gradcam import grad_cam
from pytorch_vision.predict import misclassified, predict
from pytorch_vision.settings import default_batch_size, default_data, default_plots
from pytorch_vision.sources import DataError
from pytorch_vision.summary import print_summary
from pytorch_vision.train import TrainConfig, evaluate, fit

WEIGHTS = "runs/weights.safetensors"


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
    folder = _plots_folder(options)
    Path(options.weights).parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    build = getattr(models, options.model)
    model = build(len(data.class_names), options.geometry)
    print_summary(model, (3, *data.train_images.shape[1:3]))
    history = fit(model, data, config, options.checkpoints)

    save_weights(
        options.weights,
        model,
        {
            "model": options.model,
            "geometry": options.geometry,
            "class_names": json.dumps(data.class_names),
            "mean_and_std": json.dumps(data.mean_and_std),
        },
    )
    print(f"Weights in {options.weights}")
    title = f"{options.model} on {data.name}"
    history.to_csv(folder / "history.csv")
    plots.loss_and_accuracy(history, title).savefig(folder / "loss_accuracy.png")
    _draw_errors(model, data, title, folder, options)


def evaluate_weights(options: argparse.Namespace) -> None:
    """Print the loss and the accuracy of given weights on the test images."""
    _, model, data = _restore(options)
    print(evaluate(model, data))


def explain(options: argparse.Namespace) -> None:
    """Draw what given weights get wrong, and where they looked."""
    name, model, data = _restore(options)
    _draw_errors(model, data, f"{name} on {data.name}", _plots_folder(options), options)


def _load(options: argparse.Namespace) -> ImageData:
    data = load_data(options.data, options.root)
    print(data)
    return data


def _restore(options: argparse.Namespace) -> tuple[str, models.ResNet, ImageData]:
    """Load the weights into the model that they fit; return its name, it, and the test data.

    The data is normalised as it was in training.
    """
    tensors, metadata = load_weights(options.weights)
    try:
        build = {"ResNet18": models.ResNet18, "ResNet34": models.ResNet34}[metadata["model"]]
        class_names = tuple(json.loads(metadata["class_names"]))
        mean, std = json.loads(metadata["mean_and_std"])
        model = build(len(class_names), metadata["geometry"])
        model.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{options.weights} holds other weights than `train` writes ({error})"
        ) from error
    data = _load(options)
    if class_names != data.class_names:
        raise CheckpointError(f"{options.weights} was trained on other classes: {class_names}")
    return metadata["model"], model, replace(data, mean_and_std=(tuple(mean), tuple(std)))


def _draw_errors(
    model: models.ResNet, data: ImageData, title: str, folder: Path, options: argparse.Namespace
) -> None:
    errors = misclassified(predict(model, data), options.count, options.order)
    first = {"first": "the first {} errors in test order", "confident": "the {} surest errors"}
    chosen = first[options.order].format(len(errors))
    plots.gallery(errors, f"{title}: {chosen}").savefig(folder / "misclassified.png")
    maps = grad_cam(model, errors.images, errors.predicted, data.mean_and_std)
    plots.gradcam_gallery(
        errors, maps, f"{title}: Grad-CAM of the predicted class, {chosen}"
    ).savefig(folder / "misclassified_gradcam.png")
    print(f"Pictures in {folder}")


def _plots_folder(options: argparse.Namespace) -> Path:
    folder = Path(options.plots or default_plots(options.data))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    defaults = TrainConfig()
    show = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser("python -m pytorch_vision", description=__doc__)
    commands = parser.add_subparsers(required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data",
        default=default_data(),
        help="full, sample (1,000 images, needs no network) or a number of training images",
    )
    common.add_argument("--root", default="data", help="folder that CIFAR-10 is kept in")
    common.add_argument("--weights", default=WEIGHTS, help="weights file (safetensors)")

    pictures = argparse.ArgumentParser(add_help=False)
    pictures.add_argument("--plots", help="folder for pictures; by default it follows the data")
    pictures.add_argument("--count", type=_count, default=10, help="errors to show")
    pictures.add_argument(
        "--order", choices=("first", "confident"), default="first", help="which errors come first"
    )

    def add(name: str, command, parents: list) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, parents=parents, help=command.__doc__, formatter_class=show
        )
        added.set_defaults(command=command)
        return added

    trainer = add("train", train, [common, pictures])
    trainer.add_argument("--epochs", type=int, default=defaults.epochs, help="0 only evaluates")
    trainer.add_argument(
        "--batch-size",
        type=int,
        help="images a step; by default 512, or 32 for 5,000 images or less",
    )
    trainer.add_argument("--seed", type=int, default=defaults.seed, help="of everything random")
    trainer.add_argument(
        "--model", choices=("ResNet18", "ResNet34"), default="ResNet18", help="the network"
    )
    trainer.add_argument(
        "--geometry",
        choices=("seed", "standard"),
        default="seed",
        help="padding of the network: the seed's, or 1 throughout at half the work",
    )
    trainer.add_argument("--checkpoints", help="folder to keep the run's state in, and go on from")
    add("evaluate", evaluate_weights, [common])
    add("explain", explain, [common, pictures])
    return parser


if __name__ == "__main__":
    sys.exit(main())
