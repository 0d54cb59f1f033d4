import csv
import json
import math
import re
from dataclasses import replace

import pytest

from pytorch_vision.app.compare import FinishedRun, compare_runs, read_runs, write_comparison
from pytorch_vision.models import EpochRecord, History

HISTORY = History(
    tuple(
        EpochRecord(e, 4.0 - e, 40.0, 3 / e, a, 0.1, 1.5, 0.5)
        for e, a in ((1, 30.0), (2, 50.0), (3, 45.0))
    )
)


def run(name: str, fingerprint: str = "a", epochs: int = 3, **settings: object) -> FinishedRun:
    manifest = {
        "settings": {"seed": 0, "output": name, **settings},
        "data": {"fingerprint": fingerprint},
        "network": {"name": "ResNet18 on mine"},
    }
    return FinishedRun(name, manifest, History(HISTORY.records[:epochs]))


def test_a_table_has_what_differs_and_what_came_out():
    table = compare_runs([run("one", momentum=0.9), run("two", momentum=0.5)])
    header, first, second, *below = (re.split(r"\s{2,}", line) for line in table.splitlines())
    assert header == ["run", "network", "epochs", "test accuracy", "best", "loss", "seconds"]
    assert first == ["one", "ResNet18 on mine", "3", "45.00 %", "50.00 % (2)", "1.0000", "6.0"]
    assert second[0] == "two"
    assert below[1:] == [["momentum", "0.9, 0.5"]]


def test_runs_over_seeds_have_mean_and_deviation():
    """By setting: a run of another setting, or alone with its setting, is not among them."""
    runs = [run("a", seed=0), run("b", seed=1, epochs=2), run("c", seed=2, momentum=0.5)]
    runs.append(run("d", "other images", seed=3))
    table = compare_runs(runs)
    assert table.count("test accuracy 4") == 1
    assert "a, b  2 runs  test accuracy 47.50 ± 3.54 %  loss 1.2500 ± 0.3536" in table
    assert "±" not in compare_runs(runs[1:])
    changed = replace(runs[1], manifest={**runs[1].manifest, "identity_over_seeds": "other"})
    assert "±" not in compare_runs([runs[0], changed])  # such as another network of one name
    diverged = replace(HISTORY.records[0], test_loss=math.inf)
    lost = [replace(run(f"lost-{n}", seed=n), history=History((diverged,))) for n in range(2)]
    assert "2 runs  test accuracy 30.00 ± 0.00 %  loss inf ± nan" in compare_runs(lost)
    long = [run(f"runs/a-long-study-of-nothing-at-all/seed-{n}", seed=n) for n in range(3)]
    assert "\nruns/a-long-study-of-nothing-at-all/seed-0 and 2 more  3 runs" in compare_runs(long)


def test_an_unfinished_run_is_shown_and_not_in_the_mean(tmp_path):
    for place, status in (("0", "finished"), ("1", "stopped"), ("2/unfinished", "interrupted")):
        folder, seed = tmp_path / "study" / place, int(place[0])
        HISTORY.to_csv(folder / "plots" / "history.csv")
        manifest = {**run("x", seed=seed).manifest, "status": status}
        (folder / "run.json").write_text(json.dumps(manifest))
    table = compare_runs(read_runs(tmp_path / "study"))
    assert re.search(r"/2/unfinished +ResNet18 on mine +3 ", table)
    assert "  2 runs  test accuracy 45.00 ± 0.00 %" in table


def test_a_folder_of_runs_stands_for_them(tmp_path):
    for name in ("seed-1", "seed-0"):
        HISTORY.to_csv(tmp_path / "study" / name / "plots" / "history.csv")
    (tmp_path / "study" / "notes").mkdir()
    names = [str(tmp_path / "study" / name) for name in ("seed-0", "seed-1")]
    assert [one.name for one in read_runs(tmp_path / "study")] == names
    assert [one.name for one in read_runs(names[0])] == names[:1]
    with pytest.raises(ValueError, match=r"notes holds no run: there is no history\.csv"):
        read_runs(tmp_path / "study" / "notes")
    assert [one.name for one in read_runs(tmp_path)] == names
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "best").symlink_to(names[0])
    (tmp_path / "linked" / "round").symlink_to(tmp_path / "linked")
    assert [one.name for one in read_runs(tmp_path / "linked")] == [str(tmp_path / "linked/best")]


def test_a_comparison_is_a_table_too(tmp_path):
    write_comparison([run("a", seed=0), run("b", seed=1, momentum=0.5)], tmp_path / "c.csv")
    with open(tmp_path / "c.csv", newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["run"], first["network"], first["epochs"]) == ("a", "ResNet18 on mine", "3")
    assert (first["test_accuracy"], first["best_epoch"], first["test_loss"]) == ("45", "2", "1")
    assert (second["momentum"], second["seed"], first["momentum"]) == ("0.5", "1", "unset")


def test_a_table_fits_a_terminal_however_much_differs():
    """Other networks have other recipes, which differ in many settings."""
    runs = [run(f"run-{n}", **{f"setting_{i}": n / 7 for i in range(20)}) for n in range(4)]
    assert max(map(len, compare_runs(runs).splitlines())) <= 100


def test_other_images_are_said():
    assert "not all trained and tested on the same" in compare_runs([run("one"), run("two", "b")])
    assert "not all trained" not in compare_runs([run("one"), run("two")])


def test_a_run_without_a_manifest_has_its_history(tmp_path):
    HISTORY.to_csv(tmp_path / "old" / "plots" / "history.csv")
    found = FinishedRun.read(tmp_path / "old")
    assert found.history == HISTORY
    assert "unknown" in compare_runs([found, FinishedRun("empty", {}, History())])
    table = compare_runs([run("one", seed=0), found, run("two", seed=0, momentum=0.5)])
    assert f"as run.json is missing or damaged: settings of {found.name}" in table
    assert table.endswith("momentum  unset, unknown, 0.5") or "unset, unknown, 0.5\n" in table
    assert "\nseed" not in table
    assert "not all trained" not in table
