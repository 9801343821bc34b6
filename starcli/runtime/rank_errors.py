"""Exceptions as plain data, so that an error of one rank can be raised by all."""

from collections.abc import Sequence
from typing import Any

from starcli.errors import OUR_BUG, WRONG_INPUT, StarcliError
from starcli.runtime.blame import network_error
from starcli.runtime.progress import Interrupted


class RankError(StarcliError):
    """Error that occurred in another rank, with its exit status."""

    def __init__(self, summary: str, problems: Sequence[str], status: int) -> None:
        """`status` is the exit status that the error has in its own rank."""
        self.exit_status = status
        super().__init__(summary, problems)


def to_dict(error: BaseException, rank: int) -> dict[str, Any]:
    """Serialise an exception raised on `rank`.

    The keys are `summary`, `problems` and `status`, or, for an interruption, `signal` and `summary`.
    """
    error = network_error(error) or error
    signal = getattr(error, "signal", 2 if isinstance(error, KeyboardInterrupt) else None)
    if isinstance(error, StarcliError):
        return {"summary": error.summary, "problems": list(error.problems), "status": error.exit_status}
    if isinstance(signal, int):
        return {"signal": signal, "summary": str(error) if isinstance(error, Interrupted) else ""}
    status = WRONG_INPUT if isinstance(error, OSError | MemoryError) else OUR_BUG
    return {"summary": f"rank {rank}: {type(error).__name__}: {error}", "problems": [], "status": status}


def from_dict(data: dict[str, Any]) -> Exception:
    """Inverse of `to_dict`: an `Interrupted` or a `RankError`."""
    if "signal" in data:
        return Interrupted(data["signal"], data["summary"])
    return RankError(data["summary"], data["problems"], data["status"])
