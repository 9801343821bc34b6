"""`starcli`, and `python -m starcli`, also from a bare clone."""

import os
import sys


def console_script() -> None:
    """The console script: an interrupt is one line before a command listens to signals, too, of the first rank."""
    if sys.platform == "darwin":  # torch asks once, when it is imported: what Apple's GPUs lack is done by the CPU
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    try:
        from starcli.cli import main as program

        program.main()
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print("starcli: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    console_script()
