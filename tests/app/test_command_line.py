import json
import runpy
from pathlib import Path

import pytest

from pytorch_vision import __version__
from pytorch_vision.app.command_line import HELP, OPTIONS, SETTINGS, parse
from pytorch_vision.app.commands import COMMANDS
from pytorch_vision.app.settings import FIELDS

ROOT = Path(__file__).parents[2]


def ended(capsys, *arguments: str) -> tuple[int, str]:
    """Return the status with which parsing ended the program, and what it printed."""
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    printed = capsys.readouterr()
    return int(caught.value.code), printed.out + printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_in_groups(capsys, command):
    status, printed = ended(capsys, command, "--help")
    assert status == 0
    assert ("output:\n  --output" in printed) == ("output" in SETTINGS[command])
    assert ("network:\n  --model" in printed) == ("model" in SETTINGS[command])


def test_help_shows_the_defaults_of_the_command(capsys):
    shown = " ".join(ended(capsys, "train", "--help")[1].split())
    assert "(default: those that the model's name asks for, or random ones)" in shown
    assert "default: 0.05 for muon, 0.2 for sgd, 0.001 for adamw" in shown
    for name in ("momentum", "label_smoothing", "optimizer"):
        option = shown.split(f"--{name.replace('_', '-')} ")[-1]
        assert f"(default: {FIELDS[name].default})" in option.split(" --")[0]
    assert "(default: pretrained)" in " ".join(ended(capsys, "evaluate", "--help")[1].split())


def test_version(capsys):
    assert ended(capsys, "--version") == (0, f"{__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("trian",), "there is no command 'trian'; did you mean train?"),
        (("zzz",), "there is no command 'zzz'; expected one of check, train"),
        (("train", "--epohcs", "3"), "there is no option --epohcs; did you mean --epochs?"),
        (
            ("predict", "a.png", "--probabilites"),
            "there is no option --probabilites; did you mean --probabilities?",
        ),
        (("evaluate", "other.safetensors"), "evaluate does not take 'other.safetensors'"),
        (("train", "--lerning-rate=3"), "did you mean --learning-rate?"),
        ((), "the following arguments are required: COMMAND"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(capsys, arguments, advice):
    status, printed = ended(capsys, *arguments)
    assert status == 2
    assert advice in printed


@pytest.mark.parametrize(
    "words",
    [
        ("new", "a.png", "--weights", "1.safetensors", "2.safetensors"),
        ("--weights", "1.safetensors", "2.safetensors", "new", "a.png"),
    ],
)
def test_pictures_are_told_from_several_weights(words):
    options = parse(["predict", *words])
    assert options["weights"] == ["1.safetensors", "2.safetensors"]
    assert options["files"] == ["new", "a.png"]
    assert parse(["predict", "--weights", "any", "new"])["files"] == ["new"]
    with pytest.raises(SystemExit):
        parse(["predict", "--weights", "1.safetensors", "2.safetensors"])


def test_every_setting_is_an_option_and_every_command_has_a_function():
    """Google Drive is the notebook's alone."""
    names = {name for names in SETTINGS.values() for name in names}
    assert names == FIELDS.keys() - {"keep_on_drive"}
    assert HELP.keys() == SETTINGS.keys() == COMMANDS.keys()


def test_options_json_is_what_the_code_declares():
    made = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["options"]()
    assert json.loads(made) == OPTIONS, "run make docs"
