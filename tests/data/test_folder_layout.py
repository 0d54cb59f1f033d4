"""Folders as they lie on disks, by the names and files in them."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytorch_vision.data import ImageData, load_folder

COLOURS = {"cat": (200, 50, 50), "dog": (50, 50, 200)}


def paint(folder: Path, counts: dict[str, int], first: int = 0) -> None:
    """Write so many pictures of each class, no two of them equal."""
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            picture = np.full((8, 8, 3), (number % 200, 60 * label, 50), np.uint8)
            picture[0] = 255
            Image.fromarray(picture).save(folder / name / f"{number}.png")


def load(folder: Path, **settings) -> ImageData:
    return load_folder(folder, 8, **settings)


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
def test_what_other_programs_keep_there_is_left_out(tmp_path, capsys, helper, below):
    """At any depth; it would be trained on a second time, and be in both parts."""
    paint(tmp_path, {"cat": 5, "dog": 5})
    for place in (tmp_path / "cat" / below / helper, tmp_path / helper):
        place.mkdir(parents=True)
        shutil.copy(tmp_path / "cat" / "0.png", place / "0-checkpoint.png")
    for name in (".DS_Store", "Thumbs.db", "._0.png", "desktop.ini", "0.png~"):
        (tmp_path / "dog" / name).write_text("")
    assert counts_of(load(tmp_path)) == {"cat": (4, 1), "dog": (4, 1)}
    printed = capsys.readouterr().out
    assert f"Left out, hidden, or another program's: {helper}, " in printed
    assert "left out:" not in printed


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("TRAINING", "validation"),
        ("training_set", "test_set"),
        ("Training", "Testing"),
        ("train", "dev"),
        ("train-images", "valid"),
        ("trainset", "evalset"),
        ("train2017", "val2017"),
    ],
)
def test_splits_go_by_many_names(tmp_path, capsys, train, test):
    paint(tmp_path / train, {"cat": 3, "dog": 2})
    paint(tmp_path / test, {"cat": 1, "dog": 1})
    assert counts_of(load(tmp_path)) == {"cat": (3, 1), "dog": (2, 1)}
    printed = capsys.readouterr().out
    assert f"Trained on: {tmp_path / train}. Tested on: {tmp_path / test}." in printed
    assert "  cat: 3 to train on, 1 to test on\n" in printed


def test_other_folders_beside_the_splits_are_reported(tmp_path, capsys):
    for name in ("train", "test", "val", "rejected"):
        paint(tmp_path / name, {"cat": 2, "dog": 2})
    load(tmp_path)
    printed = capsys.readouterr().out
    assert "Left out, not read, as test is tested on: val\n" in printed
    assert "Left out, beside the splits that are read: rejected\n" in printed


@pytest.mark.parametrize("above", ["photographs", "a/b/c"])
def test_a_level_too_many(tmp_path, capsys, above):
    """As an archive leaves it; also within the parts."""
    paint(tmp_path / "all" / above, {"cat": 5, "dog": 5})
    (tmp_path / "all" / "__MACOSX").mkdir()
    (tmp_path / "all" / "README.md").write_text("about")
    assert counts_of(load(tmp_path / "all")) == {"cat": (4, 1), "dog": (4, 1)}
    assert f"Trained on: {tmp_path / 'all' / above}, which" in capsys.readouterr().out
    for part in ("train", "test"):
        paint(tmp_path / "parts" / above / part / part, {"cat": 1, "dog": 2})
    assert counts_of(load(tmp_path / "parts")) == {"cat": (1, 1), "dog": (2, 2)}


def test_folders_below_a_class_are_of_it(tmp_path):
    paint(tmp_path / "cat", {"indoors": 3, "outdoors": 2})
    paint(tmp_path, {"dog": 5})
    assert counts_of(load(tmp_path)) == {"cat": (4, 1), "dog": (4, 1)}


def test_a_level_too_few(tmp_path):
    paint(tmp_path, {"here": 4})
    paint(tmp_path / "parts", {"train": 4, "test": 4})
    for folder, told in (("here", "its 4 pictures lie in it"), ("parts", "train has no folders")):
        with pytest.raises(ValueError, match=f"expected one for each class.*|{told}") as error:
            load(tmp_path / folder)
        assert told in str(error.value)


def test_one_class_alone_is_refused_by_name(tmp_path):
    paint(tmp_path / "all", {"images": 20})
    (tmp_path / "all" / "labels.csv").write_text("0.png,cat\n")
    paint(tmp_path / "parts" / "train", {"images": 2})
    paint(tmp_path / "parts" / "test", {"images": 2})
    for folder in ("all", "parts"):
        with pytest.raises(
            ValueError, match="has one class alone, 'images': expected two classes or more"
        ):
            load(tmp_path / folder)


@pytest.mark.parametrize("name", ["train", "Test", "training"])
def test_a_class_called_like_a_split_is_refused_by_name(tmp_path, name):
    paint(tmp_path / "flat", {"bus": 4, "car": 4, name: 4})
    with pytest.raises(ValueError, match=f"a folder '{name}' beside bus, car: if that is a class"):
        load(tmp_path / "flat")


def test_a_class_called_train_that_both_splits_have_is_one(tmp_path):
    """CIFAR-100 has it."""
    for part in ("train", "test"):
        paint(tmp_path / part, {"bus": 2, "train": 3})
    assert counts_of(load(tmp_path)) == {"bus": (2, 2), "train": (3, 3)}


def test_names_with_such_a_word_in_them_are_classes(tmp_path):
    counts = {"test tube": 4, "bullet train": 4, "valid": 4, "invalid": 4}
    paint(tmp_path, counts)
    assert set(load(tmp_path).class_names) == set(counts)


def test_what_can_be_meant_in_two_ways_is_refused(tmp_path):
    for name in ("train", "train2", "test"):
        paint(tmp_path / "twice" / name, {"cat": 1, "dog": 1})
    for name in ("seg_train", "seg_test"):
        paint(tmp_path / "pairs" / name, {"cat": 2, "dog": 2})
    for folder, told in {
        "twice": r"several folders to train on \(train, train2\)",
        "pairs": r"folders called seg_test, seg_train: if they are to train and to test on",
    }.items():
        with pytest.raises(ValueError, match=told):
            load(tmp_path / folder)


def test_the_folder_of_a_run_is_not_a_class(tmp_path, capsys):
    """It holds run.json, and its pictures lie below."""
    paint(tmp_path, {"cat": 5, "dog": 5})
    for name in (
        "runs/mine/run.json",
        "runs/mine/plots/confusion_matrix.png",
        "runs/other/run.json",
        "results/run.json",
        "results/plots/cat_gradcam.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "cat" / "0.png", tmp_path / name)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pictures-123456789abc.kept").write_text("")
    assert counts_of(load(tmp_path)) == {"cat": (4, 1), "dog": (4, 1)}
    told = "Left out, written by a run of this library: results, runs/mine, runs/other\n"
    assert told in capsys.readouterr().out


def test_without_run_json_names_of_our_files_mean_nothing(tmp_path):
    paint(tmp_path, {"plots": 4, "runs": 4, "cat": 4})
    shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "plots" / "confusion_matrix.png")
    (tmp_path / "cat" / "weights.safetensors").write_text("")
    assert counts_of(load(tmp_path)) == {"cat": (3, 1), "plots": (4, 1), "runs": (3, 1)}


def test_a_folder_without_pictures_is_no_class_and_told(tmp_path, capsys):
    paint(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "0.xml").write_text("<object/>")
    shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "cover.png")
    assert load(tmp_path).class_names == ("cat", "dog")
    printed = capsys.readouterr().out
    assert "Left out, folders without any picture: annotations\n" in printed
    assert "Left out, pictures beside the folders of the classes: cover.png\n" in printed


def test_pictures_without_an_extension_are_pictures(tmp_path):
    paint(tmp_path, {"cat": 3, "dog": 3})
    for path in tmp_path.glob("*/*.png"):
        path.rename(path.with_suffix(""))
    assert len(load(tmp_path).train_labels) == 4


def test_links_that_lead_round_or_nowhere(tmp_path, capsys):
    paint(tmp_path / "mine", {"cat": 5, "dog": 5})
    paint(tmp_path, {"elsewhere": 4})
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
    data = load(tmp_path / "mine")
    assert counts_of(data) == {"cat": (4, 1), "dog": (4, 1), "rat": (3, 1)}
    printed = capsys.readouterr().out
    assert "Left out, links to folders that are read already: all, best, cat/up\n" in printed
    told = "Left out, not files, or links that lead nowhere: dog/gone.png, dog/itself, dog/pipe.png"
    assert told in printed


@pytest.mark.parametrize("unlabelled", ["test", "test/unknown"])
def test_val_is_tested_on_where_test_has_no_labels(tmp_path, capsys, unlabelled):
    paint(tmp_path / "train", {"cat": 3, "dog": 3})
    paint(tmp_path / "val", {"cat": 2, "dog": 1})
    paint(tmp_path, {unlabelled: 6})
    told = "Left out, without labels, so not tested on: test\n"
    assert counts_of(load(tmp_path)) == {"cat": (3, 2), "dog": (3, 1)}
    assert told in capsys.readouterr().out
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(ValueError, match=r"test has (no folders|classes that .*unknown)"):
        load(tmp_path)
    assert "without labels" not in capsys.readouterr().out  # it is refused, and not left out


def test_a_class_too_many_in_test_is_no_reason_to_take_val(tmp_path):
    paint(tmp_path / "train", {"cat": 3, "dog": 3})
    paint(tmp_path / "val", {"cat": 2, "dog": 1})
    paint(tmp_path / "test", {"cat": 2, "rat": 1})
    with pytest.raises(ValueError, match=r"test has classes that .*train has not: rat"):
        load(tmp_path)


def test_a_name_composed_in_two_ways_is_one_class(tmp_path):
    names = [unicodedata.normalize(form, "crème brûlée") for form in ("NFC", "NFD")]
    for part, name in zip(("train", "test"), names, strict=True):
        paint(tmp_path / part, {name: 3, "café": 2})
    assert counts_of(load(tmp_path)) == {"café": (2, 2), names[0]: (3, 3)}


@pytest.mark.parametrize(
    "name",
    ["猫", "बिल्ली", "قطة", "🐈‍⬛", "golden\u00a0retriever", "x" * 250, "a\nb", " ", "#1 & co"],
)
def test_any_name_is_a_class(tmp_path, name):
    paint(tmp_path, {name: 5, "dog": 5})
    data = load(tmp_path)
    assert name.replace("\n", "\\n") in data.class_names
    assert len(data.train_labels) == 8


def test_a_name_that_is_not_utf8_can_be_written(tmp_path):
    """Of classes, of files, and of the folder itself."""
    paint(tmp_path / "mine", {"cafe": 5, "tea": 5})
    inside = os.fsencode(tmp_path / "mine" / "cafe")
    os.rename(inside + b"/0.png", inside + b"/\xe9.png")
    (tmp_path / "mine" / "tea" / "broken.png").write_text("")
    os.rename(inside, inside[:-1] + b"\xe9")
    root = os.fsencode(tmp_path / "mine")
    os.rename(root, root + b"\xe9")
    data = load(Path(os.fsdecode(root + b"\xe9")))
    for text in (*data.class_names, *data.train_files, *data.test_files, data.name, str(data)):
        text.encode()
    assert data.class_names == ("caf\\udce9", "tea")


def test_many_classes_are_told_in_short(tmp_path, capsys):
    paint(tmp_path, {f"class {i:03}": 3 + i // 20 for i in range(60)})
    load(tmp_path)
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) < 10
    assert (
        "60 classes, to train on: 180 pictures, from 2 (class 000) to 4 (class 040) in a class\n"
    ) in printed


class TestOnlyTested:
    """A folder that a network is tested on."""

    def test_all_pictures_are(self, tmp_path, capsys):
        paint(tmp_path, {"dog": 4, "cat": 1})
        data = load(tmp_path, class_names=("cat", "dog", "rat"))
        assert counts_of(data) == {"cat": (0, 1), "dog": (0, 4), "rat": (0, 0)}
        assert "Tested on: all pictures of " in capsys.readouterr().out

    def test_one_class_alone_is_enough(self, tmp_path):
        paint(tmp_path / "new", {"cat": 4})
        assert len(load(tmp_path / "new", class_names=("cat", "dog")).test_labels) == 4

    @pytest.mark.parametrize("part", ["test", "val"])
    def test_or_those_of_a_part_alone(self, tmp_path, part):
        paint(tmp_path / part, {"cat": 4, "dog": 1})
        data = load(tmp_path, class_names=("cat", "dog"))
        assert counts_of(data) == {"cat": (0, 4), "dog": (0, 1)}

    def test_only_what_was_held_out_of_the_folder_that_was_trained_on(self, tmp_path):
        paint(tmp_path / "mine", {"cat": 10, "dog": 5})
        trained = load(tmp_path / "mine")
        names = trained.class_names
        again = load(tmp_path / "mine", class_names=names, train_digests=trained.train_digests)
        assert np.array_equal(again.test_images, trained.test_images)
        assert again.test_files == trained.test_files
        paint(tmp_path / "new", {"cat": 10, "dog": 5}, first=50)  # of the same names
        other = load(tmp_path / "new", class_names=names, train_digests=trained.train_digests)
        assert len(other.test_labels) == 15
        assert other.test_files == tuple(sorted(other.test_files))

    def test_what_was_trained_on_is_known_in_a_folder_that_has_changed(self, tmp_path, capsys):
        """One picture more, one gone, one with another name, one in another class."""
        paint(tmp_path, {"cat": 20, "dog": 20})
        before = load(tmp_path)
        trained = {image.tobytes() for image in before.train_images}
        (tmp_path / before.train_files[0]).unlink()
        (tmp_path / before.train_files[1]).rename(tmp_path / "cat" / "another.png")
        (tmp_path / before.train_files[2]).rename(tmp_path / "dog" / "moved.png")
        paint(tmp_path, {"cat": 3}, first=90)
        capsys.readouterr()
        names = before.class_names
        now = load(tmp_path, class_names=names, train_digests=before.train_digests)
        assert "that the weights were not trained on, 11 pictures." in capsys.readouterr().out
        assert len(now.test_labels) == 8 + 3
        assert not trained & {image.tobytes() for image in now.test_images}
        assert len(now.train_labels) == 31  # to look through for wrong labels
        again = load(tmp_path)  # what is tested is nearly the same as before
        assert len(trained & {image.tobytes() for image in again.test_images}) <= 2

    def test_a_folder_that_was_trained_on_as_a_whole_has_no_test(self, tmp_path, capsys):
        paint(tmp_path, {"cat": 20, "dog": 20})
        before = load(tmp_path)
        for file in before.test_files:
            (tmp_path / file).unlink()
        names, digests = before.class_names, before.train_digests
        data = load(tmp_path, class_names=names, train_digests=digests)
        assert (len(data.train_labels), len(data.test_labels)) == (len(digests), 0)
        assert "are trained on, and there is no test" in capsys.readouterr().out

    def test_all_pictures_can_be_trained_on(self, tmp_path, capsys):
        paint(tmp_path, {"cat": 20, "dog": 1})
        data = load(tmp_path, held_out_share=0)
        assert (len(data.train_labels), len(data.test_labels)) == (21, 0)
        printed = capsys.readouterr().out
        assert "are trained on, and there is no test" in printed
        assert "Not tested" not in printed

    def test_a_class_may_be_empty(self, tmp_path, capsys):
        paint(tmp_path, {"dog": 4})
        (tmp_path / "cat").mkdir()
        assert counts_of(load(tmp_path, class_names=("cat", "dog"))) == {
            "cat": (0, 0),
            "dog": (0, 4),
        }
        assert "Left out, folders without any picture: cat\n" in capsys.readouterr().out

    def test_classes_that_are_not_known_are_refused(self, tmp_path):
        paint(tmp_path / "flat", {"cat": 4, "rat": 4})
        paint(tmp_path / "part" / "test", {"cat": 4, "rat": 4})
        for folder in ("flat", "part"):
            with pytest.raises(ValueError, match=r"(other )?classes .*rat"):
                load(tmp_path / folder, class_names=("cat", "dog"))


def test_pictures_that_are_in_both_parts_are_told(tmp_path, capsys):
    paint(tmp_path / "train", {"cat": 6, "dog": 6})
    paint(tmp_path / "test", {"cat": 3, "dog": 3}, first=4)
    load(tmp_path)
    printed = capsys.readouterr().out
    assert "To test on, but to train on too, with the same pixels: 4, test/cat/4.png, " in printed


def test_a_copy_of_a_folder_in_itself_is_refused(tmp_path):
    paint(tmp_path, {"cat": 5, "dog": 5})
    paint(tmp_path / tmp_path.name, {"cat": 5, "dog": 5})
    with pytest.raises(ValueError, match=f"{tmp_path.name} looks like a copy of .* in itself"):
        load(tmp_path)


def test_classes_and_what_is_in_them_may_be_called_alike(tmp_path):
    for name in "123":
        paint(tmp_path / name, dict.fromkeys("123", 2))
    assert load(tmp_path).class_names == ("1", "2", "3")


def test_files_that_are_no_pictures_are_told(tmp_path):
    for place in ("cat", "dog"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "1.npy").write_bytes(b"0")
    with pytest.raises(ValueError, match=r"its files are no pictures \(\.npy 2\)"):
        load(tmp_path)


def test_what_can_be_done_without_labels_to_test_on_is_told(tmp_path):
    paint(tmp_path / "train", {"cat": 5, "dog": 5})
    paint(tmp_path, {"test": 5})
    with pytest.raises(ValueError, match=r"To hold out a share of .*train in its place, name that"):
        load(tmp_path)
    assert len(load(tmp_path / "train").test_labels) == 2
