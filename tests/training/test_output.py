import os

import pytest

from pytorch_vision.training import EpochRecord, History, Output

RECORDS = tuple(EpochRecord(e, 2 / e, 40.0, 3 / e, 30.0, 0.1, 1.5, 0.5) for e in (1, 2, 3))


def test_it_is_one_folder_that_is_made(tmp_path):
    output = Output.prepare(tmp_path / "new" / "run")
    assert output.plots.is_dir()
    for path in (output.weights, output.history, output.page, output.plots):
        assert path.is_relative_to(tmp_path / "new" / "run")
    assert os.listdir(output.folder) == ["plots"]
    assert os.listdir(output.plots) == []


@pytest.mark.parametrize("kind", ["file", "under a file", "too long", "weights", "history"])
def test_what_cannot_be_written_shows_at_once(tmp_path, kind):
    folder = tmp_path / "run"
    if kind == "file":
        folder.write_text("in the way")
    elif kind == "under a file":
        folder.write_text("in the way")
        folder /= "deeper"
    elif kind == "too long":
        folder /= "x" * 300
    elif kind == "weights":
        (folder / "weights.safetensors").mkdir(parents=True)
    else:
        (folder / "plots" / "history.csv").mkdir(parents=True)
    with pytest.raises(OSError, match="run"):
        Output.prepare(folder)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only to root"
)
def test_a_read_only_folder_shows_at_once(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        Output.prepare(tmp_path)


def test_a_run_that_was_not_finished_is_kept_apart(tmp_path):
    output = Output.prepare(tmp_path)
    output.weights.write_text("of a finished run")
    assert output.of_run(History(RECORDS), 3) == output
    apart = output.of_run(History(RECORDS[:1]), 3)
    assert apart.folder == tmp_path / "unfinished"
    assert apart.plots.is_dir()
    assert output.weights.read_text() == "of a finished run"


def test_a_history_is_kept_while_the_run_goes_on(tmp_path):
    output = Output.prepare(tmp_path)
    output.history.write_text("of a finished run")
    for count in (1, 2):
        output.keep(History(RECORDS[:count]))
        assert len(History.from_csv(output.unfinished.history).records) == count
    assert output.history.read_text() == "of a finished run"
    assert output.of_run(History(RECORDS), 3) == output
    assert os.listdir(tmp_path) == ["plots"]


def test_what_an_interrupted_run_left_is_not_taken_away(tmp_path):
    output = Output.prepare(tmp_path)
    apart = output.of_run(History(RECORDS[:1]), 3)
    apart.weights.write_text("of an interrupted run")
    output.of_run(History(RECORDS), 3)
    assert apart.weights.read_text() == "of an interrupted run"


def test_a_history_that_cannot_be_kept_is_said(tmp_path, capsys):
    output = Output.prepare(tmp_path)
    (tmp_path / "unfinished").write_text("in the way")
    output.keep(History(RECORDS))
    assert "The history is not kept in" in capsys.readouterr().out
