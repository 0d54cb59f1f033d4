import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pytorch_vision import install


def library(folder: Path, *requirements: str) -> Path:
    """Make a library that asks for these."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(
        f"[project]\ndependencies = {json.dumps(list(requirements))}\n"
    )
    return folder


@pytest.fixture
def told(monkeypatch) -> list[tuple[str, ...]]:
    """What pip would have been told; it is not called."""
    calls = []
    monkeypatch.setattr(install, "_pip", lambda *arguments: calls.append(arguments))
    return calls


def test_nothing_is_asked_where_nothing_is_missing(told, capsys):
    install.install_missing()
    assert told == []
    printed = capsys.readouterr().out
    assert printed == "PyTorch_Vision is ready; installed just now: nothing\n"


def test_what_is_missing_or_too_old_is_installed_beside_torch(told, tmp_path, capsys):
    folder = library(tmp_path, "not-there>=1", "tqdm>=999", "pillow>=2,<3", "numpy>=1", "torch>=2")
    install.install_missing(folder)
    kept = [f"{name}=={version(name)}" for name in ("torch", "torchvision", "numpy")]
    wanted = ("not-there>=1", "tqdm>=999", "pillow>=2,<3")
    assert told == [("install", "--quiet", *wanted, *kept)]
    assert "installed just now: not-there, tqdm, pillow" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "requirement", "met"),
    [
        ("2.9.0+cu128", "torch>=2.9", True),
        ("2.10.0", "torch>=2.9", True),
        ("2.9", "torch>=2.9.0", True),
        ("2.8.9", "torch>=2.9", False),
        ("2.0.8", "albumentations>=2,<3", True),
        ("3.0.0rc1", "albumentations>=2,<3", False),
        ("13.0.0", "pillow>=11", True),
        (None, "pillow>=11", False),
        (None, "pillow", False),
        ("1", "pillow", True),
    ],
)
def test_versions_are_compared_as_numbers(monkeypatch, found, requirement, met):
    monkeypatch.setattr(install, "_version", lambda _name: found)
    assert install._is_met(requirement) is met


@pytest.mark.parametrize("requirement", ["torch~=2.9", "torch>=2.9; python_version<'3'", "--index"])
def test_a_requirement_of_another_form_is_refused(requirement, tmp_path):
    with pytest.raises(ValueError, match=r"is not of the form name>=1\.2,<3"):
        install.install_missing(library(tmp_path, requirement))


def test_our_own_requirements_are_read_as_packaging_reads_them():
    project = tomllib.loads((install.LIBRARY / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        requirement = Requirement(text)
        expected = requirement.specifier.contains(version(requirement.name), prereleases=True)
        assert install._is_met(text) is expected


def test_pips_failure_is_told_in_its_own_words(tmp_path):
    """By a stand-in for pip, found before the real one."""
    pip = tmp_path / "pip" / "__main__.py"
    pip.parent.mkdir()
    (pip.parent / "__init__.py").touch()
    pip.write_text("raise SystemExit('no matching distribution')")
    asking = library(tmp_path / "library", "not-there>=1")
    program = (
        "from pathlib import Path; from pytorch_vision.install import install_missing; "
        f"install_missing(Path({str(asking)!r}))"
    )
    failed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{install.LIBRARY}"},
        capture_output=True,
        text=True,
    )
    assert failed.returncode != 0
    assert "RuntimeError: " in failed.stderr
    assert "-m pip install --quiet not-there>=1" in failed.stderr
    assert failed.stderr.strip().endswith("failed: no matching distribution")
