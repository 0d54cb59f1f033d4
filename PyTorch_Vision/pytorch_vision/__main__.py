"""The command line: ``python -m pytorch_vision train``, ``evaluate`` and others."""

import os
import sys

from pytorch_vision.app.command_line import parse


def main() -> int:
    """Run the command line; ``--help`` ends it before torch is loaded."""
    options = parse()
    # pictures need no backend, and matplotlib cannot be imported if it does not know the name
    os.environ.pop("MPLBACKEND", None)
    try:
        from pytorch_vision.app.commands import run
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
