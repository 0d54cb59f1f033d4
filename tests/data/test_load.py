"""Images by name."""

import numpy as np
import pytest
from small import paint

from pytorch_vision.app.settings import Settings
from pytorch_vision.data import load, load_data
from pytorch_vision.data.load import is_cifar10


def test_a_number_gives_a_subset_with_the_whole_test_set(few, monkeypatch):
    monkeypatch.setattr(load, "load_cifar10", lambda root: few)
    chosen = load_data("25", "anywhere")
    assert np.bincount(chosen.train_labels).tolist() == [3] * 5 + [2] * 5
    assert chosen.test_images is few.test_images
    assert chosen.name == "25 of a few images"


@pytest.mark.parametrize("which", ["9", "50001", "-20", "all", "", "1e3"])
def test_an_unknown_data_set_is_named(which):
    with pytest.raises(ValueError, match=f"data is '{which}', expected 'full', 'sample'"):
        load_data(which)


def test_a_file_in_place_of_a_folder_is_called_so():
    with pytest.raises(ValueError, match=r"or a folder of pictures \(that is a file\)"):
        load_data(__file__)


@pytest.mark.parametrize("name", ["2024", "sample", "full"])
def test_an_existing_folder_takes_precedence_over_cifar10(tmp_path, monkeypatch, capsys, name):
    paint(tmp_path / name, {"cat": 3, "dog": 3})
    monkeypatch.chdir(tmp_path)
    settings = Settings.of(data=name, size=32)
    assert settings.load_data().class_names == ("cat", "dog")
    assert settings.name == name
    assert f"{name} is a folder here: its pictures are read, not CIF" in capsys.readouterr().out
    if Settings.of().data == name:  # the default is CIFAR-10's
        assert is_cifar10(Settings.of().data)
