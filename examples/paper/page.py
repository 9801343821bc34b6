"""The page of what the experiments gave, and its figures, from their records alone."""

import json
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from paper.record import DRY_RUN, FAILS, HOLDS, NOT_RUN, OPEN, Experiment, Finding, Table

HEAD = """\
# The paper on record

What the experiments of "Do Deep Neural Network Solutions Form a Star Domain?" (Sonthalia, Rubinstein, Abbasnejad and
Oh, ICLR 2025) give with this program, at the scale that each says, beside the paper's own figures. These are of
networks and data a hundred times as large, so that no number is to be compared with another across the page; what is
compared is the direction of each claim. `examples/paper/run.sh` measures, and writes this page from the JSON files in
`results/`; nothing here is written by hand.

**To run one**, from the directory of the project:

```sh
examples/paper/run.sh lemma --scale quick  # seconds, to see that it works
examples/paper/run.sh lemma --scale here   # as recorded here: minutes to hours on one core
examples/paper/run.sh lemma --scale full   # the paper's own settings
```

Each prints its findings and writes such a page, `runs/paper/RESULTS.md` (`--out` says another directory); a stopped run
goes on when its line is typed again, and `--help` names the experiments and the data that they need.

**The rule.** A claim that one thing is larger than another *holds* where the 95% interval of the mean paired difference
lies above 0, *does not hold* where it lies below, and is *not decided* where 0 is inside. A claim that two things are
alike *holds* where the interval lies within the margin that is named with it, *does not hold* where it lies outside.
Differences are paired by the models that they are of. The interval counts models (jackknife over each kind of model:
sources, stars, held-out models), not pairs; of a kind with fewer than three models nothing is said beyond these. p is
of a two-sided paired t-test over held-out models. A quantity *falls* where the interval of its slope is below 0. Losses
and barriers are in nats, `a ± b` is mean and standard deviation, `[a, b]` from the least to the largest, and CPU
seconds are of one core (models that were there already cost none).
"""


SMALL = {"quick", DRY_RUN}
"""Scales of which findings prove nothing."""
PROVES_NOTHING = "At scale `{}` an experiment only shows that it works: findings and figures prove nothing."


def write_page(experiments: Sequence[Experiment], directory: Path) -> None:
    """Write `RESULTS.md` and `figures/` of all records in `directory/results`."""
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    (directory / "RESULTS.md").write_text(page_text(experiments, directory))
    for each in experiments:
        if (record := record_of(each, directory)) and each.draw is not None:
            draw(each, record, directory / "figures")


def page_text(experiments: Sequence[Experiment], directory: Path) -> str:
    """`RESULTS.md` of all records in `directory/results`."""
    records = {each.name: record_of(each, directory) for each in experiments}
    sections = (part for each in experiments for part in section(each, records[each.name]))
    return "\n".join([HEAD, overview(experiments, records), *sections])


def record_of(experiment: Experiment, directory: Path) -> dict[str, Any] | None:
    """What was recorded of an experiment; None if nothing was."""
    file = directory / "results" / f"{experiment.name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def overview(experiments: Sequence[Experiment], records: dict[str, Any]) -> str:
    """A table with a line for each experiment: how many findings say what."""
    lines = []
    for each in experiments:
        record = records[each.name]
        verdicts = [finding.verdict for finding in each.judge(record["rows"])] if record else []
        counts = [
            f"{verdicts.count(verdict)} {verdict}" for verdict in (HOLDS, FAILS, OPEN, NOT_RUN) if verdict in verdicts
        ]
        said = ", ".join(counts) or NOT_RUN
        lines.append([f"[`{each.name}`](#{anchor(each)})", each.paper, each.claim, said])
    return table(Table(["experiment", "in the paper", "claim", "findings"], lines)) + "\n"


def said_of(experiment: Experiment, directory: Path) -> Iterator[str]:
    """What an experiment found, in lines for a terminal."""
    record = record_of(experiment, directory)
    if record is None:
        return
    for found in experiment.judge(record["rows"]):
        yield f"{experiment.name}: {found.verdict}: {found.claim} ({found.where})"
    if record["scale"] in SMALL:
        yield PROVES_NOTHING.format(record["scale"])


def heading(experiment: Experiment) -> str:
    """The words above an experiment's section."""
    return f"{experiment.name}: {experiment.paper}"


def anchor(experiment: Experiment) -> str:
    """What a link to that heading names."""
    kept = "".join(each for each in heading(experiment).lower() if each.isalnum() or each in " -_")
    return kept.strip().replace(" ", "-")


def section(experiment: Experiment, record: dict[str, Any] | None) -> Iterator[str]:
    """An experiment: claim, findings, tables, figure, lines."""
    yield f"## {heading(experiment)}\n\n{experiment.claim}\n"
    small = record is not None and record["scale"] in SMALL
    if record is not None and small:
        yield f"**{PROVES_NOTHING.format(record['scale'])}**\n"
    if experiment.notes:
        yield f"{'*Notes on the larger scales:* ' if small else ''}{experiment.notes}\n"
    if record is None:
        yield f"*{NOT_RUN.capitalize()}.*\n"
        return
    if trained := networks(record):
        yield f"Networks, as `train` is told of them: {trained}.\n"
    if found := experiment.judge(record["rows"]):
        yield table(Table(["claim", "of", "difference", "95% interval", "p", "finding"], [*map(cells, found)])) + "\n"
    for each in experiment.tables(record["rows"]):
        yield table(each) + "\n"
    if experiment.draw is not None:
        yield f"![{experiment.paper}](figures/{experiment.name}.png)\n"
    lines = "\n".join(each["line"] for each in record["lines"])
    yield (
        f"<details><summary>Scale `{record['scale']}`, starcli {record['program']}, "
        f"{record['cpu_seconds']:.0f} CPU seconds, {len(record['lines'])} lines</summary>\n\n"
        f"```sh\n{lines}\n```\n\n</details>\n"
    )


def networks(record: dict[str, Any]) -> str:
    """What the lines of `train` say of networks, data and training, by the folders that they write to."""
    found = {}
    for each in record["lines"]:
        if said := re.match(r"starcli train (.+) --seeds \S+ -o '(.+)/", each["line"]):
            found[said[2]] = said[1]
    return "; ".join(f"`{name}` by `{words}`" for name, words in found.items())


def cells(finding: Finding) -> list[str]:
    """A finding as the words of a row."""
    low, high = finding.interval
    between = f"{number(low)} to {number(high)}" if math.isfinite(low) else ""
    p = f"{finding.p:.2g}" if math.isfinite(finding.p) else ""
    return [finding.claim, finding.where, number(finding.difference), between, p, f"*{finding.verdict}*"]


def table(of: Table) -> str:
    """A table in Markdown."""
    rows = [of.columns, ["---"] * len(of.columns), *of.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def number(value: float | None) -> str:
    """A number with three decimals, or three digits where it is smaller; nothing where there is none.

    >>> number(0.0004123), number(12.5), number(0.0), number(None)
    ('0.000412', '12.500', '0.000', '')
    """
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, and in brackets the least and the largest.

    >>> spread([1.0, 2.0, 3.0])
    '2.000 ± 1.000 [1.000, 3.000]'
    """
    mean = number(statistics.fmean(values))
    if len(values) < 2:
        return mean
    return f"{mean} ± {number(statistics.stdev(values))} [{number(min(values))}, {number(max(values))}]"


def draw(experiment: Experiment, record: dict[str, Any], directory: Path) -> None:
    """Draw the figure of an experiment, as PNG and as SVG."""
    from starcli.plots.look import Look
    from starcli.plots.style import draw_figure

    assert experiment.draw is not None
    for kind in ("png", "svg"):
        paint = experiment.draw(record["rows"])
        (directory / f"{experiment.name}.{kind}").write_bytes(draw_figure(paint, kind, Look()))
