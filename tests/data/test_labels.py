"""Classes from a table, from file names, from nested folders, or from a function."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytorch_vision.data import ImageData, load_folder
from pytorch_vision.data.labels import from_anywhere


def paint(folder: Path, *names: str) -> None:
    """Write pictures with these names, no two of them equal."""
    random = np.random.default_rng(len(list(folder.rglob("*"))))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / name)


def classes_of(data: ImageData) -> dict[str, str]:
    """Return the class of each file."""
    files = [*(data.train_files or ()), *(data.test_files or ())]
    labels = [*data.train_labels, *data.test_labels]
    return {Path(f).as_posix(): data.class_names[n] for f, n in zip(files, labels, strict=True)}


CATS, DOGS = [f"{n}.png" for n in range(4)], [f"{n}.png" for n in range(4, 8)]
EXPECTED = {**dict.fromkeys(CATS, "cat"), **dict.fromkeys(DOGS, "dog")}


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("file,label", "{name},{label}"),
        ("label,file", "{label},{name}"),
        ("id,breed", "{stem},{label}"),
        ("id,breed,width,height", "{stem},{label},8,8"),
        ("id,area,category,colour", "{stem},{number}.5,{label},{label}ish"),
        ("", "{name},{label}"),
        (",id,label", "{wrong},{stem},{label}"),
        ("label,id", "{binary},{stem}"),
        ("id,cat,dog", "{stem},{is_cat}.0,{binary}.0"),
        (",id,cat,dog", "{wrong},{stem},{is_cat},{binary}"),
    ],
)
def test_columns_are_found_by_their_content(tmp_path, header, row):
    paint(tmp_path / "pictures", *CATS, *DOGS)
    rows = [
        row.format(
            **{"name": name, "stem": Path(name).stem, "label": label, "number": number},
            **{"wrong": 7 - number, "binary": number // 4, "is_cat": 1 - number // 4},
        )
        for number, (name, label) in enumerate(EXPECTED.items())
    ]
    expected = EXPECTED
    if "{label}" not in row and "cat" not in header:
        expected = {name: str(int(label == "dog")) for name, label in EXPECTED.items()}
    path = tmp_path / "train.csv"  # beside the folder
    path.write_text("\n".join(filter(None, [header, *rows])))
    for labels in (path, path.name):
        data = load_folder(tmp_path / "pictures", 8, labels=labels)
        assert classes_of(data) == expected
    assert np.bincount(data.test_labels).tolist() == [1, 1]


def table(folder: Path, *rows: str, header: str = "file,label") -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join([header, *rows]))
    return path


ROWS = [f"{name},{label}" for name, label in EXPECTED.items()]


@pytest.mark.parametrize("header", ["file,label", "10.png,cat"])
def test_a_table_in_the_folder_is_named_by_its_name(tmp_path, capsys, header):
    """Without a header, it may begin with a picture that is missing."""
    paint(tmp_path, *CATS, *DOGS, "more/9.png")
    table(tmp_path, *ROWS, *ROWS, "10.png,cat", header=header)
    assert classes_of(load_folder(tmp_path, 8, labels="labels.csv")) == EXPECTED
    printed = capsys.readouterr().out
    assert "Left out, pictures without a label: more/9.png\n" in printed
    assert "Left out, rows of labels.csv without a picture: 10.png" in printed


def test_columns_can_be_named(tmp_path, capsys):
    paint(tmp_path, *CATS, *DOGS)
    rows = [f"{Path(name).stem},{label},{label}-like" for name, label in EXPECTED.items()]
    table(tmp_path, *rows, header="id,animal,look")
    with pytest.raises(ValueError, match=r"which column has the classes \(animal, look\): name bo"):
        load_folder(tmp_path, 8, labels="labels.csv")
    assert classes_of(load_folder(tmp_path, 8, labels="labels.csv:id:animal")) == EXPECTED
    told = "labels.csv: id names the pictures, and animal their classes; not read: look\n"
    assert told in capsys.readouterr().out
    with pytest.raises(ValueError, match="has no column 'breed', only id, animal, look"):
        load_folder(tmp_path, 8, labels="labels.csv:id:breed")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([*ROWS, "0.png,dog"], r"several classes to 1 picture, such as .*0\.png \(cat, dog\)"),
        (["x.png,cat", "y.png,dog"], "names none of the folder's pictures in any column"),
        (
            [row for row in ROWS if "cat" in row],
            "has only one class, 'cat': expected two classes or more, each a folder with its "
            "pictures, or given by labels: a table, or the file names",
        ),
        (["same.png,cat", *ROWS], "names 'same.png', which may be .*a.same.png, .*: give its path"),
        ([f"{n}.png,{7 - n}.png" for n in range(8)], r"in two columns \(file, label\): name those"),
    ],
)
def test_a_contradictory_table_is_refused(tmp_path, rows, told):
    paint(tmp_path, *CATS, *DOGS, "a/same.png", "b/same.png")
    table(tmp_path, *rows)
    with pytest.raises(ValueError, match=told):
        load_folder(tmp_path, 8, labels="labels.csv")


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        ("name:([0-2])", ("0", "1", "2")),
        ("folders:1", ("cat", "dog")),
        ("level:1", ("cat", "dog")),
        ("level:2", ("tame", "wild")),
        ("folders:2", ("tame/cat", "wild/cat", "wild/dog")),
        (lambda path: path[0], ("t", "w")),
        (lambda path: int(path[0] == "w"), ("0", "1")),
        ("name:(.+)", ("0", "1", "2", "3")),
    ],
)
def test_names_folders_or_a_function_say_the_class(tmp_path, labels, class_names):
    for place in ("wild/cat", "wild/dog", "tame/cat"):
        paint(tmp_path, *(f"{place}/{name}" for name in CATS))
    assert load_folder(tmp_path, 8, labels=labels).class_names == class_names


def test_train_and_test_folders_are_the_splits(tmp_path, capsys):
    """If both have labels; otherwise a share of the pictures with labels is held out."""
    paint(tmp_path / "external", "c_1.png")
    for split in ("train", "test"):
        paint(tmp_path / split, *(f"{label}_{split}{n}.png" for label in "ab" for n in range(5)))
    data = load_folder(tmp_path, 8, labels="name:(.)_")
    assert {file.split("/")[0] for file in data.test_files} == {"test"}
    assert (len(data.train_labels), len(data.test_labels)) == (10, 10)
    assert "Left out, not in one of the splits: external" in capsys.readouterr().out
    table(tmp_path, *(f"a_train{n},a" for n in range(5)), *(f"b_train{n},b" for n in range(5)))
    data = load_folder(tmp_path, 8, labels="labels.csv")
    assert {file.split("/")[0] for file in (*data.train_files, *data.test_files)} == {"train"}
    assert len(data.test_labels) == 2


def test_a_network_is_tested_by_labels(tmp_path):
    paint(tmp_path, *CATS, *DOGS)
    table(tmp_path, *ROWS)
    names = ("cat", "dog", "rat")
    assert len(load_folder(tmp_path, 8, labels="labels.csv", class_names=names).test_labels) == 8


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ("none.csv", r"expected a table \(there is no such file\), name:<pattern>"),
        ("name:cat", "has no group in parentheses"),
        ("name:(cat", "is not a regular expression"),
        ("folders:two", "expected 1 or more folders, as in folders:2"),
        ("level:0", "expected 1 or more folders, as in level:2"),
        ("name:(.+)_x", "labels gives none of the 8 pictures in .* a class, such as .*png"),
        (7, "expected a string, a path or a function"),
    ],
)
def test_wrong_labels_are_named(tmp_path, labels, told):
    paint(tmp_path, *CATS, *DOGS)
    with pytest.raises(ValueError, match=told):
        load_folder(tmp_path, 8, labels=labels)


@pytest.mark.parametrize(
    ("labels", "same"),
    [
        ("labels.csv", "{}/labels.csv"),
        ("labels.csv:id:breed", "{}/labels.csv:id:breed"),
        ("beside.csv", "{}/beside.csv"),
        ("none.csv", "none.csv"),
        ("name:(.+)_[0-9]+", "name:(.+)_[0-9]+"),
        ("level:2", "level:2"),
    ],
)
def test_labels_mean_the_same_from_any_working_directory(tmp_path, monkeypatch, labels, same):
    """A table in the folder or in the working directory gets its whole path."""
    (tmp_path / "mine").mkdir()
    where = tmp_path if labels == "beside.csv" else tmp_path / "mine"
    (where / labels.split(":")[0]).touch() if "none" not in labels else None
    monkeypatch.chdir(tmp_path)
    assert from_anywhere(labels, Path("mine")) == same.format(where)


@pytest.mark.parametrize(
    "labels",
    [
        "name:([a-z]+)",  # which a number's suffix matches, too
        lambda path: {"a1.png": "a", "b2.png": "b"}.get(path, math.nan),  # as a column of pandas
    ],
)
def test_a_picture_without_a_class_is_left_out(tmp_path, labels, capsys):
    paint(tmp_path, "a1.png", "b2.png", "007.png")
    data = load_folder(tmp_path, 8, labels=labels, held_out_share=0)
    assert classes_of(data) == {"a1.png": "a", "b2.png": "b"}
    assert "Left out, pictures without a label: 007.png" in capsys.readouterr().out
