"""What README, docs and the notebook's text say: links, commands, examples, figures."""

import hashlib
import itertools
import json
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from small import few_images
from torch.distributed.run import get_args_parser

from pytorch_vision.app.command_line import OWN, OWN_OF, make_parser
from pytorch_vision.app.settings import FIELDS, Settings
from pytorch_vision.models import PRETRAINED, Classifier, History

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "PyTorch_Vision"
NOTEBOOK = ROOT / "S8_ResNet18.ipynb"
PAGES = [
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    LIBRARY / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`( at commit )?")
COMMAND = re.compile(r"([A-Z]\w*=\S+ )*(make|\S*python|\S*torchrun|pip) |--\w")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def cells(kind: str) -> list[dict]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def text_of(page: Path) -> str:
    """Return a page's Markdown, a notebook's too."""
    if page.suffix == ".ipynb":
        return "\n\n".join("".join(cell["source"]) for cell in cells("markdown"))
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: as GitHub makes them, or as Jupyter does for a notebook."""
    text = FENCED.sub("", text_of(page))
    headings = [
        heading.replace("`", "") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    ]
    if page.suffix == ".ipynb":
        named = re.findall(r'<a (?:id|name)="([^"]+)"', text)
        return {heading.replace(" ", "-") for heading in headings} | set(named)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, NOTEBOOK], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = text_of(page)
    for link in re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', text):
        target = "".join(link)
        if "://" in target:
            assert target.startswith("https://")
            assert "OWNER" not in target, f"{target} leads nowhere"
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if page.parent == LIBRARY:  # it is published without the rest
            assert LIBRARY in linked.parents, target
        assert not anchor or anchor in anchors(linked), target


def commands(page: Path) -> list[list[str]]:
    """Return the words of each command of a page, in its blocks and between its lines."""
    text = text_of(page)
    lines = []
    for language, block in FENCED.findall(text):
        lines += block.replace("\\\n", "").splitlines() if not language else []
    words = [shlex.split(line, comments=True) for line in lines]
    for span, at_commit in INLINE.findall(FENCED.sub("", text)):
        # what was run at an earlier commit has the names of its time
        if COMMAND.match(span) and not at_commit:
            words.append(shlex.split(span))
    return [some for some in words if some]


@pages
def test_commands_run(page, tmp_path, monkeypatch):
    (tmp_path / "photographs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for _, block in FENCED.findall(text_of(page)):
        if named := re.match(r"# (\w+\.py)\n", block):  # a file that commands of the page use
            (tmp_path / named[1]).write_text(block)
    for words in commands(page):
        check(words, LIBRARY if page.parent == LIBRARY else ROOT)
    for span, at_commit in INLINE.findall(text_of(page)):
        for name in re.findall(r"\bS8_([A-Z_]+)\b", span):
            assert at_commit or name.lower() in FIELDS, name


def check(words: list[str], folder: Path) -> None:
    """Check a command without running what would take long."""
    said, values = shlex.join(words), {}
    while re.match(r"S8_\w+=", words[0]):
        name, _, values_text = words.pop(0).removeprefix("S8_").partition("=")
        values[name.lower()] = values_text
    Settings.of(**values)
    program, *arguments = words
    match [Path(program).name, *arguments]:
        case ["make", *_]:
            done = subprocess.run(
                ["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{said}: {done.stderr}"
        case ["python", "-m", "pytorch_vision", *options]:
            check_options(options)
        case ["torchrun", *_]:
            launched = get_args_parser().parse_args(arguments)
            assert launched.module
            assert launched.training_script == "pytorch_vision"
            check_options(launched.training_script_args)
        case ["python", "-m", "pytest", file, "-k", name]:
            assert re.search(rf"^def test_\w*{name}", (ROOT / file).read_text(), re.MULTILINE), said
        case ["python", script, *trials]:
            compile((folder / script).read_text(encoding="utf-8"), script, "exec")
            assert all(one.split("=")[0] in FIELDS for one in trials if "=" in one), said
        case ["pip", "install", *what]:
            folders = [one.partition("[")[0] for one in what if one.startswith(".")]
            assert all((folder / one).exists() for one in folders), said
        case [option, *_] if option.startswith("--"):
            options = [word for word in words if word.startswith("--")]
            known = {f"--{name.replace('_', '-')}" for name in (*FIELDS, *OWN)}
            known |= {"--help", "--image"}
            assert set(options) <= known, said
            if options[0] not in ("--help", "--image") and len(words) > len(options):
                name = options[0].removeprefix("--")
                command = next((one for one, names in OWN_OF.items() if name in names), "train")
                check_options([command, *(["new"] if command == "predict" else []), *words])
        case _:
            assert program in ("cp",), f"no check for {said}"
            assert shutil.which(program)


def check_options(arguments: list[str]) -> None:
    """Check the options of ``python -m pytorch_vision``, and their values."""
    options = vars(make_parser().parse_args(arguments))
    given = {name: options[name] for name in FIELDS if options.get(name) is not None}
    several = [one if isinstance(one, list) else [one] for one in given.values()]
    for values in itertools.product(*several):
        Settings.of(**dict(zip(given, values, strict=True)))


@pages
def test_what_python_blocks_import_is_there(page):
    for language, block in FENCED.findall(text_of(page)):
        if language == "python":
            compile(block, page.name, "exec")
            exec("\n".join(line for line in block.splitlines() if line.startswith("from ")), {})


@pytest.mark.parametrize(
    ("page", "files"),
    [
        (ROOT / "README.md", {"errors.png"}),
        (LIBRARY / "README.md", {"curves.png", "errors.png", "classifier.safetensors"}),
    ],
    ids=["README.md", "PyTorch_Vision/README.md"],
)
def test_the_first_example_runs(page, files, tmp_path, monkeypatch):
    example = next(block for language, block in FENCED.findall(text_of(page)) if language)
    assert 'load_data("sample")' in example
    example = example.replace('load_data("sample")', "few_images()")  # a minute less
    monkeypatch.chdir(tmp_path)
    exec(compile(example, page.name, "exec"), {"few_images": few_images})
    assert {path.name for path in tmp_path.iterdir()} == files


def test_the_page_of_settings_is_what_the_code_declares():
    made = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["page"]()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == made, "run make docs"
    assert re.findall(r"^\| `(\w+)` \|.*\|.*\|$", made, re.MULTILINE) == list(FIELDS)


def test_the_librarys_readme_names_each_module():
    named = set(re.findall(r"`(\w+)`", text_of(LIBRARY / "README.md")))
    package = LIBRARY / "pytorch_vision"
    modules = {path.stem for path in package.rglob("*.py") if not path.stem.startswith("__")}
    assert modules <= named
    assert {path.parent.name for path in package.glob("*/__init__.py")} <= named


@pytest.fixture(scope="module")
def stored() -> History:
    """The history of the run whose pictures and weights are in the repository."""
    return History.from_csv(ROOT / "plots" / "history.csv")


def test_the_stored_runs_figures_are_the_same_everywhere(stored):
    accuracies = [f"{accuracy:.2f}" for accuracy in stored.column("test_accuracy")]
    accuracy = accuracies[-1]
    seconds = sum(stored.column("train_seconds") + stored.column("test_seconds"))
    errors = round(10_000 - 100 * float(accuracy))
    hours, minutes = divmod(round(seconds / 60), 60)
    took = f"{hours} h {minutes} min" if hours else f"{seconds:.0f} s"

    outputs = [output for cell in cells("code") for output in cell["outputs"]]
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    assert re.findall(r"^Test set: .*\((.*)%\)$", printed, re.MULTILINE) == accuracies
    # what follows the training is of the stored weights, rounded to float16, in float32
    (shown,) = re.findall(r"([\d,]+) of 10,000 test images are misclassified", printed)
    assert abs(int(shown) - errors) <= 3

    for page, row in {"README.md": "as it is stored", "docs/results.md": "the stored run"}.items():
        lines = [line for line in text_of(ROOT / page).splitlines() if f"{row}**" in line]
        assert len(lines) == 1, page
        assert f"{accuracy} %" in lines[0]
        assert took in lines[0]
        assert page == "README.md" or f"({errors} errors)" in lines[0]


def test_the_stored_weights_are_those_of_the_stored_run(stored):
    own = Classifier.load("pretrained").history
    assert own.column("test_accuracy") == pytest.approx(stored.column("test_accuracy"))
    assert PRETRAINED.stat().st_size <= 23 * 2**20
    digest = hashlib.sha256(PRETRAINED.read_bytes()).hexdigest()
    assert digest in text_of(ROOT / "docs" / "results.md")
