"""Steps and functions are described equally in every process, and by what they do."""

import os
import subprocess
import sys
import warnings

import albumentations as A
import pytest

from pytorch_vision.training.fingerprint import describe_callable, describe_steps

OWN = """
import functools, os, sys
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
import albumentations as A

def darker(image, by=2, **_):
    return image // by

class Own(A.ImageOnlyTransform):
    def __init__(self, function, p=1.0):
        super().__init__(p=p)
        self.function = function
    def apply(self, img, **_):
        return self.function(img)

inner = lambda image, **_: [value for value in image]
made = (lambda by: lambda image, **_: image // by)(3)
steps = [
    A.HorizontalFlip(p=0.5),
    A.Lambda(image=lambda image, **_: 255 - image),
    A.OneOf([A.Lambda(image=inner), A.Blur(p=0.1)]),
    A.Compose([Own(functools.partial(darker, by=3)), A.Lambda(name="own", image=made)]),
    A.Lambda(image=darker),
]
"""


NAMES = """
names = {"mean", "sum", "none", "all"}

def loss(kind):
    return kind in {"one", "two", "three", "four"} and kind in names

def made(some):
    return lambda kind: kind in some and later
    later = 1
"""
TELL = """
from pytorch_vision.training.fingerprint import describe_callable, describe_steps
print(describe_steps(steps), describe_callable(loss), describe_callable(made(names)))
"""


def run(code: str) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # albumentations' own, of functions and processes
        names: dict = {}
        exec(code, names)
    return names


def described(code: str) -> str:
    return describe_steps(run(code)["steps"])


def test_functions_and_sets_in_them_are_described_equally_in_every_process(capsys):
    """Whatever the seed of Python's hashes, by which sets are ordered."""
    code = OWN + NAMES + TELL
    environment = {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    run(code)
    assert done.stdout == capsys.readouterr().out
    assert " at 0x" not in done.stdout
    assert describe_callable(lambda: {"one"}) != describe_callable(lambda: {"two"})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("255 - image", "254 - image"),
        ("by=2", "by=4"),
        ("(3)", "(5)"),
        ("darker, by=3", "darker, by=4"),
        ("[value for value in image]", "[value + 1 for value in image]"),
        ("A.Blur(p=0.1)", "A.Blur(p=0.2)"),
        ("A.OneOf([", "A.SomeOf(transforms=["),
        ("A.HorizontalFlip(p=0.5)", "A.VerticalFlip(p=0.5)"),
    ],
)
def test_other_steps_are_described_differently(before, after):
    assert before in OWN
    assert described(OWN) != described(OWN.replace(before, after))


def test_a_functions_place_in_the_file_does_not_matter():
    assert described(OWN) == described(f"\n\n{OWN}")


def test_usual_steps_are_described_as_by_albumentations():
    steps = [A.HorizontalFlip(p=0.5), A.Blur()]
    assert describe_steps(steps) == repr(steps)
