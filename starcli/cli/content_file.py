"""An output that records nothing of how it was made: it is finished where it holds just what the command makes."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from starcli.cli.framework.progress_bars import Bars
from starcli.cli.job import note_finished
from starcli.cli.outputs import check_place, refuse_directory
from starcli.files.names import is_standard_stream
from starcli.files.write import check_output, holds, write_pieces
from starcli.runtime import distributed


class ContentFile:
    """A table or a text in the making; one that is there is compared with what is made, and never overwritten so."""

    def __init__(self, path: Path, usual: str, inputs: Sequence[Path] = (), *, force: bool) -> None:
        """Raises StarcliError, before any work, where nothing may be written; `usual`: what such a file is called."""
        self.path = path
        self.stands = not force and not is_standard_stream(path) and path.exists()
        if not is_standard_stream(path):
            refuse_directory(path, usual)
            check_place(path, inputs)

    def note_before(self, watch: Bars) -> None:
        """Say before long work that a file is there, which may be another one."""
        if self.stands:
            watch.note(f"{self.path}: exists, and is compared with what this makes; --force overwrites it")

    def write(self, pieces: Callable[[], Iterable[bytes]], watch: Bars) -> None:
        """Write what `pieces` gives, which is asked for it once to compare and once to write.

        A file that holds just this is left, with a note. StarcliError for one that holds something else.
        """
        if not distributed.by_writer(lambda: self._write(pieces)):
            note_finished(self.path, watch)

    def _write(self, pieces: Callable[[], Iterable[bytes]]) -> bool:
        """Write, and True; False where the file holds just this. One rank decides: others may see another disk."""
        if self.stands and holds(self.path, pieces()):
            return False
        if self.stands:
            check_output(self.path)
        write_pieces(self.path, pieces())
        return True
