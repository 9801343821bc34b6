"""What an experiment is, how its lines are carried out and kept, and by which rule a claim holds.

An experiment is a file of `experiments/` with one value `EXPERIMENT`. `measure` types `starcli` lines at a `Bench`,
which carries each out once, and makes rows: flat dictionaries, which are recorded as JSON. Everything else (tables,
findings, the figure) is made of recorded rows alone, so that the page can be written again without any run.
"""

import contextlib
import io
import json
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import starcli
from starcli.barriers.intervals import FEWEST_MODELS, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
"""What is recorded of one thing that was measured."""
SCALES = ("quick", "here", "full")
"""quick: seconds, to see that it works; here: hours on one core; full: the paper's own settings."""
DRY_RUN = "dry run"
"""The scale of the record of a dry run."""
HOLDS, FAILS, OPEN, NOT_RUN = "holds", "does not hold", "not decided", "not run"


@dataclass(frozen=True)
class Experiment:
    """An experiment of the paper.

    paper: the table or figure that it is about. claim: what the paper says there, in our words. scales: settings by
    scale; where `here` is missing this machine cannot do it. measure(settings, bench): the rows. tables(rows) and
    judge(rows): what the page shows of them. draw(rows): what paints the figure, if there is one. notes: what differs
    from the paper, and what else a reader should know, in Markdown.
    """

    name: str
    paper: str
    claim: str
    scales: Mapping[str, Mapping[str, Any]]
    measure: Callable[[Mapping[str, Any], "Bench"], list[Row]]
    tables: Callable[[Sequence[Row]], list["Table"]]
    judge: Callable[[Sequence[Row]], list["Finding"]]
    draw: Callable[[Sequence[Row]], "Callable[[Figure], None]"] | None = None
    notes: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page: its columns, and the words in each row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Finding:
    """A claim held against what was measured in one setting.

    difference: the mean that the claim is about, positive where it is as claimed; interval: its 95% interval over
    models; p: of a two-sided paired t-test over the models of the last kind. Not finite where there is none.
    """

    claim: str
    where: str
    verdict: str
    difference: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)
    p: float = math.nan

    @classmethod
    def above(cls, claim: str, where: str, differences: Mapping[tuple[Any, ...], float]) -> "Finding":
        """Holds where the whole interval is above 0, does not hold where all of it is below, else is not decided.

        differences: by the models that each is of, such as (source, star, held-out model). The interval counts the
        models of each kind; a kind with fewer than 3 stays fixed, and nothing is said of others of that kind.
        """
        mean, (low, high), p = paired(differences)
        verdict = HOLDS if low > 0 else FAILS if high < 0 else OPEN
        return cls(claim, where, verdict, mean, (low, high), p)

    @classmethod
    def near(cls, claim: str, where: str, differences: Mapping[tuple[Any, ...], float], margin: float) -> "Finding":
        """Holds where the whole interval is within `margin` of 0, does not hold where all of it is outside."""
        mean, (low, high), p = paired(differences)
        inside, outside = -margin <= low and high <= margin, low > margin or high < -margin
        verdict = HOLDS if inside else FAILS if outside else OPEN
        return cls(f"{claim} (within {margin:.3g})", where, verdict, mean, (low, high), p)

    @classmethod
    def falling(cls, claim: str, where: str, points: Sequence[tuple[float, float]]) -> "Finding":
        """Whether y falls with x: least squares over points that are independent, such as one for each star.

        difference: by how much y falls as x rises by 1; interval and p are Student's, n - 2 degrees of freedom.
        """
        from scipy.stats import linregress, t

        fit = linregress(*zip(*points, strict=True))
        half = float(t.ppf(0.975, len(points) - 2)) * float(fit.stderr)
        fall = -float(fit.slope)
        verdict = HOLDS if fall > half else FAILS if fall < -half else OPEN
        return cls(claim, where, verdict, fall, (fall - half, fall + half), float(fit.pvalue))


def paired(differences: Mapping[tuple[Any, ...], float]) -> tuple[float, tuple[float, float], float]:
    """Mean difference, its 95% interval over models, and p of a t-test of the means by model of the last kind."""
    from scipy.stats import ttest_1samp

    numbers: dict[tuple[int, Any], int] = {}
    keys = [tuple(numbers.setdefault(each, len(numbers)) for each in enumerate(key)) for key in differences]
    kinds = [sorted(set(kind)) for kind in zip(*keys, strict=True)]
    strata = [kind for kind in kinds if len(kind) >= FEWEST_MODELS]
    values = list(differences.values())
    between = interval(values, keys, strata)  # type: ignore[arg-type]  # keys of any length
    last: dict[int, list[float]] = {}
    for key, value in zip(keys, values, strict=True):
        last.setdefault(key[-1], []).append(value)
    means = [math.fsum(each) / len(each) for each in last.values()]
    varied = len(means) >= FEWEST_MODELS and len(set(means)) > 1
    p = float(ttest_1samp(means, 0).pvalue) if varied else math.nan
    return math.fsum(values) / len(values), between, p


@dataclass
class Bench:
    """A directory that `starcli` lines are typed in; what a line gave is kept there, and it is not carried out again.

    lines: what was asked of it so far, with CPU seconds.
    """

    out: Path
    lines: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        kept = self.out / "measured.jsonl"
        known = map(json.loads, kept.read_text().splitlines()) if kept.exists() else []
        self._known: dict[str, Row] = {each["line"]: each for each in known}

    def line(self, words: str) -> list[Row]:
        """The JSON rows of a `starcli` line, such as `starcli barrier a/{0..4}.safetensors --align weight`.

        The line is typed in `out` and may have bash's `{0..4}` and `$NAME` of the environment.
        """
        line = " ".join(words.split())
        return self.keep(line, lambda: carry_out(line, self.out))

    def keep(self, what: str, compute: Callable[[], list[Row]]) -> list[Row]:
        """What `compute` gives, kept under the name `what`, where it is looked up first."""
        if what not in self._known:
            print(f"$ {what}", file=sys.stderr)
            began = time.process_time()
            rows = compute()
            seconds = round(time.process_time() - began, 1)
            entry = {"line": what, "cpu_seconds": seconds, "program": starcli.__version__, "rows": rows}
            with (self.out / "measured.jsonl").open("a") as kept:
                kept.write(json.dumps(entry) + "\n")
            self._known[what] = entry
        entry = self._known[what]
        about = {key: entry[key] for key in ("line", "cpu_seconds", "program")}
        if about not in self.lines:
            self.lines.append(about)
        return list(entry["rows"])


@cache
def _program() -> Any:
    """The program's commands, which typer would build anew for each line."""
    from typer.main import get_command

    from starcli.cli.main import app

    return get_command(app)


def carry_out(line: str, directory: Path) -> list[Row]:
    """Run a `starcli` line in this process, as starting one takes seconds. SystemExit where it fails."""
    words = [word for each in shlex.split(os.path.expandvars(line))[1:] for word in braces(each)]
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    status: Any = 0
    with contextlib.chdir(directory), contextlib.redirect_stdout(out):
        try:
            _program()([*words, "--json", "--quiet"], prog_name="starcli")
        except SystemExit as ended:
            status = ended.code
    if status:
        raise SystemExit(status)
    out.seek(0)
    return [json.loads(each) for each in out.read().splitlines()]


def braces(word: str) -> list[str]:
    """Words that bash makes of one with `{FIRST..LAST}`.

    >>> braces("a/{0..2}.x")
    ['a/0.x', 'a/1.x', 'a/2.x']
    """
    found = re.search(r"\{(\d+)\.\.(\d+)\}", word)
    if found is None:
        return [word]
    return [word.replace(found[0], str(number)) for number in range(int(found[1]), int(found[2]) + 1)]


def rounded(value: Any, digits: int = 6) -> Any:
    """Numbers of a row with so many digits, which are more than any of them is worth."""
    match value:
        case float():
            return float(f"{value:.{digits}g}") if math.isfinite(value) else None
        case dict():
            return {key: rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [rounded(each) for each in value]
    return value


def recorded(experiment: Experiment, scale: str, bench: Bench) -> str:
    """Measure an experiment and give its record as JSON, a line for each row."""
    rows = experiment.measure(experiment.scales[scale], bench)
    seconds = round(math.fsum(each["cpu_seconds"] for each in bench.lines), 1)
    head = {"name": experiment.name, "scale": scale, "program": starcli.__version__, "cpu_seconds": seconds}
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key, values in (("lines", bench.lines), ("rows", rows)):
        inner = ",\n".join(f"  {json.dumps(rounded(each))}" for each in values)
        parts.append(f'"{key}": [\n{inner}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"
