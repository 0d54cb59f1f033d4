from dataclasses import asdict

import pytest

from pytorch_vision.models import EpochRecord, History

HISTORY = History(
    tuple(
        EpochRecord(e, 2 / e, 40.123456 + e, 3 / e, 30 + e, 0.1, 1.5, 0.5, 0.2) for e in (1, 2, 3)
    )
)


def test_a_history_is_written_and_read_as_csv(tmp_path):
    path, names = tmp_path / "new" / "history.csv", list(asdict(HISTORY.records[0]))
    HISTORY.to_csv(path)
    assert path.read_text().splitlines()[:2] == [
        ",".join(names),
        "1,2,41.1235,3,31,0.1,1.5,0.5,0.2",
    ]
    again = History.from_csv(path)
    for name in names:
        assert again.column(name) == pytest.approx(HISTORY.column(name), rel=1e-5)
    assert isinstance(again.records[0].epoch, int)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("epoch,", "step,"), "lacks the columns epoch"),
        (lambda text: "", "lacks the columns epoch, learning_rate"),
        (lambda text: text[:20], "lacks the columns learning_rate"),
        (lambda text: text.replace("41.1235", "many"), "could not convert"),
        (lambda text: text[: text.rindex(",")], ""),
        (lambda text: text.replace("\n3,", "\n5,"), "record 3"),
        (lambda text: text + "4,1,1,1,1,1,1,1,1,1\n", ""),
    ],
)
def test_another_table_is_refused(tmp_path, change, message):
    path = tmp_path / "history.csv"
    HISTORY.to_csv(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=f"is not a complete history: .*{message}"):
        History.from_csv(path)


def test_a_history_without_muons_rate_is_read(tmp_path):
    """An earlier version did not record it."""
    path = tmp_path / "history.csv"
    HISTORY.to_csv(path)
    lines = [line.rpartition(",")[0] for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    assert History.from_csv(path).column("muon_learning_rate") == [0.0, 0.0, 0.0]
