"""Publish the library as a separate branch, and put the Colab badge into README and notebook.

    python publish.py OWNER REPOSITORY [--library https://github.com/OWNER/ANOTHER]

OWNER and REPOSITORY name this repository on GitHub, to which it must have been pushed. The library
is published there, or in the repository of ``--library``, from which the notebook clones it.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
README, NOTEBOOK = ROOT / "README.md", ROOT / "S8_ResNet18.ipynb"
BRANCH = "pytorch-vision"
COLAB = "https://colab.research.google.com"
ADDRESS = r"https://github\.com/[\w.-]+/[\w.-]+"


def main(owner: str, repository: str, library: str = "") -> None:
    """Publish the library's branch, then write the badge into README and notebook."""
    for name in (owner, repository):
        if not re.fullmatch(r"[\w.-]+", name):
            sys.exit(f"{name!r} is not a name on GitHub: make publish OWNER=... REPOSITORY=...")
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    title = notebook["cells"][0]
    setup = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    library = library or f"https://github.com/{owner}/{repository}"
    if not re.fullmatch(ADDRESS, library):
        sys.exit(f"the library's address is {library!r}, expected https://github.com/OWNER/NAME")

    head = git("ls-remote", "--symref", f"https://github.com/{owner}/{repository}", "HEAD")
    published = re.match(r"ref: refs/heads/(\S+)", head)
    if not published:
        sys.exit(f"{owner}/{repository} is empty: push this repository there first")
    git("subtree", "split", "--prefix", "PyTorch_Vision", "--branch", BRANCH)
    git("push", library, BRANCH)

    page = f"{COLAB}/github/{owner}/{repository}/blob/{published[1]}/{NOTEBOOK.name}"
    badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({page})"
    README.write_text(with_badge(README.read_text(encoding="utf-8"), badge), encoding="utf-8")
    edit(title, lambda text: with_badge(text, badge))
    edit(setup, lambda text: re.sub(ADDRESS, library, text, count=1))
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    NOTEBOOK.write_text(f"{text}\n", encoding="utf-8")
    print(f"The library is at {library}, branch {BRANCH}.")
    print(f"The badge is in {README.name} and {NOTEBOOK.name}: commit them and push them.")


def git(*arguments: str) -> str:
    """Run git here and return its output; on an error, which git prints, exit."""
    silent = {} if arguments[0] == "push" else {"GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(
        ["git", *arguments],
        cwd=ROOT,
        env={**os.environ, **silent},  # only a push may ask for a password
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.exit(f"git {' '.join(arguments)} failed; README and notebook are unchanged")
    return done.stdout


def with_badge(text: str, badge: str) -> str:
    """Return a Markdown text with the badge under its title, replacing an earlier badge."""
    title, _, rest = text.partition("\n")
    rest = re.sub(r"\A\n\[!\[Open in Colab\].*\n", "", rest)
    return f"{title}\n\n{badge}\n{rest}"


def edit(cell: dict[str, Any], change: Any) -> None:
    """Apply a function to a cell's text, in place."""
    cell["source"] = change("".join(cell["source"])).splitlines(keepends=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("owner")
    parser.add_argument("repository")
    parser.add_argument("--library", default="", help="another address to publish the library at")
    options = parser.parse_args()
    main(options.owner, options.repository, options.library)
