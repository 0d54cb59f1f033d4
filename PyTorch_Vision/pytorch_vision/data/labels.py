"""The class of each picture, from a table, from its file name, or from the folders above it.

As in fastai, a labeller is a function: it takes a picture's path inside its folder, and returns the
name of its class, or None to leave the picture out.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path, PurePath

from pytorch_vision.data.folder_layout import Labeller, LeftOut
from pytorch_vision.data.tables import FileNames, read_table
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.terminal import say
from pytorch_vision.runtime.text import counted, listed, printable

LABEL_COLUMNS = ("label", "class", "class_name", "category", "target")
ONE, ZERO = ("1", "1.0"), ("0", "0.0")  # in a column for each class
KINDS = ("name", "folders", "level")  # what may stand before a colon, in place of a table

Label = Callable[[str], object]  # the name of a class, or a number; None to leave a picture out
Labels = str | os.PathLike | Label | None


def by_name(pattern: str) -> Label:
    """Return a labeller that finds the class in the file name with a regular expression.

    Its first group is the class, without the suffix, as in ``(.+)_[0-9]+`` for cat_001.jpg.

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
        file = PurePath(path)
        found = compiled.search(file.name)
        if not found or not found[1] or found.start(1) >= len(file.stem):  # it is in the suffix
            return None
        return found[1].removesuffix(file.suffix)

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

            - "train.csv": a table, at this path inside the folder, or else from the working
              directory, or else beside the folder, as ``tables.read_table`` reads it, with one row
              for each picture. A row names its picture by the path from the table or the folder, or
              by the file name; how exactly, ``tables.FileNames`` explains. The column of the
              pictures is that in which most values are pictures; that of the classes is the only
              other one whose values repeat, or one called label, class, class_name, category or
              target; or each class has a column of 0 and 1. "train.csv:id:breed" names both
              columns.
            - "name:(.+)_[0-9]+": from the file name, as ``by_name``.
            - "folders:2": from the last two folders above the picture, as ``by_folders``.
            - "level:2": from the second folder above the picture only.
            - a function of the path inside the folder, a string with "/" between names: it returns
              the class, or None to leave the picture out.
        folder: the folder of the pictures.
        left_out: a defaultdict of lists, to which rows without a picture are added.

    Raises:
        ValueError: ``labels`` is none of these, or a table lacks a column or cannot be read.
    """
    table, columns = _found_table(labels, folder)
    if table is not None:
        _, file, label = [*columns.split(":"), "", ""][:3]
        return _labeller_by_table(table, file, label, left_out)
    if isinstance(labels, str):
        labels = _parsed(labels)
    if not callable(labels):
        raise ValueError(f"labels is {labels!r}, expected a string, a path or a function")
    function: Label = labels

    def labeller(top: str, files: list[str]) -> dict[str, str]:
        named = {file: function(Path(file).relative_to(top).as_posix()) for file in files}
        # NaN, which pandas has where a value is missing, differs from itself
        return {one: str(k) for one, k in named.items() if k not in (None, "") and k == k}

    return labeller


def from_anywhere(labels: str, folder: Path) -> str:
    """Return labels that mean the same from any working directory: with a table's whole path."""
    table, columns = _found_table(labels, folder)
    return labels if table is None else f"{table.absolute()}{columns}"


def _parsed(text: str) -> Label:
    """Return the labeller that a string such as "level:2" stands for, else raise ValueError."""
    kind, _, rest = text.partition(":")
    if kind == "name":
        return by_name(rest)
    if kind in KINDS:
        if not rest.isdecimal() or int(rest) < 1:
            raise ValueError(f"labels is {text!r}, expected 1 or more folders, as in {kind}:2")
        return by_folders(int(rest), joined=kind == "folders")
    raise ValueError(
        f"labels is {text!r}, expected a table (there is no such file), name:<pattern>, "
        "folders:<number> or level:<number>"
    )


def _found_table(labels: object, folder: Path) -> tuple[Path | None, str]:
    """Return the table that labels name, if there is one, and what follows: ":file:label"."""
    if isinstance(labels, os.PathLike):
        return _table_path(labels, folder), ""
    if isinstance(labels, str) and labels.partition(":")[0] not in KINDS:
        for path in (labels, labels.rsplit(":", 2)[0]):
            if (table := _table_path(path, folder)).is_file():
                return table, labels[len(path) :]
    return None, ""


def _table_path(path: str | os.PathLike, folder: Path) -> Path:
    """Return the path of a table: in the folder, the working directory, or beside the folder."""
    name = user_path(path)
    places = [folder / name, name, folder.parent / name]
    return next((place for place in places if place.is_file()), name)


def _labeller_by_table(path: Path, file: str, label: str, left_out: LeftOut) -> Labeller:
    """Return a labeller that reads a table; ``file`` and ``label`` are column names, or empty."""
    rows = read_table(path)

    def labeller(top: str, files: list[str]) -> dict[str, str]:
        known = FileNames(files, [Path(top), path.parent])
        columns = {i: known.named_by([row[i] for row in rows]) for i in range(len(rows[0]))}
        file_column = _named(file, path, rows) if file else _file_column(path, rows, columns)
        found = columns[file_column]
        if not any(found):
            raise ValueError(
                f"{path} names none of the folder's pictures in any column (its last row is "
                f"{', '.join(map(printable, rows[-1]))}), expected their paths, or their names "
                "with or without suffix"
                + "".join(f", as in {printable(os.path.relpath(one, top))}" for one in files[:1])
            )
        names = _classes_in(path, rows, file_column, label)
        # the first row is a header if it names no picture, and its "class" is no class of others
        first = 1 if not found[0] and names[0] not in names[1:] else 0
        meant = list(zip([row[file_column] for row in rows], found, names, strict=True))
        return _one_each(path, meant[first:], left_out)

    return labeller


def _classes_in(path: Path, rows: list[list[str]], file_column: int, label: str) -> list[str]:
    """Return the class that each row of a table gives; print which columns are not read."""
    if not label and (names := _one_hot(rows, file_column)) is not None:
        return names
    column = _named(label, path, rows) if label else _label_column(path, rows, file_column)
    unread = [rows[0][i] for i in range(len(rows[0])) if i not in (file_column, column)]
    if unread := [printable(one) for one in unread if one]:
        say(
            f"{path.name}: {rows[0][file_column]} names the pictures, and {rows[0][column]} their "
            f"classes; not read: {', '.join(unread)}"
        )
    return [row[column] for row in rows]


def _one_each(
    path: Path, rows: list[tuple[str, list[str], str]], left_out: LeftOut
) -> dict[str, str]:
    """Return the class of each picture.

    Args:
        path: the table.
        rows: how each row names its picture, which pictures it may mean, and the class.
        left_out: as for ``labeller_of``.

    Raises:
        ValueError: a row may mean several pictures, or a picture has several classes.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    for value, pictures, name in rows:
        if len(pictures) > 1:
            either = listed(pictures[:2])
            raise ValueError(f"{path} names {value!r}, which may be {either}: give its path")
        if not pictures:
            left_out[f"rows of {path.name} without a picture"].append(printable(value))
        elif name:
            labels[pictures[0]].add(name)
    if several := [one for one in labels if len(labels[one]) > 1]:
        raise ValueError(
            f"{path} gives several classes to {counted(len(several), 'picture')}, such as "
            f"{printable(several[0])} ({', '.join(sorted(labels[several[0]]))})"
        )
    return {one: names.pop() for one, names in labels.items()}


def _file_column(path: Path, rows: list[list[str]], columns: dict[int, list[list[str]]]) -> int:
    """Return the index of the column that names most pictures."""
    hits = {i: len({one for found in columns[i] for one in found}) for i in columns}
    # pandas writes its index as a column without a name
    best = max(columns, key=lambda i: (hits[i], bool(rows[0][i])))
    for i in columns:
        if hits[i] == hits[best] and rows[0][i] and columns[i][1:] != columns[best][1:]:
            raise ValueError(
                f"{path} names pictures in two columns ({rows[0][best]}, {rows[0][i]}): name those "
                f"of the pictures and the classes, as in {path.name}:{rows[0][best]}:<column>"
            )
    return best


def _one_hot(rows: list[list[str]], file_column: int) -> list[str] | None:
    """Return the class of each row if there is a column of 0 and 1 for each class, else None."""
    # pandas writes its index as a column without a name
    columns = [i for i, name in enumerate(rows[0]) if i != file_column and name]
    found = [rows[0][file_column]]
    for row in rows[1:]:
        ones = [rows[0][i] for i in columns if row[i] in ONE]
        if len(columns) < 2 or len(ones) != 1 or any(row[i] not in (*ONE, *ZERO) for i in columns):
            return None
        found += ones
    return found


def _label_column(path: Path, rows: list[list[str]], file_column: int) -> int:
    """Return the index of the column of the classes."""
    others = [i for i in range(len(rows[0])) if i != file_column]
    if len(others) > 1:  # keep columns whose values repeat
        counts = {i: Counter(row[i] for row in rows[1:] if row[i]) for i in others}
        others = [i for i in others if 1 < len(counts[i]) <= sum(counts[i].values()) / 2]
    if len(others) > 1:
        others = [i for i in others if rows[0][i].casefold() in LABEL_COLUMNS] or others
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
