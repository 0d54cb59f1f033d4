"""A short form of ``make torture``: what must never be seen is not seen."""

import sys

import pytest
from torture import corruption, hostile, images, runs

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks and limits")


def test_a_killed_run_comes_back_to_the_same_bits():
    seen = runs.kills(5)
    assert set(seen) == {"killed", "same bits"}
    seen = runs.kills_in_a_write(3)
    assert seen == {"killed": 3, "same bits": 3}


def test_a_signal_ends_a_run_with_the_batch_at_hand():
    assert runs.signals(6) == {"ended as asked": 6, "same bits": 6}


def test_two_runs_on_one_folder_do_not_touch_each_other():
    assert set(runs.two_at_once(3)) <= {"same bits", "refused by name"}


def test_a_run_goes_on_without_a_place_for_its_checkpoints():
    assert runs.no_place(4) == {"trained on": 4, "same bits": 4}


def test_no_corruption_is_silent(monkeypatch):
    seen = corruption.corruptions(30, monkeypatch.setattr)
    assert set(seen) <= {"noticed and named", "nothing changed"}
    assert sum(seen.values()) == 9 * 30
    assert seen["noticed and named"] > 240


def test_nothing_hostile_is_executed_or_accepted(monkeypatch):
    """Every hostile file and server that there is, ten in a process."""
    seen = hostile.hostile(monkeypatch.setattr, 10)
    assert set(seen) == {"refused by name"}
    assert seen.total() > 220


def test_damaged_images_are_named():
    seen = images.images(260)
    assert set(seen) == {"read", "named"}
    assert seen["named"] > 100
