import csv

import numpy as np
import pytest
from PIL import Image

from pytorch_vision.app import classify_files, write_file_predictions
from pytorch_vision.app import file_predictions as classify
from pytorch_vision.app.file_predictions import FilePrediction
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine

EXACT = Machine(accelerator="cpu", precision="32-true")


@pytest.fixture
def pictures(tmp_path, few) -> list[str]:
    """Ten images of the test set in a folder, five of them deep inside, and a text among them."""
    paths = []
    for number, image in enumerate(few.test_images[:10]):
        folder = tmp_path / "new" / ("deep/inside" if number >= 5 else "")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
        paths.append(str(folder / f"{number}.png"))
    (tmp_path / "new" / "broken.png").write_text("no picture")
    return paths


def test_each_file_has_its_two_most_probable_classes(tmp_path, few, tiny, pictures):
    found = list(classify_files(tiny, pictures, EXACT))
    shares = tiny.predict(few.test_images[:10], EXACT)
    order = shares.argsort(1)
    assert [one.file for one in found] == pictures
    assert [one.class_name for one in found] == [tiny.class_names[i] for i in order[:, -1]]
    assert [one.runner_up for one in found] == [tiny.class_names[i] for i in order[:, -2]]
    assert [one.probability for one in found] == pytest.approx(shares.max(1).tolist(), abs=1e-6)
    second = np.sort(shares, 1)[:, -2]
    assert [one.runner_up_probability for one in found] == pytest.approx(second.tolist(), abs=1e-6)


@pytest.mark.parametrize("at_once", [1, 3 * 3 * 32 * 32, 2**26])
def test_memory_is_that_of_a_batch(tmp_path, tiny, pictures, monkeypatch, at_once):
    """A folder's files come in order at any depth; what cannot be read says why."""
    monkeypatch.setattr(classify, "AT_ONCE", at_once)
    found = list(classify_files(tiny, [tmp_path / "new"], EXACT))
    assert sorted(one.file for one in found if not one.problem) == sorted(pictures)
    (broken,) = (one for one in found if one.problem)
    assert broken.file.endswith("broken.png")
    assert "is not an image" in broken.problem
    assert (broken.class_name, broken.probability) == ("", None)
    files = {one.file: one.class_name for one in classify_files(tiny, pictures, EXACT)}
    assert {one.file: one.class_name for one in found if not one.problem} == files


def test_a_single_class_has_no_runner_up(few, pictures):
    from small import tiny_network

    one = Classifier(tiny_network(classes=1), few, class_names=["all"])
    (found,) = classify_files(one, pictures[:1], EXACT)
    assert (found.class_name, found.probability, found.runner_up) == ("all", 1.0, "")


def test_nothing_to_classify_is_said(tmp_path, tiny):
    with pytest.raises(ValueError, match=r"there is no file and no folder .*none"):
        list(classify_files(tiny, [tmp_path / "none"]))
    with pytest.raises(ValueError, match="there are no files"):
        list(classify_files(tiny, [tmp_path]))


def test_a_table_replaces_that_of_the_same_files_alone(tmp_path):
    rows = [FilePrediction('a "b", c.png', "cat", 0.75, "dog", 0.25), FilePrediction("ж.png")]
    path = tmp_path / "predictions.csv"
    assert write_file_predictions(rows, path) == path
    with open(path, encoding="utf-8", newline="") as file:
        header, first, second = csv.reader(file)
    assert header[:4] == ["file", "class", "probability", "runner_up"]
    assert first == ['a "b", c.png', "cat", "0.750000", "dog", "0.250000", ""]
    assert second[0] == "ж.png"
    assert write_file_predictions(rows, path) == path
    assert write_file_predictions(rows[:1], path) == tmp_path / "predictions-2.csv"
    path.write_text("somebody's own")
    assert write_file_predictions(rows[:1], path) == tmp_path / "predictions-2.csv"
    assert path.read_text() == "somebody's own"
