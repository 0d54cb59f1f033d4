import codecs
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import EXACT, csv_rows, tiny_network

from pytorch_vision.app import file_predictions
from pytorch_vision.app.file_predictions import (
    FilePrediction,
    classify_files,
    write_file_predictions,
    write_submission,
)
from pytorch_vision.models import Classifier, ResNet18


@pytest.fixture
def pictures(tmp_path, few) -> list[str]:
    """Ten images of the test set in a folder, five of them deep inside, and texts among them."""
    paths = []
    for number, image in enumerate(few.test_images[:10]):
        folder = tmp_path / "new" / ("deep/inside" if number >= 5 else "")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
        paths.append(str(folder / f"{number}.png"))
    (tmp_path / "new" / "broken.png").write_text("no picture")
    (tmp_path / "new" / "notes.txt").write_text("not even called so")
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


def test_files_of_16_bits_are_scaled_as_the_training_images_were(tmp_path, tiny):
    Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32)).save(tmp_path / "grey.png")
    tiny.scales = {"uint16": (0.0, 4095.0)}
    (found,) = classify_files(tiny, [tmp_path / "grey.png"], EXACT)
    (expected,) = tiny.predict(tmp_path / "grey.png", EXACT)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)


def test_the_probabilities_of_several_classifiers_are_averaged(few, tiny, pictures):
    """Each reads pictures in its own size; their classes must be the same."""
    other = Classifier(ResNet18(), few, size=(40, 32))
    broken = Path(pictures[0]).with_name("broken.png")
    found = list(classify_files([tiny, other], [*pictures, broken], EXACT))
    shares = (tiny.predict(pictures, EXACT) + other.predict(pictures, EXACT)) / 2
    for one, expected in zip(found, shares, strict=False):
        np.testing.assert_allclose(one.probabilities, expected, atol=1e-6)
        assert one.class_name == few.class_names[expected.argmax()]
    assert found[-1].problem
    other.class_names = ("tree", *few.class_names[1:])
    with pytest.raises(ValueError, match=r"has the classes airplane, .*, and ResNet18 on .* tree"):
        list(classify_files([tiny, other], pictures, EXACT))


@pytest.mark.parametrize("at_once", [1, 3 * 3 * 32 * 32, 2**26])
def test_files_are_classified_batch_by_batch(tmp_path, tiny, pictures, monkeypatch, at_once):
    """A folder's files come in order at any depth; what cannot be read says why."""
    monkeypatch.setattr(file_predictions, "AT_ONCE", at_once)
    found = list(classify_files(tiny, [tmp_path / "new"], EXACT))
    assert sorted(one.file for one in found if not one.problem) == sorted(pictures)
    (broken,) = (one for one in found if one.problem)
    assert broken.file.endswith("broken.png")
    assert "is not an image" in broken.problem
    assert (broken.class_name, broken.probability) == ("", None)
    files = {one.file: one.class_name for one in classify_files(tiny, pictures, EXACT)}
    assert {one.file: one.class_name for one in found if not one.problem} == files


def test_a_single_class_has_no_runner_up(few, pictures):
    one = Classifier(tiny_network(classes=1), few, class_names=["all"])
    (found,) = classify_files(one, pictures[:1], EXACT)
    assert (found.class_name, found.probability, found.runner_up) == ("all", 1.0, "")


def test_nothing_to_classify_is_said(tmp_path, tiny):
    with pytest.raises(ValueError, match=r"there is no file or folder .*none"):
        list(classify_files(tiny, [tmp_path / "none"]))
    with pytest.raises(ValueError, match="there are no files"):
        list(classify_files(tiny, [tmp_path]))


SHARES = np.array([0.25, 0.75], np.float32)
ROWS = [
    FilePrediction('new/a "b", c.png', "cat", 0.75, "dog", 0.25, probabilities=SHARES),
    FilePrediction("new/ж.png", "dog", 0.75, "cat", 0.25, probabilities=SHARES[::-1]),
    FilePrediction("new/broken.png", problem="is not an image"),
]
BEST = ["file", "class", "probability", "runner_up", "runner_up_probability", "problem"]


def test_a_table_replaces_that_of_the_same_files_alone(tmp_path):
    path = tmp_path / "predictions.csv"
    assert write_file_predictions(ROWS, path) == path
    header, first, second, broken = csv_rows(path)
    assert header == BEST
    assert first == ['new/a "b", c.png', "cat", "0.750000", "dog", "0.250000", ""]
    assert second[0] == "new/ж.png"
    assert broken == ["new/broken.png", "", "", "", "", "is not an image"]
    assert write_file_predictions(ROWS, path) == path
    assert write_file_predictions(ROWS[:1], path) == tmp_path / "predictions-2.csv"
    path.write_text("not ours")
    assert write_file_predictions(ROWS[:1], path) == tmp_path / "predictions-2.csv"
    assert path.read_text() == "not ours"


def test_a_table_can_have_ids_all_probabilities_and_a_mark(tmp_path):
    path = write_file_predictions(ROWS, tmp_path / "p.csv", ["dog", "cat"], ids=True, mark=True)
    assert path.read_bytes().startswith(codecs.BOM_UTF8)
    assert write_file_predictions(ROWS, path, ["dog", "cat"], ids=True) == path
    header, first, _, broken = csv_rows(path)
    assert header == ["id", *BEST[1:], "dog", "cat"]
    assert (first[0], first[-2:]) == ('a "b", c', ["0.250000", "0.750000"])
    assert broken[-3:] == ["is not an image", "", ""]
    alike = [FilePrediction("a/x.png"), FilePrediction("b/x.jpg")]
    with pytest.raises(ValueError, match=r"a/x\.png and b/x\.jpg have the same id: .*p-2\.csv$"):
        write_file_predictions(alike, path, ids=True)
    assert [row[0] for row in csv_rows(tmp_path / "p-2.csv")] == ["file", "a/x.png", "b/x.jpg"]


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("id,cat,dog\nж,0,0\n", [["ж", "0.250000", "0.750000"]]),
        ("name,dog\nж.png,0.5\n", [["ж.png", "0.750000"]]),
        ("\ufeffid,label\nж,cat\nnew/ж.png,cat\n", [["ж", "dog"], ["new/ж.png", "dog"]]),
        ("id,label\ntest/Ж.JPG,cat\n", [["test/Ж.JPG", "dog"]]),
    ],
)
def test_a_submission_is_like_its_sample(tmp_path, sample, expected, capsys):
    (tmp_path / "sample.csv").write_text(sample, encoding="utf-8")
    path = tmp_path / "submission.csv"
    for _ in range(2):
        assert write_submission(ROWS, ["dog", "cat"], tmp_path / "sample.csv", path) == path
    header, *rows = csv_rows(path)
    assert (",".join(header), rows) == (sample.lstrip("\ufeff").splitlines()[0], expected)
    told = f"Left out, without a row in {tmp_path / 'sample.csv'}: 1 picture\n"
    assert told in capsys.readouterr().out
    (tmp_path / "sample.csv").write_text(sample.replace(",", ";"), encoding="utf-8")
    assert write_submission(ROWS, ["dog", "cat"], tmp_path / "sample.csv", path) == path


def test_pictures_of_one_name_are_told_apart_by_their_folders(tmp_path, capsys):
    same = [FilePrediction(f"new/{one}/1.png", one, 1.0, probabilities=SHARES) for one in "ab"]
    (tmp_path / "sample.csv").write_text("id,label\nb/1.png,?\na/1.png,?\n")
    path = write_submission(same, ["a", "b"], tmp_path / "sample.csv", tmp_path / "s.csv")
    assert csv_rows(path)[1:] == [["b/1.png", "b"], ["a/1.png", "a"]]
    assert "label gets the predicted class; named after a class" in capsys.readouterr().out
    (tmp_path / "sample.csv").write_text("id,label\n1.png,?\n")
    with pytest.raises(ValueError, match=r"1 of 1 ids .* or several, such as 1\.png"):
        write_submission(same, ["a", "b"], tmp_path / "sample.csv", tmp_path / "s.csv")


def test_an_id_that_names_an_unreadable_picture_gets_no_others_answer(tmp_path):
    broken = FilePrediction("new/cat.jpg", problem="is not an image")
    two = [broken, FilePrediction("new/cat.png", "cat", 1.0, probabilities=SHARES)]
    (tmp_path / "sample.csv").write_text("id,label\ncat,?\n")
    path = write_submission(two, ["dog", "cat"], tmp_path / "sample.csv", tmp_path / "s.csv")
    assert csv_rows(path)[1:] == [["cat", "cat"]]
    (tmp_path / "sample.csv").write_text("id,label\ncat.jpg,?\n")
    with pytest.raises(ValueError, match=r"such as cat\.jpg \(is not an image\)"):
        write_submission(two, ["dog", "cat"], tmp_path / "sample.csv", tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (
            "id,cat,dog\nж,0,0\nbroken,0,0\n",
            r"1 of 2 ids .* no picture that .* read, or several, such as broken \(is not an image",
        ),
        ("id,cat,mouse\nж,0,0\n", r"columns that are no classes \(mouse\), expected an id"),
        ("no table", "is not a sample submission: expected a CSV file"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(tmp_path, sample, message):
    (tmp_path / "sample.csv").write_text(sample, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        write_submission(ROWS, ["dog", "cat"], tmp_path / "sample.csv", tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()
    # what was classified is kept
    kept = tmp_path / "predictions.csv"
    assert kept.exists() == ("broken" in sample)
    assert not kept.exists() or len(csv_rows(kept)) == 1 + len(ROWS)


def test_a_missing_sample_is_named_before_anything_is_classified(tmp_path):
    def classified():
        raise AssertionError("a file was classified")
        yield

    with pytest.raises(ValueError, match=r"there is no sample submission .*sample\.csv"):
        write_submission(classified(), ["cat"], tmp_path / "sample.csv", tmp_path / "s.csv")
