"""The long form: ``make torture`` prints a table for the README."""

import datetime
import platform
from collections import Counter
from collections.abc import Callable

from torture.corruption import corruptions
from torture.hostile import hostile
from torture.images import images
from torture.runs import kills, kills_in_a_write, no_place, signals, two_at_once


def main() -> None:
    print(
        "Kills, interrupts and starves small runs, damages every file that we read, and reads "
        "hostile ones:\nall in temporary folders, on this machine alone. About 5 minutes."
    )
    parts: dict[str, Callable[[], Counter]] = {
        "SIGKILL at random moments": lambda: kills(100),
        "SIGKILL inside a write": lambda: kills_in_a_write(20),
        "SIGTERM, SIGHUP and SIGINT in turn": lambda: signals(30),
        "two runs on one folder": lambda: two_at_once(20),
        "disk full, folder gone, file in its place": lambda: no_place(30),
        "random changes of each of 9 files": lambda: corruptions(100, setattr),
        "hostile files and servers": lambda: hostile(setattr),
        "damaged images": lambda: images(3000),
    }
    lines = [f"| {name} | {told(part())} |" for name, part in parts.items()]
    print(f"\n{datetime.date.today()}, Python {platform.python_version()}\n")
    print("\n".join(["| what was done | what came of it |", "| --- | --- |", *lines]))


def told(seen: Counter) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in seen.most_common())


if __name__ == "__main__":
    main()
