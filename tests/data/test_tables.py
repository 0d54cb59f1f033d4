"""Tables as people and spreadsheets write them, and the files that they name."""

from pathlib import Path

import pytest

from pytorch_vision.data.tables import FileNames, read_table

ROWS = [["file", "label"], ["0.png", "cat"], ["1.png", "dög"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "text",
    [
        "file,label\n0.png,cat\n1.png,dög\n",
        "\nfile, label\n0.png, cat,\n\n1.png, dög",
        'file;label\n"0.png";"cat"\n"1.png";"dög"',
        "file\tlabel\n0.png\tcat\n1.png\tdög",
        "file label\n0.png  cat\n1.png  dög",
    ],
)
def test_a_table_is_read_whatever_wrote_it(tmp_path, text, encoding):
    (tmp_path / "labels.csv").write_text(text, encoding=encoding)
    assert read_table(tmp_path / "labels.csv") == ROWS


@pytest.mark.parametrize(
    ("name", "told"), [("labels.csv", "has no rows of two columns"), ("0.png", "is not a table")]
)
def test_other_files_are_refused(tmp_path, name, told):
    (tmp_path / name).write_text("file\n0.png\n")
    with pytest.raises(ValueError, match=f"{name} {told}"):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "{}.png",
        "{}",
        "000{}",
        "{}.PNG",
        "pictures/{}.png",
        r"pictures\{}.png",
        "./{}.png",
        "C:\\mine\\{}.png",
        "https://example.com/mine/{}.PNG",
    ],
)
def test_a_file_is_named_by_its_path_or_its_name(text):
    files = [f"/mine/pictures/{number}.png" for number in range(12)]
    column = ["file", *(text.format(number) for number in range(13))]  # one file is missing
    found = FileNames(files, [Path("/mine/pictures"), Path("/mine")]).named_by(column)
    assert found == [[], *([file] for file in files), []]


def test_names_that_are_alike_are_not_taken_for_each_other():
    """An exact name counts first; what looks like a suffix may be a part of the name."""
    names = FileNames(["A.png", "a.png", "scan.png"])
    found = names.named_by(["file", "A.png", "a.png", "A.jpg", "scan.1"])
    assert found == [[], ["A.png"], ["a.png"], ["A.png", "a.png"], []]
