from dataclasses import asdict

import pytest

from pytorch_vision.models import EpochRecord, History
from pytorch_vision.training.progress import Progress

HISTORY = History(tuple(EpochRecord(e, 2 / e, 40.0, 3 / e, 30.0, 0.1, 1.5, 0.5) for e in (1, 2, 3)))
PROGRESS = Progress(3, 5, 7.5, [0.05, 0.1], HISTORY, 3 * [{"text": "a", "hardware": "b"}], "bar")


def test_it_can_be_saved_and_loaded():
    assert Progress.from_dict(asdict(PROGRESS)) == PROGRESS


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2},
        {"log": [{"text": "a"}] * 3},
        {"log": [{"text": "\x1b[2J", "hardware": "b"}] * 3},
        {"history": {"records": [asdict(HISTORY.records[0])] * 3}},
        {"bar_line": 5},
        {"unknown": 5},
    ],
)
def test_what_a_checkpoint_cannot_hold_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Progress.from_dict({**asdict(PROGRESS), **change})
