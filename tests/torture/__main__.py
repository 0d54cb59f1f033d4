"""The long form: ``make torture`` prints a table for the README."""

import datetime
import platform
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from torture.corruption import corruptions
from torture.hostile import hostile
from torture.images import images
from torture.runs import kills, kills_in_a_write, no_place, signals, two_at_once


def main() -> None:
    print(
        "Kills, interrupts and starves small runs, damages every file that we read, and reads "
        "hostile ones:\nall in temporary folders, on this machine alone. About 5 minutes."
    )
    parts: dict[str, Callable[[Any], Counter]] = {
        "SIGKILL at random moments": lambda _: kills(100),
        "SIGKILL inside a write": lambda _: kills_in_a_write(20),
        "SIGTERM, SIGHUP and SIGINT in turn": lambda _: signals(30),
        "two runs on one folder": lambda _: two_at_once(20),
        "disk full, folder gone, file in its place, read-only": lambda _: no_place(40),
        "random changes, 100 in each of 9 kinds of files": lambda patch: corruptions(100, patch),
        "hostile files and servers": hostile,
        "damaged images": lambda _: images(3000),
    }
    lines = []
    for name, part in parts.items():
        with pytest.MonkeyPatch.context() as patch:
            lines.append(f"| {name} | {told(part(patch.setattr))} |")
    print(f"\n{datetime.date.today()}, Python {platform.python_version()}\n")
    print("\n".join(["| what was done | what came of it |", "| --- | --- |", *lines]))


def told(seen: Counter) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in seen.most_common())


if __name__ == "__main__":
    main()
