import errno
import os

import pytest

from pytorch_vision.runtime.text import (
    LONGEST_TEXT,
    aligned,
    checked_text,
    counted,
    cut,
    describe_os_error,
    first_line,
    percent,
    printable,
    shown,
)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (percent(0.5), "50 %"),
        (percent(0.94964, 2), "94.96 %"),
        (counted(1, "picture"), "1 picture"),
        (counted(1234, "picture"), "1,234 pictures"),
        (cut("abcdef", 6), "abcdef"),
        (cut("abcdef", 3), "ab…f"),
        (first_line(ValueError("one\ntwo")), "one"),
        (first_line(ValueError()), "ValueError"),
        (first_line(ValueError("conflicts:\n - images\n - labels")), "conflicts: images"),
        (shown("Кошка, é, 猫"), "Кошка, é, 猫"),
        (shown("Кошка", "ascii"), r"\u041a\u043e\u0448\u043a\u0430"),
        (printable("a\x1b[2J\udcffé"), "a\\x1b[2J\\udcffé"),
        (printable("a" * (LONGEST_TEXT + 1)), "a" * (LONGEST_TEXT - 1) + "…"),
    ],
)
def test_texts(made, expected):
    assert made == expected


def test_columns_are_as_wide_as_their_widest_text():
    rows = [["run", "epochs"], ["first run", "3"]]
    assert aligned(rows) == "run        epochs\nfirst run  3"
    assert aligned(rows, numbers=True) == "run        epochs\nfirst run       3"


@pytest.mark.parametrize("text", [None, 3, "ab\x1b", "\udcff", "abcd"])
def test_a_text_that_is_not_safe_to_print_is_refused(text):
    with pytest.raises(ValueError, match="it holds a "):
        checked_text(text, 3)


@pytest.mark.parametrize(
    ("number", "path", "expected"),
    [
        (errno.EACCES, "a/b", "cannot open a/b: permission denied"),
        (errno.EROFS, "a/b", "cannot write a/b: read-only file system"),
        (errno.ENOSPC, "a\x1bb", "cannot write a\\x1bb: no space left on device"),
        (errno.ENOSPC, None, "No space left on device"),
    ],
)
def test_describe_os_error(number, path, expected):
    assert describe_os_error(OSError(number, os.strerror(number), path)) == expected
    assert describe_os_error(OSError("truncated")) == "truncated"
