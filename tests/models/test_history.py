import csv
from dataclasses import asdict

import pytest

from pytorch_vision.models import EpochRecord, History

HISTORY = History(
    tuple(EpochRecord(e, 2 / e, 40.123456 + e, 3 / e, 30 + e, 0.1, 1.5, 0.5) for e in (1, 2, 3))
)


def test_a_history_is_written_as_csv(tmp_path):
    HISTORY.to_csv(tmp_path / "new" / "history.csv")
    with open(tmp_path / "new" / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate"):
        assert [float(row[name]) for row in rows] == pytest.approx(HISTORY.column(name), rel=1e-5)


def test_a_history_is_read_from_csv(tmp_path):
    HISTORY.to_csv(tmp_path / "history.csv")
    again = History.from_csv(tmp_path / "history.csv")
    for name in asdict(HISTORY.records[0]):
        assert again.column(name) == pytest.approx(HISTORY.column(name), rel=1e-5)
    assert isinstance(again.records[0].epoch, int)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("epoch,", "step,"), "is not a complete history: .*step"),
        (lambda text: text.replace("41.1235", "many"), "is not a complete history: could not convert"),
        (lambda text: text[: text.rindex(",")], "is not a complete history"),
        (lambda text: text.replace("\n3,", "\n5,"), "is not a complete history: record 3"),
        (lambda text: text + "4,1,1,1,1,1,1,1,1\n", "is not a complete history"),
    ],
)
def test_another_table_is_refused(tmp_path, change, message):
    path = tmp_path / "history.csv"
    HISTORY.to_csv(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        History.from_csv(path)
