import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from pytorch_vision import install


@pytest.fixture
def pip(monkeypatch) -> list[list[str]]:
    """The commands that would have been run; one that names "broken" fails."""
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        commands.append(command[1:])
        failed = "broken" in command
        return subprocess.CompletedProcess(command, int(failed), "", "no matching distribution\n")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def library(folder: Path, *requirements: str) -> Path:
    """Make a library with the given dependencies."""
    dependencies = json.dumps(list(requirements))
    (folder / "pyproject.toml").write_text(f"[project]\ndependencies = {dependencies}\n")
    return folder


def test_pip_is_not_run_if_nothing_is_missing(pip, capsys):
    install.install_missing()
    assert pip == []
    printed = capsys.readouterr().out
    assert printed == "PyTorch_Vision is ready; installed just now: nothing\n"


def test_missing_and_old_packages_are_installed_without_replacing_torch(pip, tmp_path, capsys):
    missing = ["not-there>=1", "tqdm>=999", "pillow>=2,<3"]
    install.install_missing(library(tmp_path, *missing, "numpy>=1", "torch>=2"))
    kept = [f"{name}=={version(name)}" for name in ("torch", "torchvision", "numpy")]
    assert pip == [["-m", "pip", "install", "--quiet", *missing, *kept]]
    assert "installed just now: not-there>=1, tqdm>=999, pillow>=2,<3" in capsys.readouterr().out


def test_an_error_of_pip_is_raised_with_its_message(pip, tmp_path):
    with pytest.raises(RuntimeError, match=r"install --quiet broken .* failed: no matching dist"):
        install.install_missing(library(tmp_path, "broken"))
