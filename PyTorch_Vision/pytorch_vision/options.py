"""The options of the command line, made from the list of settings."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from pytorch_vision.settings import Settings, parsed
from pytorch_vision.training import TrainConfig

IMAGES = ("data", "root", "size", "fit", "held_out")
WEIGHTS = ("model", "geometry", "weights")
RECIPE = (
    "recipe",
    "epochs",
    "batch_size",
    "seed",
    "optimizer",
    "muon_rate",
    "learning_rate",
    "momentum",
    "weight_decay",
    "label_smoothing",
    "padding",
    "flip",
    "cutout",
    "cutout_probability",
    "small_share",
    "skip_share",
    "devices",
)
# which settings each command has
COMMANDS = {
    "train": (*IMAGES, *WEIGHTS, *RECIPE, "checkpoints", "output", "order"),
    "evaluate": (*IMAGES, *WEIGHTS),
    "explain": (*IMAGES, *WEIGHTS, "output", "order"),
    "report": (*IMAGES, *WEIGHTS, "output"),
    "find-lr": (*IMAGES, *WEIGHTS, *RECIPE, "output"),
}
# for those that need weights: all of the test set, and the weights that come with the library
OF_WEIGHTS = {"data": "full", "weights": "pretrained"}


def make_parser(functions: Mapping[str, Callable]) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Args:
        functions: of each command, by name; their docstrings are its help.
    """
    parser = argparse.ArgumentParser(
        "python -m pytorch_vision", description="The notebook's job from a shell."
    )
    commands = parser.add_subparsers(required=True, dest="command")
    known = {one.name: one for one in fields(Settings)}
    for command, names in COMMANDS.items():
        text = functions[command].__doc__
        added = commands.add_parser(command, help=text, description=text)
        defaults = OF_WEIGHTS if command in ("evaluate", "explain", "report") else {}
        for name in names:
            _add(added, known[name], defaults.get(name))
        if command == "explain":
            added.add_argument("--image", help="explain this image file instead of the test errors")
        if "order" in names:
            added.add_argument(
                "--count", type=_count, default=10, help="errors to show (default: 10)"
            )
    return parser


def chosen_settings(options: argparse.Namespace) -> Settings:
    """Return the settings that the options give."""
    known = {one.name for one in fields(Settings)}
    chosen = {name: value for name, value in vars(options).items() if name in known}
    return Settings(**{name: value for name, value in chosen.items() if value is not None})


def _add(parser: argparse.ArgumentParser, one: Any, default: str | None) -> None:
    """Add the option of one setting; what it defaults to without a recipe stands in its help."""

    def parse(text: str) -> Any:
        try:
            return parsed(one, text, one.name)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    recipe = TrainConfig()
    own = getattr(recipe, one.name, getattr(recipe.augmentation, one.name, None))
    shown = default or one.metadata["shown"] or (own if one.default is None else one.default)
    parser.add_argument(
        f"--{one.name.replace('_', '-')}",
        type=parse,
        default=default,
        choices=one.metadata["choices"] or None,
        help=f"{one.metadata['text']} (default: {shown})".replace("%", "%%"),
    )


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)
