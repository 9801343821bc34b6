"""What a caller of the library sees of a call while it runs: notes as warnings, and progress for those who ask."""

import sys
import warnings

from starcli.library.python_words import in_python
from starcli.runtime.progress import Progress


class StarcliWarning(UserWarning):
    """A note: what a result rests on, or what is odd about it. On the command line notes go to stderr.

    A call warns of what its command notes, but for what is about files and the cache, for defaults of the function (the
    recipe of `train`), and for the length of a star's growth, which its recipe has.
    """


class Watcher(Progress):
    """Watcher of a call: notes become warnings; a subclass, as `progress=`, sees how far the call is.

    `start(task, total)`, `step(count, **figures)` and `finish()` are what a bar needs; `record(row)` gets the rows of a
    log, as of each epoch.

    >>> import starcli as sc
    >>> class Epochs(sc.Watcher):
    ...     def record(self, row):
    ...         print(f"epoch {row['epoch']}, rate {row['lr']:.2f}")
    >>> model = sc.train("mlp", "digits", epochs=2, limit=60, progress=Epochs())
    epoch 1, rate 0.10
    epoch 2, rate 0.05
    """

    def note(self, text: str) -> None:
        """Warn of a note."""
        warnings.warn(in_python(text), StarcliWarning, stacklevel=_frames_of_ours())


def _frames_of_ours() -> int:
    """The `stacklevel` of the line outside this package that asked: Python shows it, and repeats no line's warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] == "starcli":
        level, frame = level + 1, frame.f_back
    return level
