"""What the READMEs say that you can do."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_librarys_example_runs(tmp_path, monkeypatch):
    text = (ROOT / "PyTorch_Vision" / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "errors.png"}


def test_the_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"(?:^|`|\d )make ([a-z]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
