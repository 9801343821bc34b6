"""One file in the making: skipped where it is finished, locked while it is made, resumed where it was stopped."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.evaluation.result_table import flat_row
from starcli.files.lock import lock
from starcli.files.metrics_log import MetricsLog
from starcli.files.names import is_standard_stream
from starcli.files.run_logs.run_logs import RunLogs
from starcli.files.run_logs.targets import RunFacts
from starcli.files.state import StateFile
from starcli.runtime import distributed
from starcli.runtime.rehearsal import present_rehearsal

if TYPE_CHECKING:
    from torch import Tensor

    from starcli.checkpoints.metadata import Metadata
    from starcli.cli.framework.progress_bars import Bars
    from starcli.files.run_logs.targets import LogTarget
    from starcli.workspace.plan import Plan


class Job:
    """One file in the making: locked while it is made, skipped where it is finished, its state kept beside it.

    `metadata` is that of the finished file once there is one, found or just written. `shard_size`: as of
    `checkpoint.write`. `logs`: where the curves of its run go besides the log beside it. `save_every`: of its state.
    """

    def __init__(
        self,
        path: Path,
        plan: "Plan",
        watch: "Bars",
        *,
        force: bool = False,
        shard_size: int | None = None,
        logs: "Sequence[LogTarget]" = (),
        save_every: float | None = None,
    ) -> None:
        self.path, self.plan, self.watch, self.force, self.shard_size = path, plan, watch, force, shard_size
        self.save_every = save_every
        self._logs = RunLogs(logs, RunFacts(path, plan.run_id, _settings(plan)) if logs else RunFacts(path))
        self.metadata: Metadata | None = None
        self.check()

    def check(self) -> None:
        """Look whether the file is there already; one that was made otherwise is an error."""
        from starcli.workspace.plan import standing

        if not is_standard_stream(self.path):
            look = partial(standing, self.path, self.plan, force=self.force)
            self.metadata = distributed.by_writer(look)  # what one rank finds holds for all

    @property
    def finished(self) -> "Metadata":
        """The metadata of the file that is there now."""
        assert self.metadata is not None
        return self.metadata

    @property
    def state(self) -> StateFile | None:
        """Where a long run saves what it needs to go on; nowhere when the output is stdout."""
        if is_standard_stream(self.path):
            return None
        facts = self.plan.metadata().model_copy(update={"spec": None}).model_dump(mode="json")
        how: dict[str, Any] = {"force": self.force, "save_every": self.save_every}
        return StateFile(self.path, self.plan.run_id, facts=facts, differences=self._differences, **how)

    def _differences(self, facts: Mapping[str, Any]) -> list[str]:
        from starcli.checkpoints.metadata import Metadata

        return self.plan.differences(Metadata.model_validate(facts))

    @contextlib.contextmanager
    def making(self) -> Iterator[bool]:
        """Hold the output; True where it is still to be made, False (and a note) where it is finished."""
        self.watch.leave_if_asked()
        if self.metadata is None and is_standard_stream(self.path):
            yield True
            return
        with contextlib.ExitStack() as held:
            distributed.by_writer(lambda: held.enter_context(lock(self.path, MetricsLog(self.path).path)))
            self.check()  # another process may have finished it while we worked on others
            if self.metadata is not None:
                if self.state is not None:
                    self.state.remove()  # of a process killed between its last two steps
                note_finished(self.path, self.watch)
                yield False
                return
            try:
                if distributed.is_writer():
                    self._logs.open()
                    self.watch.log = self._logs
                yield True
            finally:
                self.watch.log = None
                self._logs.close()

    def write(
        self, tensors: "Mapping[str, Tensor]", *, history: Sequence[Mapping[str, Any]] = (), **facts: Any
    ) -> None:
        """Write the finished file with `facts` for its metadata, its whole log, and forget the state."""
        self.metadata = distributed.by_writer(lambda: self._write(tensors, history, facts))

    def _write(
        self, tensors: "Mapping[str, Tensor]", history: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]
    ) -> "Metadata":
        from starcli.checkpoints import metadata
        from starcli.workspace.directories import write_model

        if history and not is_standard_stream(self.path):
            self._logs.complete(history)
        content = self.plan.finish(tensors, **facts)
        stored = write_model(self.path, *content, self.plan.directory, shard_size=self.shard_size)
        if self.state is not None:
            self.state.remove()
            self.watch.kept = present_rehearsal() is None
        # as it will be read: results made from it are then the same when the line is typed again
        return metadata.parse_metadata(stored.to_text(), str(self.path))


def note_finished(path: Path, watch: "Bars") -> None:
    """Say that what was asked for is there already, and why nothing is made."""
    if (rehearsal := present_rehearsal()) is not None:
        rehearsal.found[path] = "finished already"
    else:
        watch.kept = True
    watch.note(f"{path}: finished already with these settings; --force makes it anew")


def _settings(plan: "Plan") -> dict[str, Any]:
    """What is said of a run besides its curves, settings in tables as `align.method`."""
    named: dict[str, Any] = {"kind": plan.kind, "seed": plan.seed}
    named |= {"arch": plan.architecture and plan.architecture.name, "data": plan.data and plan.data.name}
    return {name: value for name, value in flat_row({**named, **plan.settings}).items() if value is not None}
