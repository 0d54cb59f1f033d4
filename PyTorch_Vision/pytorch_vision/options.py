"""The options of the command line."""

import argparse
from collections.abc import Callable, Mapping
from typing import get_args

from pytorch_vision.analysis import Order
from pytorch_vision.models import MODELS
from pytorch_vision.models.resnet import Geometry
from pytorch_vision.settings import default_data
from pytorch_vision.training import TrainConfig


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _devices(text: str) -> int | str:
    return text if text == "auto" else _count(text)


def make_parser(functions: Mapping[str, Callable]) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Args:
        functions: of each command, by name; their docstrings are its help.
    """
    defaults = TrainConfig()
    parser = argparse.ArgumentParser(
        "python -m pytorch_vision", description="The notebook's job from a shell."
    )
    commands = parser.add_subparsers(required=True, dest="command")

    def add(name: str, data: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=functions[name].__doc__,
            description=functions[name].__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        added.add_argument(
            "--data",
            default=data,
            help="full, sample (1,000 images, needs no network) or a number of training images",
        )
        added.add_argument("--root", default="data", help="folder that CIFAR-10 is kept in")
        return added

    trainer = add("train", default_data())
    trainer.add_argument("--epochs", type=int, default=defaults.epochs, help="0 only evaluates")
    trainer.add_argument(
        "--batch-size",
        type=int,
        help="images a step; by default 512, or 32 for 5,000 images or less",
    )
    trainer.add_argument("--seed", type=int, default=defaults.seed, help="of everything random")
    trainer.add_argument(
        "--devices",
        type=_devices,
        default=defaults.devices,
        help="how many train together, each in its own process; auto is all CUDA devices",
    )
    trainer.add_argument("--model", choices=tuple(MODELS), default="ResNet18", help="the network")
    trainer.add_argument(
        "--geometry",
        choices=get_args(Geometry),
        default="original",
        help="padding: the original notebook's, or 1 throughout at half the work",
    )
    trainer.add_argument("--checkpoints", help="folder for checkpoints; a stopped run continues")
    evaluator = add("evaluate", "full")
    explainer = add("explain", "full")
    explainer.add_argument("--image", help="explain this image file instead of the test errors")
    reporter = add("report", "full")
    folders = {
        trainer: "weights, history and pictures; by default runs/ and the data's name",
        explainer: "pictures; by default that of the weights, or runs/pretrained",
        reporter: "the page, errors.html; by default that of the weights, or runs/pretrained",
    }
    for command, what in folders.items():
        command.add_argument("--output", help=f"folder for {what}")
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
