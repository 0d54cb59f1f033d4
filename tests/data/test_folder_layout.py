"""Folders as they lie on people's disks, with the names and files in them."""

import errno
import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import paint

from pytorch_vision.data import ImageData, load_folder
from pytorch_vision.data.folder_layout import find_files
from pytorch_vision.data.image_files import pictures_of

BOTH = {"cat": (4, 1), "dog": (4, 1)}  # how five pictures of each are split


def load(folder: Path, **settings) -> ImageData:
    return load_folder(folder, 8, **settings)


def fill(folder: Path, there: str) -> None:
    """Write what a text lists, as in "train/cat=3, notes.txt=0": pictures, or a text file."""
    for place, _, count in (one.rpartition("=") for one in there.split(", ")):
        if Path(place).suffix:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text("nothing")
        else:
            paint(folder, {place: int(count)}, first=len(list(folder.rglob("*.png"))))


def counts_of(data: ImageData) -> dict[str, tuple[int, int]]:
    """Return how many images of each class are trained and tested on."""
    both = [
        np.bincount(labels, minlength=len(data.class_names)).tolist()
        for labels in (data.train_labels, data.test_labels)
    ]
    return dict(zip(data.class_names, zip(*both, strict=True), strict=True))


@pytest.mark.parametrize("below", [".", "deep/er"])
@pytest.mark.parametrize(
    "helper",
    [".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN"],
)
def test_files_of_other_programs_are_left_out(tmp_path, capsys, helper, below):
    """At any depth; they would be trained on a second time, and be in both splits."""
    fill(tmp_path, "cat=5, dog=5")
    for place in (tmp_path / "cat" / below / helper, tmp_path / helper):
        place.mkdir(parents=True)
        shutil.copy(tmp_path / "cat" / "0.png", place / "0-checkpoint.png")
    for name in (".DS_Store", "Thumbs.db", "._0.png", "desktop.ini", "0.png~"):
        (tmp_path / "dog" / name).write_text("")
    assert counts_of(load(tmp_path)) == BOTH
    printed = capsys.readouterr().out
    assert f"Left out, hidden, or another program's: {helper}, " in printed
    assert "left out:" not in printed


NAMES_OF_SPLITS = [
    ("train", "val"),
    ("Train", "Test"),
    ("TRAINING", "validation"),
    ("training_set", "test_set"),
    ("Training", "Testing"),
    ("train", "dev"),
    ("train-images", "valid"),
    ("trainset", "evalset"),
    ("train2017", "val2017"),
]


@pytest.mark.parametrize(("train", "test"), NAMES_OF_SPLITS)
def test_splits_go_by_many_names(tmp_path, capsys, train, test):
    fill(tmp_path, f"{train}/cat=3, {train}/dog=2, {test}/cat=1, {test}/dog=1")
    assert counts_of(load(tmp_path)) == {"cat": (3, 1), "dog": (2, 1)}
    printed = capsys.readouterr().out
    assert f"Trained on: {tmp_path / train}. Tested on: {tmp_path / test}." in printed
    assert "  cat: 3 to train on, 1 to test on\n" in printed


CREME = [unicodedata.normalize(form, "crème brûlée") for form in ("NFC", "NFD")]


@pytest.mark.parametrize(
    ("there", "expected", "told"),
    [
        (
            "photographs/cat=5, photographs/dog=5, __MACOSX/._0.png=0, README.md=0",
            BOTH,
            "Trained on: {}/photographs, which",
        ),
        ("a/b/c/cat=5, a/b/c/dog=5", BOTH, "Trained on: {}/a/b/c, which"),
        (
            "a/train/train/cat=1, a/train/train/dog=2, a/test/test/cat=1, a/test/test/dog=2",
            {"cat": (1, 1), "dog": (2, 2)},
            "Trained on: {}/a/train. Tested on: {}/a/test.",
        ),
        ("cat/indoors=3, cat/outdoors=2, dog=5", BOTH, ""),
        # class names that look like splits; CIFAR-100 has a class called train
        (
            "test tube=4, bullet train=4, valid=4, invalid=4",
            dict.fromkeys(("bullet train", "invalid", "test tube", "valid"), (3, 1)),
            "",
        ),
        (
            "train/bus=2, train/train=3, test/bus=2, test/train=3",
            {"bus": (2, 2), "train": (3, 3)},
            "",
        ),
        (
            f"train/{CREME[0]}=3, train/tea=2, test/{CREME[1]}=3, test/tea=2",
            {CREME[0]: (3, 3), "tea": (2, 2)},
            "",
        ),
        ("1/1=2, 1/2=3, 2/1=2, 2/2=3", {"1": (4, 1), "2": (4, 1)}, ""),
        # without run.json, names of our files mean nothing
        (
            "plots=4, runs=4, cat=4, cat/weights.safetensors=0, plots/history.csv=0",
            {"cat": (3, 1), "plots": (3, 1), "runs": (3, 1)},
            "2 of 14 files were left out:",
        ),
        (
            "cat=5, dog=5, annotations/0.xml=0, cover.png=0",
            BOTH,
            "Left out, folders without any picture: annotations\n"
            "Left out, pictures beside the folders of the classes: cover.png\n",
        ),
        (
            "train/cat=2, train/dog=1, test/cat=1, test/dog=1, val/cat=1, val/dog=1, old/cat=1",
            {"cat": (2, 1), "dog": (1, 1)},
            "Left out, not in one of the splits: old\n"
            "Left out, not read, as test is tested on: val\n",
        ),
        (
            "train/cat=3, train/dog=3, test/cat=2",
            {"cat": (3, 2), "dog": (3, 0)},
            "  dog: 3 to train on, 0 to test on\n"
            "No test pictures: dog. The accuracy says nothing about them.\n",
        ),
        *(
            (
                f"train/cat=3, train/dog=3, val/cat=2, val/dog=1, {unlabelled}=6",
                {"cat": (3, 2), "dog": (3, 1)},
                "Left out, without labels, so not tested on: test\n",
            )
            for unlabelled in ("test", "test/unknown")
        ),
    ],
)
def test_classes_and_splits_are_found_and_reported(tmp_path, capsys, there, expected, told):
    fill(tmp_path, there)
    assert counts_of(load(tmp_path)) == expected
    assert told.replace("{}", str(tmp_path)) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("notes.txt=0", r"has no folders of pictures, expected one for each class.*\(\.txt 1\)"),
        (".=4", "expected one for each class.* its 4 pictures lie directly in it"),
        ("train=4, test=4", "train has no folders of pictures, expected one for each class"),
        ("cat/1.npy=0, dog/1.npy=0", r"its files are not pictures \(\.npy 2\)"),
        ("red=1, blue/.hidden.txt=0", "has only one class, 'red'"),
        *(
            (there, "has only one class, 'images': expected two classes or more")
            for there in ("images=20, labels.csv=0", "train/images=2, test/images=2")
        ),
        ("train/cat=1, train/dog=1", "no test folder: add one called test or val"),
        # ambiguous names
        *(
            (f"bus=4, car=4, {name}=4", f"a folder '{name}' beside bus, car: if that is a class")
            for name in ("train", "Test", "training")
        ),
        (
            "train/cat=1, train/dog=1, train2/cat=1, train2/dog=1, test/cat=1",
            r"several folders to train on \(train, train2\)",
        ),
        (
            "seg_train/cat=2, seg_train/dog=2, seg_test/cat=2, seg_test/dog=2",
            "folders called seg_test, seg_train: if they are for training and testing",
        ),
        (
            "cat/train=3, cat/test=1, dog/train=3, dog/test=1",
            "cat has folders to train and to test on inside a class, expected train/<class>/",
        ),
        ("cat=5, dog=5, copy/cat=5, copy/dog=5", "copy looks like a copy of .* inside itself"),
        # an extra class is no reason to test on val
        (
            "train/cat=3, train/dog=3, val/cat=2, val/dog=1, test/cat=2, test/rat=1",
            "test has classes that .*train does not have: rat",
        ),
        (
            "train/cat=3, train/dog=3, test=5",
            "test has no folders.* To hold out a share of .*train instead, load only that",
        ),
        ("train/cat=3, train/dog=3, test/unknown=5", "test has classes that .*unknown"),
        # pictures that cannot be read
        ("train/cat=1, train/dog/1.png=0, val/cat=1", "no readable picture of class 'dog'"),
        ("cat=4, dog/1.heic=0", "no readable picture of class 'dog' to train on"),
        ("train/cat=1, train/dog=1, val/dog/1.png=0", "has no readable picture to test on"),
        ("cat=2, dog=2", "to test on: no class has three pictures"),
    ],
)
def test_unclear_folders_are_refused(tmp_path, capsys, there, message):
    fill(tmp_path, there)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)
    assert "without labels" not in capsys.readouterr().out  # the folder is refused, not left out


def test_the_folder_of_a_run_is_not_a_class(tmp_path, capsys):
    """It holds run.json, and its plots lie deeper."""
    fill(tmp_path, "cat=5, dog=5, runs/mine/run.json=0, runs/other/run.json=0, results/run.json=0")
    fill(tmp_path, "data/pictures-123456789abc.kept=0")
    for name in ("runs/mine", "results"):
        shutil.copytree(tmp_path / "cat", tmp_path / name / "plots")
    assert counts_of(load(tmp_path)) == BOTH
    told = "Left out, written by a run of this library: results, runs/mine, runs/other\n"
    assert told in capsys.readouterr().out


def test_pictures_without_an_extension_are_pictures(tmp_path, capsys):
    fill(tmp_path, "cat=25, dog=5")
    for path in tmp_path.glob("*/*.png"):
        path.rename(path.with_suffix(""))
    assert counts_of(load(tmp_path)) == {"cat": (20, 5), "dog": (4, 1)}
    assert len(pictures_of(find_files(tmp_path / "cat"))) == 25
    for number, path in enumerate(tmp_path.glob("cat/*")):
        path.rename(path.with_suffix(f".{number:04}"))  # as scanners name them
    (tmp_path / "cat" / "notes.txt").touch()
    assert len(pictures_of(find_files(tmp_path / "cat"))) == 25
    fill(tmp_path, "cat=1")
    (tmp_path / "cat" / "LICENSE").write_text("of these pictures")
    assert len(pictures_of(find_files(tmp_path / "cat"))) == 27
    (tmp_path / "cat" / "broken.png").symlink_to("nowhere")
    capsys.readouterr()
    assert len(find_files(tmp_path / "cat")) == 28
    assert "Left out, not files, or broken links: broken.png" in capsys.readouterr().out


def test_links_that_lead_round_or_nowhere(tmp_path, capsys):
    fill(tmp_path, "mine/cat=5, mine/dog=5, elsewhere=5")
    for link, target in {
        "all": tmp_path / "mine",
        "best": tmp_path / "mine" / "cat",  # before "cat" in the alphabet, and not instead of it
        "cat/up": tmp_path / "mine",
        "dog/itself": tmp_path / "mine" / "dog" / "itself",
        "dog/gone.png": tmp_path / "nowhere",
        "rat": tmp_path / "elsewhere",
    }.items():
        (tmp_path / "mine" / link).symlink_to(target)
    os.mkfifo(tmp_path / "mine" / "dog" / "pipe.png")
    assert counts_of(load(tmp_path / "mine")) == {**BOTH, "rat": (4, 1)}
    printed = capsys.readouterr().out
    assert "Left out, links to folders that were already read: all, best, cat/up\n" in printed
    told = "Left out, not files, or broken links: dog/gone.png, dog/itself, dog/pipe.png"
    assert told in printed


@pytest.mark.parametrize(
    "name",
    ["猫", "बिल्ली", "قطة", "🐈‍⬛", "golden\u00a0retriever", "x" * 250, "a\nb", " ", "#1 & co"],
)
def test_any_name_is_a_class(tmp_path, name):
    paint(tmp_path, {name: 5, "dog": 5})
    assert counts_of(load(tmp_path))[name.replace("\n", "\\n")] == (4, 1)


def test_a_name_that_is_not_utf8_can_be_written(tmp_path):
    """The name of a class, of a file, and of the folder itself."""
    fill(tmp_path, "mine/cafe=5, mine/tea=5, mine/tea/broken.png=0")
    inside = os.fsencode(tmp_path / "mine" / "cafe")
    os.rename(inside + b"/0.png", inside + b"/\xe9.png")
    os.rename(inside, inside[:-1] + b"\xe9")
    root = os.fsencode(tmp_path / "mine")
    os.rename(root, root + b"\xe9")
    data = load(Path(os.fsdecode(root + b"\xe9")))
    for text in (*data.class_names, *data.train_files, *data.test_files, data.name, str(data)):
        text.encode()
    assert data.class_names == ("caf\\udce9", "tea")


def test_many_classes_are_summarised(tmp_path, capsys):
    paint(tmp_path, {f"class {i:03}": 3 + i // 20 for i in range(60)})
    load(tmp_path)
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) < 10
    assert (
        "60 classes, to train on: 180 pictures, from 2 (class 000) to 4 (class 040) in a class\n"
    ) in printed


def test_all_pictures_can_be_trained_on(tmp_path, capsys):
    fill(tmp_path, "cat=20, dog=1")
    assert counts_of(load(tmp_path, held_out_share=0)) == {"cat": (20, 0), "dog": (1, 0)}
    printed = capsys.readouterr().out
    assert "are trained on, and there is no test" in printed


def test_test_pictures_that_weights_were_trained_on_are_reported(tmp_path, capsys):
    fill(tmp_path, "mine/cat=3, mine/dog=3")
    digests = load(tmp_path / "mine", held_out_share=0).train_digests
    fill(tmp_path, "sorted/train/cat=3, sorted/train/dog=3")
    shutil.copytree(tmp_path / "mine", tmp_path / "sorted" / "test")
    capsys.readouterr()
    load(tmp_path / "sorted", class_names=("cat", "dog"), train_digests=digests)
    assert "also training pictures, pixel for pixel: 6" in capsys.readouterr().out


def test_a_share_that_does_not_answer_loses_no_class(tmp_path, monkeypatch):
    fill(tmp_path, "cat=3, dog=3, rat=3")
    usual = os.scandir

    def scandir(place: str) -> Any:
        if place.endswith("dog"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), place)
        return usual(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(OSError, match="dog"):
        load(tmp_path)


def test_pictures_in_both_splits_are_reported(tmp_path, capsys):
    paint(tmp_path / "train", {"cat": 6, "dog": 6})
    paint(tmp_path / "test", {"cat": 3, "dog": 3}, first=4)
    load(tmp_path)
    printed = capsys.readouterr().out
    assert "also training pictures, pixel for pixel: 4, test/cat/4.png, " in printed


class TestOnlyTested:
    """A folder on which a trained network is tested."""

    @pytest.mark.parametrize(
        ("there", "expected", "told"),
        [
            (
                "dog=4, cat=1",
                {"cat": (0, 1), "dog": (0, 4), "rat": (0, 0)},
                "Tested on: all pictures of ",
            ),
            ("cat=4", {"cat": (0, 4), "dog": (0, 0)}, ""),
            *(
                (f"{p}/cat=4, {p}/dog=1", {"cat": (0, 4), "dog": (0, 1)}, "")
                for p in ("test", "val")
            ),
            (
                "dog=4, cat/.hidden.txt=0",
                {"cat": (0, 0), "dog": (0, 4)},
                "Left out, folders without any picture: cat\n",
            ),
        ],
    )
    def test_all_pictures_or_those_of_a_split_are_tested(
        self, tmp_path, capsys, there, expected, told
    ):
        fill(tmp_path, there)
        assert counts_of(load(tmp_path, class_names=tuple(expected))) == expected
        assert told in capsys.readouterr().out

    def test_training_pictures_are_recognised_in_a_folder_that_has_changed(self, tmp_path, capsys):
        """One picture more, one gone, one with another name, one in another class."""
        paint(tmp_path, {"cat": 20, "dog": 20})
        before = load(tmp_path)
        known = {"class_names": before.class_names, "train_digests": before.train_digests}
        trained = {image.tobytes() for image in before.train_images}
        (tmp_path / before.train_files[0]).unlink()
        (tmp_path / before.train_files[1]).rename(tmp_path / "cat" / "another.png")
        (tmp_path / before.train_files[2]).rename(tmp_path / "dog" / "moved.png")
        paint(tmp_path, {"cat": 3}, first=90)
        capsys.readouterr()
        now = load(tmp_path, **known)
        assert f"Tested on: 11 pictures of {tmp_path}, those that the" in capsys.readouterr().out
        assert len(now.test_labels) == 8 + 3
        assert not trained & {image.tobytes() for image in now.test_images}
        assert len(now.train_labels) == 31  # to look through for wrong labels
        again = load(tmp_path)  # almost the same pictures are held out as before
        assert len(trained & {image.tobytes() for image in again.test_images}) <= 2
        for file in now.test_files:
            (tmp_path / file).unlink()
        whole = load(tmp_path, **known)
        assert (len(whole.train_labels), len(whole.test_labels)) == (31, 0)
        assert "are trained on, and there is no test" in capsys.readouterr().out

    @pytest.mark.parametrize("there", ["cat=4, rat=4", "test/cat=4, test/rat=4"])
    def test_unknown_classes_are_refused(self, tmp_path, there):
        fill(tmp_path, there)
        with pytest.raises(ValueError, match=r"has classes .*rat"):
            load(tmp_path, class_names=("cat", "dog"))
