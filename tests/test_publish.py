"""``make publish``, to local repositories in place of GitHub's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import commit, git

ROOT = Path(__file__).parents[1]
SETUP = 'URL = "https://github.com/somebody/Library"\nprint(URL)'


@pytest.fixture
def here(tmp_path) -> Path:
    """A repository like this one, pushed to me/project; me/another has other content."""
    cell = {"metadata": {}, "source": ["# A title\n", "\n", "It begins."]}
    code = {"cell_type": "code", "outputs": [], "source": SETUP.splitlines(keepends=True)}
    notebook = {"cells": [{"cell_type": "markdown", **cell}, code], "nbformat": 4}
    for name in ("me/project", "me/another", "me/empty"):
        git(tmp_path, "init", "--quiet", "--initial-branch", "main", f"github/{name}")
    folder = tmp_path / "here"
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", "here")
    files = {
        "README.md": "# A title\n\nIt begins.\n",
        "S8_ResNet18.ipynb": json.dumps(notebook),
        "PyTorch_Vision/pyproject.toml": "",
        "publish.py": (ROOT / "publish.py").read_text(),
    }
    commit(folder, files)
    git(folder, "push", "--quiet", str(tmp_path / "github/me/project"), "main:trunk")
    git(tmp_path / "github/me/project", "symbolic-ref", "HEAD", "refs/heads/trunk")
    commit(tmp_path / "github/me/another", {"news": "on its main branch"})
    return folder


def publish(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    github = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{folder.parent}/github/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }
    command = [sys.executable, folder / "publish.py", *arguments]
    return subprocess.run(command, env={**os.environ, **github}, capture_output=True, text=True)


def texts(folder: Path) -> tuple[str, str, str]:
    """Return README and the notebook's first two cells."""
    notebook = json.loads((folder / "S8_ResNet18.ipynb").read_text())
    first, second = ("".join(cell["source"]) for cell in notebook["cells"])
    return (folder / "README.md").read_text(), first, second


def test_the_library_is_published_and_the_badge_inserted(here):
    library = here.parent / "github" / "me" / "project"
    trunk = git(library, "rev-parse", "trunk")
    for time in ("once", "again"):
        done = publish(here, "me", "project")
        assert done.returncode == 0, done.stderr
        assert git(library, "rev-parse", "trunk") == trunk
        readme, first, second = texts(here)
        page = "https://colab.research.google.com/github/me/project/blob/trunk/S8_ResNet18.ipynb"
        badge, beginning = readme.split("\n")[2], readme.split("\n")[4]
        assert badge.endswith(f"]({page})")
        assert beginning == "It begins."
        assert first == readme.rstrip()
        assert second == SETUP.replace("somebody/Library", "me/project")
        commit(here, {f"PyTorch_Vision/{time}": ""})
    published = git(library, "ls-tree", "--name-only", "pytorch-vision").split()
    assert published == ["once", "pyproject.toml"]


def test_the_library_can_have_a_repository_of_its_own(here):
    library = here.parent / "github/me/another"
    main = git(library, "rev-parse", "main")
    done = publish(here, "me", "project", "--library", "https://github.com/me/another")
    assert done.returncode == 0, done.stderr
    assert git(library, "ls-tree", "pytorch-vision")
    assert git(library, "rev-parse", "main") == main
    assert texts(here)[2] == SETUP.replace("somebody/Library", "me/another")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", ""), "'' is not a name on GitHub: make publish OWNER=... REPOSITORY=..."),
        (("me", "nowhere"), "README and notebook are unchanged"),
        (("me", "empty"), "me/empty is empty: push this repository there first"),
        (("me", "project", "--library", "elsewhere"), "the library's address is 'elsewhere'"),
        (
            ("me", "project", "--library", "https://github.com/me/nowhere"),
            "README and notebook are unchanged",
        ),
    ],
)
def test_an_error_changes_nothing(here, arguments, message):
    before = texts(here)
    done = publish(here, *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert texts(here) == before
