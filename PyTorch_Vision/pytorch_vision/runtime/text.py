"""Texts that print-outs, tables and pictures have in common."""


def percent(share: float, digits: int = 0) -> str:
    """Return a share of one as a text, such as "50 %"."""
    return f"{100 * share:.{digits}f} %"


def cut(text: str, kept: int) -> str:
    """Return so many characters of a text, half of them from its end, around an ellipsis."""
    if kept >= len(text):
        return text
    return text[: kept - kept // 2] + "…" + text[len(text) - kept // 2 :]
