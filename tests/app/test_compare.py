import re

import pytest

from pytorch_vision.app import FinishedRun, compare_runs
from pytorch_vision.models import EpochRecord, History

HISTORY = History(
    tuple(
        EpochRecord(e, 4.0 - e, 40.0, 3 / e, a, 0.1, 1.5, 0.5)
        for e, a in ((1, 30.0), (2, 50.0), (3, 45.0))
    )
)


def run(name: str, fingerprint: str = "a", **settings: object) -> FinishedRun:
    made_with = {
        "settings": {"seed": 0, "output": name, **settings},
        "data": {"fingerprint": fingerprint},
        "network": {"name": "ResNet18 on mine"},
    }
    return FinishedRun(name, made_with, HISTORY)


def test_a_table_has_what_differs_and_what_came_out():
    table = compare_runs([run("one", momentum=0.9), run("two", seed=1, momentum=0.9)])
    header, first, second, *below = (re.split(r"\s{2,}", line) for line in table.splitlines())
    assert header == ["run", "network", "epochs", "test accuracy", "best", "loss", "seconds"]
    assert first == ["one", "ResNet18 on mine", "3", "45.00 %", "50.00 % (2)", "1.0000", "6.0"]
    assert second[0] == "two"
    assert below[1:] == [["seed", "0, 1"]]


def test_a_table_fits_a_terminal_however_much_differs():
    """Other networks have other recipes, which differ in many settings."""
    runs = [run(f"run-{n}", **{f"setting_{i}": n / 7 for i in range(20)}) for n in range(4)]
    assert max(map(len, compare_runs(runs).splitlines())) <= 100


def test_other_images_are_said():
    assert "not all trained and tested on the same" in compare_runs([run("one"), run("two", "b")])
    assert "not all trained" not in compare_runs([run("one"), run("two")])


def test_a_run_without_a_file_of_its_own_has_its_history(tmp_path):
    HISTORY.to_csv(tmp_path / "old" / "plots" / "history.csv")
    found = FinishedRun.read(tmp_path / "old")
    assert found.history == HISTORY
    assert "unknown" in compare_runs([found, FinishedRun("empty", {}, History())])


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none holds no run: there is no history\.csv"):
        FinishedRun.read(tmp_path / "none")
