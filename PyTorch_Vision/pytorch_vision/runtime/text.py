"""Formatting for messages and tables, and untrusted text that is safe to print."""

import errno
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # in memory, different in every process
LISTED = 5  # names in a message
LONGEST_TEXT = 100_000  # characters of a class name or a description
# errors that occur only in writing
WRITE_ERRORS = {errno.EROFS, errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def percent(share: float, digits: int = 0) -> str:
    """Return a fraction as a percentage, such as "50 %"."""
    return f"{100 * share:.{digits}f} %"


def counted(number: int, noun: str) -> str:
    """Return a number with a noun, such as "1 picture" or "1,234 pictures"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, printable, as in "a, b, c, d, e and 12 more"."""
    more = len(names) - LISTED
    return ", ".join(map(printable, names[:LISTED])) + (f" and {more:,} more" if more > 0 else "")


def cut(text: str, kept: int) -> str:
    """Shorten a text to ``kept`` characters with an ellipsis in the middle."""
    if kept >= len(text):
        return text
    return text[: kept - kept // 2] + "…" + text[len(text) - kept // 2 :]


def aligned(rows: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """Return rows as a text table whose columns are as wide as their widest cell.

    Args:
        rows: of equal length; the first can be a header.
        numbers: right-align all columns but the first.
    """
    columns = []
    for number, column in enumerate(zip(*rows, strict=True)):
        width = max(map(len, column))
        columns.append([f"{one:{'>' if numbers and number else '<'}{width}}" for one in column])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; the error's type if the message is empty.

    A first line that ends with a colon says nothing without the next one, which is added.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first, *more = lines or [type(error).__name__]
    return f"{first} {more[0].lstrip('- ')}" if first.endswith(":") and more else first


def describe_os_error(error: OSError) -> str:
    """Return an OSError as a sentence, such as "cannot write a/b: permission denied"."""
    reason = error.strerror or first_line(error)
    if error.filename is None:
        return reason
    verb = "write" if error.errno in WRITE_ERRORS else "open"
    return f"cannot {verb} {printable(str(error.filename))}: {reason[:1].lower()}{reason[1:]}"


def shown(text: str, encoding: str = "utf-8") -> str:
    r"""Escape the characters of a text that an encoding lacks, as in \xe9."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def printable(text: str) -> str:
    """Escape the control characters and lone surrogates of a text.

    An escape character becomes "\\x1b", so that a terminal prints it instead of obeying it.
    Invisible spaces, joiners and marks stay, as many scripts need them in words. The text is cut to
    ``LONGEST_TEXT`` characters. ``checked_text`` accepts every text that this returns.
    """
    escaped = "".join(one if _is_printable(one) else ascii(one)[1:-1] for one in text)
    return escaped if len(escaped) <= LONGEST_TEXT else escaped[: LONGEST_TEXT - 1] + "…"


def checked_text(text: Any, longest: int = LONGEST_TEXT) -> str:
    """Return a text from an untrusted file if it is safe to print.

    Raises:
        ValueError: it is not a string, is too long, or contains control characters.
    """
    if not isinstance(text, str) or len(text) > longest:
        raise ValueError(f"it holds a value that is not a text of up to {longest} characters")
    if not all(_is_printable(character) or character == "\n" for character in text):
        raise ValueError("it holds a text with control characters")
    return text


def _is_printable(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cs")  # control, lone surrogate
