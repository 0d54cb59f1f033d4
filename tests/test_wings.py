"""The plan of the house: which part of the package may import which."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

from pytorch_vision import app

PACKAGE = Path(__file__).parents[1] / "PyTorch_Vision" / "pytorch_vision"
WINGS = ("runtime", "data", "models", "training", "explain", "analysis", "app")


def imported_names(path: Path) -> set[str]:
    """Return the dotted names that a file imports, as in "pytorch_vision.data.ImageData"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules_of_ours(path: Path) -> set[str]:
    """Return the wings and modules of ours that a file imports, as in "data.images"."""
    found = set()
    for name in imported_names(path):
        parts = name.split(".")[1:] if name.startswith("pytorch_vision.") else []
        # the last part can be a function or a class
        while parts and not (PACKAGE.joinpath(*parts[:-1], f"{parts[-1]}.py").is_file()):
            if PACKAGE.joinpath(*parts).is_dir():
                break
            parts.pop()
        found |= {".".join(parts)} - {""}
    return found


def modules(wing: str) -> list[Path]:
    return [path for path in (PACKAGE / wing).glob("*.py") if path.name != "__init__.py"]


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_imports_only_from_wings_before_it(wing):
    allowed = WINGS[: WINGS.index(wing) + 1]
    assert modules(wing)
    for path in (PACKAGE / wing).rglob("*.py"):
        for name in modules_of_ours(path):
            assert name.split(".")[0] in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("wing", WINGS)
def test_the_modules_of_a_wing_have_an_order_too(wing):
    needs = {}
    for path in modules(wing):
        own = {name for name in modules_of_ours(path) if name.split(".")[0] == wing}
        assert wing not in own, f"{path.name} imports its own wing as a whole"
        needs[f"{wing}.{path.stem}"] = own
    list(graphlib.TopologicalSorter(needs).static_order())  # raises where there is a cycle


def test_what_app_loads_when_it_is_first_used_is_there():
    assert all(hasattr(app, name) for name in app.__all__)


@pytest.mark.parametrize("name", ["pytorch_vision.__main__", "pytorch_vision.install"])
def test_importing_the_package_loads_nothing(name):
    command = [sys.executable, "-c", f"import sys, {name}; print(*sys.modules)"]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    loaded = {module.partition(".")[0] for module in done.stdout.split()}
    assert "pytorch_vision" in loaded
    assert not loaded & {"torch", "numpy", "pydantic", "albumentations", "matplotlib"}


def test_install_needs_only_what_every_kernel_has():
    names = {name.partition(".")[0] for name in imported_names(PACKAGE / "install.py")}
    assert names <= {*sys.stdlib_module_names, "packaging"}


def test_pyplot_is_the_users_alone():
    """Imported, it would ask for a backend that a server may not have."""
    for path in PACKAGE.rglob("*.py"):
        assert "matplotlib.pyplot" not in path.read_text(), path
