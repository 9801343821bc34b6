"""`starcli`, and `python -m starcli`, also from a bare clone."""

import os
import sys


def console_script() -> None:
    """The console script: an interrupt is one line while the program is still being read, too."""
    if sys.platform == "darwin":  # torch asks once, when it is imported: what Apple's GPUs lack is done by the CPU
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    try:
        from starcli.cli import main as program
    except KeyboardInterrupt:
        print("starcli: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    program.main()


if __name__ == "__main__":
    console_script()
