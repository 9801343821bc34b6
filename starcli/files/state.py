"""State of a long run beside its target: saved as it goes, loaded when the same command is typed again."""

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.links import behind_links
from starcli.files.write import raise_os_error, write_atomically
from starcli.runtime.rehearsal import present_rehearsal

STATE = ".state"
"""Ending of states."""


def state_path(target: Path) -> Path:
    """Path of the state of a run that makes `target`: beside it, where it is a link beside what it leads to."""
    file = behind_links(target)
    return file.with_name(file.name + STATE)


class StateFile:
    """State file of a run: `target.safetensors.state` for `target.safetensors`.

    The state carries the `run_id` of its run: that of another run is an error, unless `force`, which discards it. It
    also carries `facts` (plain values) about the run, for the error message.
    """

    def __init__(
        self,
        target: Path,
        run_id: str,
        *,
        force: bool = False,
        facts: Mapping[str, Any] | None = None,
        differences: Callable[[Mapping[str, Any]], list[str]] | None = None,
        save_every: float | None = None,
    ) -> None:
        """State of a run that saves it after so many seconds each time (None: at ends of epochs).

        `differences` lists, one line each, how the facts of a saved state differ from `facts`.
        """
        self.path = state_path(target)
        self.run_id = run_id
        self.force = force
        self.facts, self.differences = facts, differences
        self.save_every = save_every

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state by `state`: tensors, numbers, strings and containers of them."""
        import torch

        from starcli.files import pickles

        packed = pickles.pack(dict(state))
        buffer = io.BytesIO()
        torch.save({"run_id": self.run_id, "facts": json.dumps(self.facts), "state": packed}, buffer)
        write_atomically(self.path, buffer.getvalue())

    def mark_diverged(self) -> None:
        """Have the saved state say that its run diverged after it: it is in no other run's way then.

        The run itself would go on from there again. That of another run stays as it is.
        """
        import torch

        from starcli.files import pickles

        if not self.path.exists():
            return
        with contextlib.suppress(Exception):  # a damaged state is `load`'s to report
            content = pickles.load_pickle(self.path, mapped=False)
            if content["run_id"] == self.run_id:
                buffer = io.BytesIO()
                torch.save({**content, "diverged": True}, buffer)
                write_atomically(self.path, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none.

        Raises StarcliError for a damaged state and for that of another run; with `force` these count as none, as does
        that of another run which diverged. Nothing but plain data and tensors is ever unpickled.
        """
        if not self.path.exists():
            return None
        from starcli.files import pickles
        from starcli.files.pickled_values import skipped_in

        try:
            content = pickles.load_pickle(self.path, mapped=False)
            if skipped_in(content):
                raise ValueError("it holds more than tensors and plain data")
            found, state = content["run_id"], dict(pickles.unpack(content["state"]))
        except Exception as error:
            if self.force:
                return None
            raise StarcliError(f"{self.path}: is no state of ours; delete it or use --force to start anew") from error
        if found != self.run_id:
            if self.force or content.get("diverged") is True:
                return None
            problems = [*self._differences(content.get("facts")), "--force discards it and starts anew"]
            raise StarcliError(f"{self.path}: belongs to a run with other settings", problems)
        return state

    def _differences(self, facts: object) -> list[str]:
        """Lines of `differences`; none where the state records no facts, or some that make no sense."""
        with contextlib.suppress(ValueError, TypeError):
            return self.differences(json.loads(str(facts))) if self.differences else []
        return []

    def recorded_facts(self) -> Any:
        """Return the facts of the saved state, of whichever run, or None where there is no readable state."""
        from starcli.files import pickles

        try:
            return json.loads(pickles.load_pickle(self.path)["facts"])
        except Exception:  # `load` says what is wrong with it
            return None

    def remove(self) -> None:
        """Delete the state: the run is finished."""
        if present_rehearsal() is not None:
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise_os_error(self.path, error, "remove")
