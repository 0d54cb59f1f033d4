"""The command line: ``python -m pytorch_vision train``, ``evaluate`` and others."""

import sys


def main() -> int:
    """Run the command line; an interrupt while it loads prints one line, too."""
    try:
        from pytorch_vision.app.commands import main as command
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return command()


if __name__ == "__main__":
    sys.exit(main())
