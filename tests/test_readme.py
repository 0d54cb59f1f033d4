"""What the READMEs say that you can do."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_librarys_example_runs(tmp_path, monkeypatch):
    text = (ROOT / "PyTorch_Vision" / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "errors.png"}


@pytest.mark.parametrize(
    "page", ["README.md", "PUBLISHING.md", "benchmarks/README.md", "PyTorch_Vision/README.md"]
)
def test_what_a_page_names_is_there(page):
    makefile, text = (ROOT / "Makefile").read_text(), (ROOT / page).read_text()
    for target in re.findall(r"(?:^|`|\d )make ([a-z]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link
    for script in re.findall(r"python ((?:benchmarks|PyTorch_Vision)/\w+\.py)", text):
        assert (ROOT / script).exists(), script
