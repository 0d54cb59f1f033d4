import pytest

from pytorch_vision.analysis import FinishedRun, compare_runs
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
    header, first, second = (line.split("  ") for line in table.splitlines())
    assert [text.strip() for text in header if text.strip()] == [
        "run", "network", "seed", "epochs", "test accuracy", "best", "loss", "seconds",
    ]  # fmt: skip
    shown = [text.strip() for text in first if text.strip()]
    assert shown == ["one", "ResNet18 on mine", "0", "3", "45.00 %", "50.00 % (2)", "1.0000", "6.0"]
    assert "two" in second


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
