"""From words to files to write: templates, what exists already, locks, and the log beside a checkpoint."""

import contextlib
import json
import os
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli import files
from starcli.errors import StarcliError
from starcli.runtime import distributed
from starcli.tensorfile import PICKLED

if TYPE_CHECKING:
    from torch import Tensor

    from starcli.checkpoint import Metadata
    from starcli.cli.bars import Bars
    from starcli.provenance import Plan

STDOUT = "-"


def to_stdout(path: Path) -> bool:
    """Whether the output is stdout, so that results go to stderr."""
    return str(path) == STDOUT


def fill(
    template: Path, values: Sequence[Mapping[str, object]], inputs: Sequence[Path] = (), *, pickled: bool = False
) -> list[Path]:
    """One output path for each of `values`: `out/{name}.safetensors` with `name`, `{seed}`, `{t}`.

    Refused before any work: a placeholder that there is not, two outputs of one name, an output that is an input or
    whose directory does not exist, a name by which everybody would take it for a file of PyTorch, unless `pickled`.
    """
    text = str(template)
    if text == STDOUT:
        if len(values) > 1:
            raise StarcliError(f"-o -: stdout takes one checkpoint, this makes {len(values)}")
        return [template]
    paths = [Path(_filled(text, value)) for value in values]
    if len(set(paths)) != len(paths):
        names = " or ".join(f"{{{name}}}" for name in values[0])
        raise StarcliError(
            f"-o {text}: {len(paths)} files would have the same name", [f"a template with {names} tells them apart"]
        )
    for path in paths:
        check_place(path, inputs)
        if path.suffix.lower() in PICKLED and not pickled:
            raise StarcliError(
                f"{path}: checkpoints are safetensors files and are named so",
                [f"-o {path.with_suffix('.safetensors')}, then starcli convert for PyTorch's own format"],
            )
    return paths


def _filled(text: str, values: Mapping[str, object]) -> str:
    known = ", ".join(f"{{{name}}}" for name in values)
    try:
        for _, name, form, conversion in string.Formatter().parse(text):
            if name is not None and (name not in values or form or conversion):
                raise StarcliError(f"-o {text}: unknown {{{name}}}; this command knows {known}")
    except ValueError as error:
        raise StarcliError(f"-o {text}: a brace has no partner; this command knows {known}") from error
    return text.format(**values)


def check_place(path: Path, inputs: Sequence[Path] = ()) -> None:
    """A file to write must not be an input, and its directory must exist."""
    for other in inputs:
        with contextlib.suppress(OSError):
            if path == other or (path.exists() and path.samefile(other)):
                raise StarcliError(f"{path}: is an input; a file is never written over one")
    if path.is_dir():
        raise StarcliError(f"{path}: is a directory, not a file to write")
    if not path.parent.is_dir():
        raise StarcliError(f"{path}: its directory does not exist", [f"mkdir -p {path.parent}"])
    if not os.access(path.parent, os.W_OK):
        raise StarcliError(f"{path}: its directory may not be written to")


def stem(path: Path) -> str:
    """`{name}` of an input: its file name without `.safetensors`; stdin's is `stdin`."""
    return "stdin" if str(path) == STDOUT else path.name.removesuffix(".safetensors")


def figure(path: Path | None, inputs: Sequence[Path] = ()) -> Callable[..., None]:
    """A function that draws with one of `starcli.plots` and writes `path`; without a path it does nothing.

    Where and of what type the figure is to be is checked now, before any work.
    """
    if path is None:
        return lambda *_, **__: None
    check_place(path, inputs)
    from starcli import plots

    kind = plots.check_format(path)

    def draw(name: str, *what: Any, **settings: Any) -> None:
        if not distributed.is_writer():
            return
        files.write_atomically(path, getattr(plots, name)(*what, kind, **settings))

    return draw


class Log:
    """The rows of a run as JSON lines beside its checkpoint: `ckpts/0.metrics.jsonl` for `ckpts/0.safetensors`.

    Rows that a killed run logged after its last saved state are dropped when the run goes on, so that the file is that
    of an uninterrupted run.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.path = checkpoint.with_name(stem(checkpoint) + ".metrics.jsonl")
        self._begun = False

    def record(self, row: Mapping[str, Any]) -> None:
        """Add a row; the first one of this process first removes what was logged at or after its epoch."""
        if not self._begun:
            self._begun = True
            self._write([old for old in self._rows() if old.get("epoch", 0) < row.get("epoch", 0)])
        files.append_line(self.path, row)

    def replace(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Make the log exactly these rows: all of a finished run."""
        self._write(rows)

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        with contextlib.suppress(OSError, ValueError):  # a last line that was cut off, and what is no log of ours
            for text in self.path.read_text(encoding="utf-8").splitlines():
                rows.append(dict(json.loads(text)))
        return rows

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
        files.write_atomically(self.path, text.encode())


class Job:
    """One file in the making: locked while it is made, skipped where it is finished, its state kept beside it.

    `metadata` is that of the finished file once there is one, found or just written.
    """

    def __init__(self, path: Path, plan: "Plan", watch: "Bars", *, force: bool = False) -> None:
        self.path, self.plan, self.watch, self.force = path, plan, watch, force
        self.metadata: Metadata | None = None
        self.check()

    def check(self) -> None:
        """Look whether the file is there already; one that was made otherwise is an error."""
        from starcli.provenance import standing

        if not to_stdout(self.path):
            look = partial(standing, self.path, self.plan, force=self.force)
            self.metadata = distributed.by_writer(look)  # what one rank finds holds for all

    @property
    def finished(self) -> "Metadata":
        """The metadata of the file that is there now."""
        assert self.metadata is not None
        return self.metadata

    @property
    def state(self) -> files.StateFile | None:
        """Where a long run saves what it needs to go on; nowhere when the output is stdout."""
        if to_stdout(self.path):
            return None
        facts = self.plan.metadata().model_copy(update={"spec": None}).model_dump(mode="json")
        return files.StateFile(
            self.path, self.plan.run_id, force=self.force, facts=facts, differences=self._differences
        )

    def _differences(self, facts: Mapping[str, Any]) -> list[str]:
        from starcli.checkpoint import Metadata

        return self.plan.differences(Metadata.model_validate(facts))

    @contextlib.contextmanager
    def making(self) -> Iterator[bool]:
        """Hold the output; True where it is still to be made, False (and a note) where it is finished."""
        self.watch.leave_if_asked()
        if self.metadata is None and to_stdout(self.path):
            yield True
            return
        with contextlib.ExitStack() as held:
            distributed.by_writer(lambda: held.enter_context(files.lock(self.path, Log(self.path).path)))
            self.check()  # another process may have finished it while we worked on others
            if self.metadata is not None:
                if self.state is not None:
                    self.state.remove()  # of a process killed between its last two steps
                self.watch.note(f"{self.path}: finished already with these settings; --force makes it anew")
                yield False
                return
            self.watch.log = Log(self.path) if distributed.is_writer() else None
            try:
                yield True
            finally:
                self.watch.log = None

    def write(
        self, tensors: "Mapping[str, Tensor]", *, history: Sequence[Mapping[str, Any]] = (), **facts: Any
    ) -> None:
        """Write the finished file with `facts` for its metadata, its whole log, and forget the state."""
        self.metadata = distributed.by_writer(lambda: self._write(tensors, history, facts))

    def _write(
        self, tensors: "Mapping[str, Tensor]", history: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]
    ) -> "Metadata":
        from starcli import checkpoint

        if history and not to_stdout(self.path):
            Log(self.path).replace(history)
        stored = checkpoint.write(self.path, tensors, self.plan.metadata(**facts))
        if self.state is not None:
            self.state.remove()
        # as it will be read: results made from it are then the same when the line is typed again
        return checkpoint.parse_metadata(stored.to_text(), str(self.path))
