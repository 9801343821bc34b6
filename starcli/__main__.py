"""`starcli`, and `python -m starcli`, also from a bare clone."""

import sys


def console_script() -> None:
    """The console script: an interrupt is one line while the program is still being read, too."""
    try:
        from starcli.cli import main as program
    except KeyboardInterrupt:
        print("starcli: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    program.main()


if __name__ == "__main__":
    console_script()
