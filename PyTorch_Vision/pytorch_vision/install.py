"""Install the packages that the library needs, for the notebook's first cell."""

import importlib
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement  # which every notebook kernel has

KEPT = ("torch", "torchvision", "numpy")  # replacing one of these breaks a running session
LIBRARY = Path(__file__).parents[1]  # the folder that pytorch_vision is imported from


def install_missing(library: Path = LIBRARY) -> None:
    """Install the dependencies that are missing or too old by pip, and print which.

    An installed torch, torchvision or numpy keeps its version. Where nothing is missing, neither
    pip nor the network is used.

    Args:
        library: a folder with the ``pyproject.toml`` that lists the dependencies.

    Raises:
        RuntimeError: pip failed; the message holds its own.
    """
    project = tomllib.loads((library / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    missing = [text for text in project["dependencies"] if not _is_met(text)]
    if missing:
        kept = [f"{name}=={version(name)}" for name in KEPT if _is_met(name)]
        command = [sys.executable, "-m", "pip", "install", "--quiet", *missing, *kept]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
        importlib.invalidate_caches()
    print(f"PyTorch_Vision is ready; installed just now: {', '.join(missing) or 'nothing'}")


def _is_met(text: str) -> bool:
    """Tell whether a package is installed in a version that meets a requirement."""
    requirement = Requirement(text)
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False
