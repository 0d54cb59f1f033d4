"""The class of each picture, from a table, from its file name, or from the folders above it.

As in fastai, a labeller is a function: it takes a picture's path inside its folder, and returns the
name of its class, or None to leave the picture out.
"""

import csv
import io
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from pytorch_vision.data.folder_layout import Labeller, LeftOut
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.text import counted, first_line, printable

LABEL_COLUMNS = ("label", "class", "class_name", "category", "target")
TABLES = (".csv", ".tsv", ".txt")
KINDS = ("name", "folders", "level")  # what may stand before a colon, in place of a table

Label = Callable[[str], str | None]
Labels = str | os.PathLike | Label | None


def by_name(pattern: str) -> Label:
    """Return a labeller that finds the class in the file name with a regular expression.

    Its first group is the class, as in ``(.+)_[0-9]+`` for cat_001.jpg.

    Raises:
        ValueError: ``pattern`` is not a regular expression with a group.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    if not compiled.groups:
        raise ValueError(f"{pattern!r} has no group in parentheses for the class")

    def label(path: str) -> str | None:
        found = compiled.search(PurePath(path).name)
        return found[1] if found else None

    return label


def by_folders(count: int, joined: bool = True) -> Label:
    """Return a labeller that joins the last ``count`` folders above a picture, as in "animal/cat".

    With ``joined=False``, only the uppermost of them is the class.
    """

    def label(path: str) -> str | None:
        folders = PurePath(path).parts[:-1][-count:]
        if len(folders) < count:
            return None
        return "/".join(folders) if joined else folders[0]

    return label


def labeller_of(labels: Labels, folder: Path, left_out: LeftOut) -> Labeller:
    """Return a function from a folder and its pictures to the class of each picture.

    Args:
        labels: where the classes come from.

            - "train.csv": a table, at this path inside the folder or else from the working
              directory, separated by commas, tabs or semicolons, with one row for each picture.
              A row names its picture by the path from the table or the folder, or by the file name;
              the suffix may be missing. The column of the pictures is that in which most values are
              pictures; that of the classes is the only other one whose values repeat, or one called
              label, class, class_name, category or target. "train.csv:id:breed" names both columns.
            - "name:(.+)_[0-9]+": from the file name, as ``by_name``.
            - "folders:2": from the last two folders above the picture, as ``by_folders``.
            - "level:2": from the second folder above the picture only.
            - a function of the path inside the folder, with "/" between names: it returns the
              class, or None to leave the picture out.
        folder: the folder of the pictures.
        left_out: a defaultdict of lists, to which rows without a picture are added.

    Raises:
        ValueError: ``labels`` is none of these, or a table lacks a column or cannot be read.
    """
    file, label = "", ""
    if isinstance(labels, str):
        labels, file, label = _parsed(labels, folder)
    elif isinstance(labels, os.PathLike):
        labels = _table_path(labels, folder)
    if isinstance(labels, Path):
        return _labeller_by_table(labels, file, label, left_out)
    if not callable(labels):
        raise ValueError(f"labels is {labels!r}, expected a text, a path or a function")
    function = labels

    def labeller(top: str, files: list[str]) -> dict[str, str]:
        named = {file: function(Path(file).relative_to(top).as_posix()) for file in files}
        return {file: name for file, name in named.items() if name}

    return labeller


def from_anywhere(labels: str, folder: Path) -> str:
    """Return labels that mean the same from any working directory: with a table's whole path."""
    table, columns = _found_table(labels, folder)
    return labels if table is None else f"{table.absolute()}{columns}"


def _parsed(text: str, folder: Path) -> tuple[Path | Label, str, str]:
    """Return a labeller or the path of a table, and the names of two columns, which may be empty.

    Raises:
        ValueError: the text means none of these.
    """
    table, columns = _found_table(text, folder)
    if table is not None:
        _, file, label = [*columns.split(":"), "", ""][:3]
        return table, file, label
    kind, _, rest = text.partition(":")
    if kind == "name":
        return by_name(rest), "", ""
    if kind in KINDS:
        if not rest.isdecimal() or int(rest) < 1:
            raise ValueError(f"labels is {text!r}, expected 1 or more folders, as in {kind}:2")
        return by_folders(int(rest), joined=kind == "folders"), "", ""
    raise ValueError(
        f"labels is {text!r}, expected a table (there is no such file), name:<pattern>, "
        "folders:<number> or level:<number>"
    )


def _found_table(text: str, folder: Path) -> tuple[Path | None, str]:
    """Return the table that a text names, if there is one, and what follows: ":file:label"."""
    if text.partition(":")[0] not in KINDS:
        for path in (text, text.rsplit(":", 2)[0]):
            if (table := _table_path(path, folder)).is_file():
                return table, text[len(path) :]
    return None, ""


def _table_path(path: str | os.PathLike, folder: Path) -> Path:
    """Return the path of a table: inside the folder, or else from the working directory."""
    inside = folder / user_path(path)
    return inside if inside.is_file() else user_path(path)


def _labeller_by_table(path: Path, file: str, label: str, left_out: LeftOut) -> Labeller:
    """Return a labeller that reads a table; ``file`` and ``label`` are column names, or empty."""
    rows = _rows(path)

    def labeller(top: str, files: list[str]) -> dict[str, str]:
        known = _keys(files, [Path(top), path.parent])
        file_column = _named(file, path, rows) if file else _file_column(path, rows, known)
        label_column = (
            _named(label, path, rows) if label else _label_column(path, rows, file_column)
        )
        labels: dict[str, set[str]] = defaultdict(set)
        has_header = _key(rows[0][file_column].strip()) not in known
        for row in rows[has_header:]:
            value, name = row[file_column].strip(), row[label_column].strip()
            found = known.get(_key(value), [])
            if len(found) > 1:
                listed = ", ".join(printable(one) for one in found[:2])
                raise ValueError(f"{path} names {value!r}, which may be {listed}: give its path")
            if not found:
                left_out[f"rows of {path.name} without a picture"].append(printable(value))
            elif name:
                labels[found[0]].add(name)
        if several := [one for one in labels if len(labels[one]) > 1]:
            raise ValueError(
                f"{path} gives several classes to {counted(len(several), 'picture')}, such as "
                f"{printable(several[0])} ({', '.join(sorted(labels[several[0]]))})"
            )
        return {one: names.pop() for one, names in labels.items()}

    return labeller


def _rows(path: Path) -> list[list[str]]:
    """Return the rows of a table, each cut or filled up to the length of the first."""
    if path.suffix.lower() not in TABLES:
        raise ValueError(f"{path} is not a table: expected CSV, or text with tabs")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="cp1252", errors="replace")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    try:
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row
        ]
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a table: {first_line(error)}") from None
    if not rows or len(rows[0]) < 2:
        raise ValueError(f"{path} has no rows, expected a picture and its class in each")
    width = len(rows[0])
    return [(row + [""] * width)[:width] for row in rows]


def _key(text: str) -> str:
    return os.path.normpath(text.replace("\\", "/")).replace(os.sep, "/")


def _keys(files: list[str], folders: Sequence[Path]) -> dict[str, list[str]]:
    """Return the files for each text that may name them: path or name, with or without suffix."""
    known: dict[str, list[str]] = defaultdict(list)
    for file in files:
        names = {PurePath(file).name, file}
        names |= {os.path.relpath(file, folder) for folder in folders}
        for name in names | {os.path.splitext(name)[0] for name in names}:
            known[_key(name)].append(file)
    return known


def _file_column(path: Path, rows: list[list[str]], known: dict[str, list[str]]) -> int:
    """Return the index of the column in which most values are pictures."""
    hits = [sum(_key(row[i].strip()) in known for row in rows) for i in range(len(rows[0]))]
    best = max(range(len(hits)), key=hits.__getitem__)
    if not hits[best]:
        raise ValueError(
            f"{path} names none of the folder's pictures in any column ({', '.join(rows[0])}): "
            "expected their paths, or their names with or without suffix"
        )
    return best


def _label_column(path: Path, rows: list[list[str]], file_column: int) -> int:
    """Return the index of the column of the classes."""
    others = [i for i in range(len(rows[0])) if i != file_column]
    if len(others) > 1:  # keep columns whose values repeat
        counts = {i: Counter(row[i].strip() for row in rows[1:] if row[i].strip()) for i in others}
        others = [i for i in others if 1 < len(counts[i]) <= sum(counts[i].values()) / 2]
    if len(others) > 1:
        others = [i for i in others if rows[0][i].strip().casefold() in LABEL_COLUMNS] or others
    if len(others) == 1:
        return others[0]
    listed = ", ".join(rows[0][i] for i in others) or ", ".join(rows[0])
    raise ValueError(
        f"{path} does not say which column has the classes ({listed}): name both columns, as in "
        f"{path.name}:{rows[0][file_column]}:<column>"
    )


def _named(column: str, path: Path, rows: list[list[str]]) -> int:
    if column not in rows[0]:
        raise ValueError(f"{path} has no column {column!r}, only {', '.join(rows[0])}")
    return rows[0].index(column)
