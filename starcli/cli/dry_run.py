"""`--dry-run`: what a command would do, from a rehearsal of it: steps, time, memory, files."""

from collections.abc import Iterator
from typing import Any

from starcli.cli.framework.results import Column, Results
from starcli.runtime.rehearsal import Rehearsal

_COLUMNS = (
    Column("what", "what would be done", "words"),
    Column("count", "times", ",d"),
    Column("time", "about", "words", main=True),
    Column("size", "size", "words", main=True),
)


def show_plan(rehearsal: Rehearsal, results: Results) -> None:
    """Show the rows of a plan, for people with times and sizes in words."""
    for row in plan_rows(rehearsal):
        results.add("plan", row if results.for_programs else _for_people(row), _COLUMNS)


def plan_rows(rehearsal: Rehearsal) -> Iterator[dict[str, Any]]:
    """Rows of what is there already, of each part of the work, of each file, and of all together."""
    from starcli.files.state import STATE
    from starcli.runtime.memory import gpu_peak_bytes, peak_bytes

    for path, how in rehearsal.found.items():
        yield {"action": "found", "what": str(path), "how": how}
    for what, part in rehearsal.parts.items():
        yield {"action": "work", "what": what, "count": part.count, "seconds": part.seconds}
    rest = rehearsal.now() - sum(part.seconds for part in rehearsal.parts.values())
    yield {"action": "work", "what": "reading, checks and the rest", "count": 1, "seconds": rest}
    sizes = {path: size or 0 for path, size in rehearsal.files.items()}
    states = {path: size for path, size in sizes.items() if path.name.endswith(STATE)}
    for path, size in rehearsal.files.items():
        yield {"action": "keep" if path in states else "write", "what": str(path), "bytes": size}
    # a state goes when its file is there, so that there is one at a time
    kept = sum(sizes.values()) - sum(states.values()) + max(states.values(), default=0)
    memory = {"memory": peak_bytes(), "gpu_memory": gpu_peak_bytes()}
    yield {"action": "all", "seconds": rehearsal.now(), "bytes": kept, **memory}


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the plan with sizes and times in words."""
    actions = {"found": "{what}: {how}", "write": "write {what}", "keep": "keep {what} in the meantime"}
    size = {"size": _size(row["bytes"])} if row.get("bytes") is not None else {}
    time = {"time": _time(row["seconds"])} if "seconds" in row else {}
    if row["action"] != "all":
        return {**row, **size, **time, "what": actions.get(row["action"], "{what}").format(**row)}
    places = {"memory": row["memory"], "of GPUs": row["gpu_memory"]}
    memory = ", ".join(f"{name} {_size(found)}" for name, found in places.items() if found is not None)
    return {"what": f"all ({memory})", **size, **time}


def _time(seconds: float) -> str:
    """A time as people say it.

    >>> _time(0.25), _time(80), _time(5400), _time(4 * 86400)
    ('0.2 s', '80 s', '90 min', '96 h')
    """
    for unit, length, most in (("s", 1, 100), ("min", 60, 100)):
        if seconds < most * length:
            return f"{seconds / length:.{1 if seconds < 10 else 0}f} {unit}"
    return f"{seconds / 3600:,.0f} h"


def _size(count: int) -> str:
    """A size as people say it.

    >>> _size(812), _size(81_200), _size(5 * 10**9)
    ('812 bytes', '81.2 kB', '5.0 GB')
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
