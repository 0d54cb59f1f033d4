"""Tables that name pictures, as people and spreadsheets write them."""

import codecs
import csv
import io
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from pytorch_vision.runtime.text import first_line, printable

TABLES = (".csv", ".tsv", ".txt")


def read_table(path: Path) -> list[list[str]]:
    """Return the rows of a table, each cut or filled up to the length of the first.

    Commas, semicolons or tabs separate the columns, or spaces if the first line has none of these.
    The text is UTF-8, UTF-16 with a byte order mark, as Excel writes it, or Windows-1252.

    Raises:
        ValueError: the file is not a table, or its first row has fewer than two columns.
        OSError: it cannot be opened.
    """
    shown = printable(str(path))
    if path.suffix.lower() not in TABLES:
        raise ValueError(f"{shown} is not a table: expected CSV, or text with tabs; save it as CSV")
    content = path.read_bytes()
    has_mark = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if has_mark else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    first = next(filter(str.strip, text.splitlines()), "")
    delimiter = max(",;\t", key=first.count)
    delimiter = delimiter if delimiter in first else " "
    try:
        read = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        rows = [[cell.strip() for cell in row] for row in read if any(row)]
    except csv.Error as error:
        raise ValueError(f"{shown} cannot be read as a table: {first_line(error)}") from None
    if not rows or len(rows[0]) < 2:
        raise ValueError(
            f"{shown} has no rows of two columns: expected a picture and its class in each"
        )
    width = len(rows[0])
    return [(row + [""] * width)[:width] for row in rows]


class FileNames:
    """Finds the files that a table names.

    A string names a file by its name, or by its path from one of some folders. If no file is called
    exactly so, then suffix, case, Unicode form and leading zeros do not count, as spreadsheets and
    other systems change them; nor does a folder with which all strings of a column begin.

    Args:
        files: their paths.
        folders: from which the strings may be relative paths.
    """

    def __init__(self, files: Iterable[str], folders: Sequence[Path] = ()) -> None:
        self._exact, self._alike = (defaultdict[str, list[str]](list) for _ in range(2))
        for file in files:
            names = {PurePath(file).name, file, *(os.path.relpath(file, one) for one in folders)}
            for key in {_key(name) for name in names}:
                self._exact[key].append(file)
            for key in {_loose(os.path.splitext(name)[0]) for name in names}:
                self._alike[key].append(file)

    def named_by(self, column: Sequence[str]) -> list[list[str]]:
        """Return the files that each string of a column may name: none, one, or several."""
        texts = [_key(text) for text in column[1:] if text]  # without a header
        above = os.path.commonprefix(texts)  # noqa: RUF071  # of characters; cut at its last slash
        above = above[: above.rfind("/") + 1]
        found = {
            text: self._named(text) or self._named(_key(text).removeprefix(above))
            for text in dict.fromkeys(column)
        }
        return [found[text] for text in column]

    def _named(self, text: str) -> list[str]:
        stem, suffix = os.path.splitext(text)
        stem = stem if suffix[1:2].isalpha() and suffix[1:].isalnum() else text
        found = (self._exact.get(_key(text)), self._alike.get(_loose(text)))
        return next(filter(None, (*found, self._alike.get(_loose(stem)))), [])


def _key(text: str) -> str:
    return os.path.normpath(text.replace("\\", "/")).replace(os.sep, "/")


def _loose(text: str) -> str:
    """Return a path without what spreadsheets and other systems change."""
    folder, _, name = unicodedata.normalize("NFC", _key(text)).casefold().rpartition("/")
    return f"{folder}/{name.lstrip('0') if name.isdecimal() else name}"
