"""Notes of library calls, which are warnings in Python."""

import sys
import warnings

from starcli.library.python_words import in_python
from starcli.runtime.progress import Progress


class StarcliWarning(UserWarning):
    """A note: what a result rests on, or what is odd about it. On the command line notes go to stderr.

    A call warns of what its command notes, but for what is about files and the cache, for defaults of the function (the
    recipe of `train`), and for the length of a star's growth, which its recipe has.
    """


class Warnings(Progress):
    """The watcher of library calls: notes become warnings."""

    def note(self, text: str) -> None:
        """Warn."""
        warnings.warn(in_python(text), StarcliWarning, stacklevel=_frames_of_ours())


def _frames_of_ours() -> int:
    """The `stacklevel` of the line outside this package that asked: Python shows it, and repeats no line's warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] == "starcli":
        level, frame = level + 1, frame.f_back
    return level
