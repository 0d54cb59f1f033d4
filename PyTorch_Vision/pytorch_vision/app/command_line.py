"""The command line's parser. It does not load torch, so that ``--help`` answers at once.

``options.json`` has the description of each setting; ``make docs`` writes it from the code.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pytorch_vision import __version__

PROGRAM = "python -m pytorch_vision"
OPTIONS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("options.json").read_text(encoding="utf-8")
)
DATA = ("data", "root", "size", "resize", "labels", "held_out", "held_out_share")
NETWORK = ("model", "conv_padding", "weights")
MACHINE = ("accelerator", "devices", "precision")
OUTPUT = ("output", "overwrite", "checkpoints", "order", "count", "split")
NOTEBOOK_ONLY = ("keep_on_drive",)
WITHOUT_EFFECT = {*OUTPUT, *NOTEBOOK_ONLY, "root"}  # settings that do not change a run's results
RECIPE = tuple(
    name for name in OPTIONS if name not in (*DATA, *NETWORK, *MACHINE, *OUTPUT, *NOTEBOOK_ONLY)
)
GROUPS = {"data": DATA, "network": NETWORK, "recipe": RECIPE, "machine": MACHINE, "output": OUTPUT}
HELP = {
    "check": "Print what is in the data, and which images are duplicates; with --output, write "
    "these as a table.",
    "train": "Train, draw the results, and save the weights.",
    "evaluate": "Evaluate weights: print accuracy and other metrics, write tables.",
    "predict": "Classify new pictures, files or folders, and write a table.",
    "explain": "Draw the test errors, or given image files, and where the network looked.",
    "report": "Write a page that shows a classifier's errors in a browser.",
    "serve": "Open a page in the browser to try a network: drop a picture, or use the camera.",
    "compare": "Compare runs, given by their folders: print a table and draw their curves.",
    "export": "Write weights as ONNX, for programs without PyTorch.",
    "find-lr": "Find a learning rate by a range test: a short training in which the rate rises.",
    "empty-cache": "Delete the decoded pictures that are kept in --root, and print their size.",
}
SETTINGS = {
    "check": (*DATA, "output"),
    "train": (*DATA, *NETWORK, *RECIPE, *MACHINE, *OUTPUT[:-1]),
    "evaluate": (*DATA, *NETWORK, *MACHINE, "output"),
    "predict": (*NETWORK, *MACHINE, "output"),
    "explain": (*DATA, *NETWORK, *MACHINE, "output", "order", "count"),
    "report": (*DATA, *NETWORK, *MACHINE, "output", "split"),
    "serve": (*NETWORK, *MACHINE),
    "compare": ("output",),
    "export": (*NETWORK, "output"),
    "find-lr": (*DATA, *NETWORK, *RECIPE, *MACHINE, "output"),
    "empty-cache": ("root",),
}
# the commands that use trained weights; and defaults that differ for these and for the others
OF_WEIGHTS = ("evaluate", "predict", "explain", "report", "serve", "export")
DEFAULTS_OF_WEIGHTS = {"data": "what the weights were trained on", "weights": "pretrained"}
DEFAULTS_OF_OTHERS = {"weights": "those that the model's name asks for, or random ones"}
# options of single commands; they are not settings of a run
OWN = {
    "probabilities": "add a column for each class's probability",
    "ids": "name files by their ids, without folder and suffix",
    "like": "write submission.csv, with the columns and rows of this sample submission",
    "byte_order_mark": "begin tables with a byte order mark, by which Excel recognises UTF-8",
    "host": "address to listen on: 0.0.0.0 lets other machines open the page (default: 127.0.0.1)",
    "port": "port to listen on (default: the first free one from 7860 on)",
}
OWN_OF = {
    "predict": ("probabilities", "ids", "like", "byte_order_mark"),
    "evaluate": ("byte_order_mark",),
    "serve": ("host", "port"),
}
METAVARS = {"like": "FILE", "host": "ADDRESS", "port": "NUMBER"}  # of those that take a value
# the options that take several values, and what several mean
SEVERAL = {
    ("train", "seed"): "several values train one run each",
    ("predict", "weights"): "the probabilities of several files are averaged",
}
WEIGHTS = ".safetensors"  # the suffix of weights files
# the commands that take files or folders: their help, and how many
FILES = {
    "predict": ("a picture, or a folder of pictures at any depth", "*"),
    "explain": ("an image file, or a folder of them, to explain in place of the test errors", "*"),
    "compare": ("the folder of a run", "+"),
}


def parse(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the values of a command line by name; None for each option that is not given.

    Those in ``SEVERAL`` are lists.

    Ends the program after ``--help`` and ``--version``, and with a suggestion after a command or
    an option that does not exist. ``Settings`` checks the values.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = make_parser()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in HELP:
        nearest = nearest_of(arguments[0], HELP)
        known_ones = ", ".join(HELP)
        parser.error(f"there is no command {arguments[0]!r}{nearest}; expected one of {known_ones}")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        if not unknown[0].startswith("-"):
            parser.error(f"{options.command} does not take {unknown[0]!r}; see --help")
        known = map(flag, (*SETTINGS[options.command], *OWN_OF.get(options.command, ())))
        parser.error(f"there is no option {unknown[0]}{nearest_of(unknown[0], known)}")
    if options.command == "predict":
        weights = options.weights or []
        while weights[1:] and not weights[-1].endswith(WEIGHTS):
            options.files.insert(0, weights.pop())  # a picture named after the weights
        if not options.files:
            parser.error("the following arguments are required: FILE")
    return vars(options)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(PROGRAM, description="The notebook's job from a shell.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    for command, text in HELP.items():
        added = commands.add_parser(command, help=text, description=text)
        defaults = DEFAULTS_OF_WEIGHTS if command in OF_WEIGHTS else DEFAULTS_OF_OTHERS
        for title, names in GROUPS.items():
            group = added.add_argument_group(title)
            for name in names:
                if name in SETTINGS[command]:
                    _add(group, name, defaults.get(name), SEVERAL.get((command, name)))
        for name in OWN_OF.get(command, ()):
            kind: dict[str, Any] = {"action": "store_true"}
            if name in METAVARS:
                kind = {"metavar": METAVARS[name]}
            added.add_argument(flag(name), help=OWN[name], **kind)
        if command in FILES:
            text, count = FILES[command]
            added.add_argument("files", nargs=count, metavar="FILE", help=text)
        if command == "explain":
            added.add_argument("--image", action="append", metavar="FILE", help="the same as FILE")
    return parser


def _add(group: Any, name: str, default: str | None, several: str | None) -> None:
    """Add the option of a setting, with its description and its default."""
    option = OPTIONS[name]
    text, default = option["description"], default or option["default"]
    if several:
        text += f"; {several}"
    if default not in ("", None):
        text += f" (default: {default})"
    metavar = f"{{{','.join(option['choices'])}}}" if option["choices"] else name.upper()
    count = "+" if several else None
    group.add_argument(flag(name), metavar=metavar, help=text.replace("%", "%%"), nargs=count)


def flag(name: str) -> str:
    """Return the option of a setting, such as "--batch-size"."""
    return f"--{name.replace('_', '-')}"


def nearest_of(word: str, known: Iterable[str]) -> str:
    """Return a question after the known word that is most like one; empty if none is."""
    near = difflib.get_close_matches(word.partition("=")[0], list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
