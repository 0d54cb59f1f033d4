"""What the notebook's first cell calls. Needs nothing beyond the standard library."""

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

KEPT = ("torch", "torchvision", "numpy")  # as they are: replacing one breaks a running session
LIBRARY = Path(__file__).parents[1]  # the folder that pytorch_vision is imported from


def install_missing(library: Path = LIBRARY) -> None:
    """Install those of the library's dependencies that are missing or too old, by pip.

    The network is not asked where nothing is missing. torch, torchvision and numpy stay in the
    version that is there. Prints what was installed.

    Args:
        library: a folder with the ``pyproject.toml`` that lists the dependencies.

    Raises:
        RuntimeError: pip failed; says what it said.
    """
    project = tomllib.loads((library / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [requirement for requirement in project["dependencies"] if not _is_met(requirement)]
    if needed:
        kept = [f"{name}=={_version(name)}" for name in KEPT if _version(name)]
        _pip("install", "--quiet", *needed, *kept)
        importlib.invalidate_caches()
    installed = ", ".join(_parts(requirement)[0] for requirement in needed) or "nothing"
    print(f"PyTorch_Vision is ready; installed just now: {installed}")


def _pip(*arguments: str) -> None:
    command = (sys.executable, "-m", "pip", *arguments)
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {result.stderr.strip()}")


def _is_met(requirement: str) -> bool:
    """Tell whether an installed version meets a requirement such as "numpy>=1.26,<3"."""
    name, bounds = _parts(requirement)
    found = _version(name)
    if found is None:
        return False
    release = _release(found)
    return all(
        release >= _release(bound) if sign == ">=" else release < _release(bound)
        for sign, bound in bounds
    )


def _parts(requirement: str) -> tuple[str, list[tuple[str, str]]]:
    """Split "numpy>=1.26,<3" into its name and its bounds; these two signs are all we use."""
    found = re.fullmatch(r"(\w[\w.-]*)((>=|<)[\d.]+(,(>=|<)[\d.]+)*)?", requirement)
    if not found:
        raise ValueError(f"the requirement {requirement!r} is not of the form name>=1.2,<3")
    return found[1], re.findall(r"(>=|<)([\d.]+)", requirement)


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, without trailing zeros: 2.9.0+cpu is 2, 9."""
    numbers = [int(number) for number in re.split(r"[^\d.]", version)[0].split(".") if number]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
