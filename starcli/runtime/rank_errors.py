"""What went wrong in one rank, as plain data, so that all the others can raise it."""

from collections.abc import Sequence
from typing import Any

from starcli.errors import StarcliError
from starcli.runtime.progress import Interrupted

BUG = 70
"""Exit status for what is nobody's fault but ours."""


class RankError(StarcliError):
    """What went wrong in another rank."""

    def __init__(self, summary: str, problems: Sequence[str], status: int) -> None:
        self.exit_status = status
        super().__init__(summary, problems)


def to_dict(error: BaseException, rank: int) -> dict[str, Any]:
    """An exception of `rank` as plain data."""
    signal = getattr(error, "signal", 2 if isinstance(error, KeyboardInterrupt) else None)
    if isinstance(error, StarcliError):
        return {"summary": error.summary, "problems": list(error.problems), "status": error.exit_status}
    if isinstance(signal, int):
        return {"signal": signal, "summary": str(error) if isinstance(error, Interrupted) else ""}
    status = 1 if isinstance(error, OSError | MemoryError) else BUG
    return {"summary": f"rank {rank}: {type(error).__name__}: {error}", "problems": [], "status": status}


def from_dict(data: dict[str, Any]) -> Exception:
    """The exception that `words` was told of."""
    if "signal" in data:
        return Interrupted(data["signal"], data["summary"])
    return RankError(data["summary"], data["problems"], data["status"])
