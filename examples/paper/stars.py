"""Stars of a network, and the rows that tell how far they are from what they never saw.

Rows, by `kind`:

    barrier   group, a, b, train, test: the two barriers of a line
    loss      train and test loss of a star; regular_train, regular_train_std, ...: of the held-out models
    curve     group, split, t, loss, loss_std, accuracy, accuracy_std: means along the lines of a group

All have `network` and `align`, and but for those between regular models `star` and `case`: what is compared.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paper.networks import Network, write_images
from paper.page import number, spread
from paper.record import NOT_RUN, Bench, Finding, Row, Table, paired

HELD_OUT = 100
"""Seed of the first held-out model; sources have those from 0: neither changes with the other's number."""
REGULAR, STAR = "regular-regular", "star-held-out"
SOURCE, TRAINING = "star-source", "star-source (training)"
"""Lines to sources that are aligned to the finished star, and to them as its training left them."""
GROUPS = (REGULAR, SOURCE, TRAINING, STAR)
PARTNERS = 3
"""Sources that each held-out model is paired with: as many kinds of models as an interval needs."""
CLAIM = "star-regular below regular-regular"
WEIGHT, ACTIVATION = "--align weight --restarts 10", "--align activation"


@dataclass(frozen=True)
class Study:
    """A network's models at a bench: `sources` that stars may be made from, and `held_out` ones."""

    bench: Bench
    network: Network
    sources: int
    held_out: int

    def train(self) -> None:
        """Train all models."""
        of = self.network
        write_images(self.bench.out, of.data)
        for first, count in ((0, self.sources), (HELD_OUT, self.held_out)):
            seeds = f"{first}-{first + count - 1}"
            self.bench.line(f"starcli train {of.train} {of.data} --seeds {seeds} -o '{of.name}/{{seed}}.safetensors'")

    def models(self, first: int, count: int) -> str:
        """Files of models, as bash reads them."""
        seeds = f"{{{first}..{first + count - 1}}}" if count > 1 else str(first)
        return f"{self.network.name}/{seeds}.safetensors"

    def stars(self, align: str, words: str = "", *, sources: int, stars: int = 1) -> list[str]:
        """Files of stars, of seeds from 0. words: what else is said; their names have it too."""
        return self.make("star", align, words, sources=sources, stars=stars)[0]

    def make(
        self, command: str, align: str, words: str = "", *, sources: int, stars: int = 1
    ) -> tuple[list[str], list[Row]]:
        """Files of models by `star` or `fuse`, and the rows of that line."""
        of, some = self.network, self.models(0, sources)
        name = self._name(command, align, words, sources)
        where = f"--seeds 0-{stars - 1} -o '{of.name}/{name}-{{seed}}.safetensors'"
        rows = self.bench.line(f"starcli {command} --sources {some} {of.data} {of.star} {words} {align} {where}")
        return [f"{of.name}/{name}-{seed}.safetensors" for seed in range(stars)], rows

    def star_and_sources(self, align: str) -> tuple[str, str]:
        """A star of all sources, and these as its training left them, which a star that is there does not tell."""
        star, kept = (
            f"{self.network.name}/{self._name('star', align, '', self.sources)}-0",
            self.models(0, self.sources),
        )
        words = f"--aligned-sources {star}-sources -o {star}.safetensors --force"
        of = self.network
        self.bench.line(f"starcli star --sources {kept} {of.data} {of.star} {align} {words}")
        return f"{star}.safetensors", kept.replace(of.name, f"{star}-sources", 1)

    def judge(
        self, star: str, align: str, case: str, *, sources: int = PARTNERS, words: str = "", kept: str = ""
    ) -> list[Row]:
        """Rows of the lines from the first sources, and from a star, to held-out models.

        kept: the sources as training left them; then also those from the star to its sources, and means along lines.
        """
        rows = []
        for source in range(min(sources, self.sources)):
            found = self._barriers(self.models(source, 1), self.models(HELD_OUT, self.held_out), align, words)
            rows += [{**row, "group": REGULAR} for row in found]
        ends = {STAR: (self.models(HELD_OUT, self.held_out), align)}
        if kept:
            ends |= {SOURCE: (self.models(0, self.sources), align), TRAINING: (kept, "--align none")}
        for group, (models, how) in ends.items():
            rows += [{**row, "group": group} for row in self._barriers(star, models, how, words)]
        return list(rows_of(rows, {**self._about(align), "star": seed_of(star), "case": case}, bool(kept)))

    def lines(self, star: str, align: str, case: str) -> list[Row]:
        """Rows of the lines from a star to held-out models alone."""
        found = self._barriers(star, self.models(HELD_OUT, self.held_out), align, "")
        rows = [{**row, "group": STAR} for row in found]
        return list(rows_of(rows, {**self._about(align), "star": seed_of(star), "case": case}, False))

    def all_lines(self, stars: Sequence[str], align: str, case: str, *, first: bool) -> list[Row]:
        """Rows of the lines from several stars to held-out models; first: between regular models, too."""
        judged = self.judge(stars[0], align, case) if first else self.lines(stars[0], align, case)
        return [*judged, *(row for star in stars[1:] for row in self.lines(star, align, case))]

    def _name(self, command: str, align: str, words: str, sources: int) -> str:
        return "-".join([command, str(sources), *words.replace("--", "").split(), align.split()[1]])

    def _about(self, align: str) -> Row:
        return {"network": self.network.name, "align": in_short(align)}

    def _barriers(self, start: str, ends: str, align: str, words: str) -> list[Row]:
        of = self.network
        return self.bench.line(f"starcli barrier {start} {ends} {of.data} {align} {of.barrier} {words}")


def in_short(align: str) -> str:
    """What `--align weight --restarts 10` says.

    >>> in_short("--align weight --restarts 10")
    'weight, restarts 10'
    """
    return align.replace("--align ", "").replace(" --", ", ")


def seed_of(file: str) -> str:
    """The name of a model's file, without folder and suffix: of a source or a held-out model its seed."""
    return file.rpartition("/")[2].removesuffix(".safetensors")


def rows_of(found: Sequence[Row], about: Mapping[str, Any], curves: bool) -> Iterator[Row]:
    """What is recorded of the rows of `barrier`, each with its group."""
    for group in GROUPS:
        lines = [each for each in found if each["type"] == "barrier" and each["group"] == group]
        if not lines:
            continue
        own = ("star", "case") if group == REGULAR else ()
        mine = {key: value for key, value in about.items() if key not in own} | {"group": group}
        for each in lines:
            barriers = {split: each[split]["loss_barrier"] for split in ("train", "test")}
            yield {"kind": "barrier", **mine, "a": seed_of(each["a"]), "b": seed_of(each["b"]), **barriers}
        for split in ("train", "test") if curves else ():
            yield {"kind": "curve", **mine, "split": split, "t": lines[0]["t"], **curve([row[split] for row in lines])}
        if group == STAR:
            yield {"kind": "loss", **about, **losses(lines)}


def curve(lines: Sequence[Row]) -> Row:
    """Means and deviations at each place of several lines."""
    found: Row = {}
    for what in ("loss", "accuracy"):
        places = list(zip(*(each[what] for each in lines), strict=True))
        found[what] = [statistics.fmean(each) for each in places]
        found[f"{what}_std"] = [statistics.pstdev(each) for each in places]
    return found


def losses(lines: Sequence[Row]) -> Row:
    """Losses at the ends of lines from a star: its own, and those of the other models."""
    found: Row = {}
    for split in ("train", "test"):
        others = [each[split]["loss"][-1] for each in lines]
        found[split] = lines[0][split]["loss"][0]
        found |= {f"regular_{split}": statistics.fmean(others), f"regular_{split}_std": statistics.stdev(others)}
    return found


def chosen(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Rows with these values; of a tuple, with one of these."""
    tests = {key: value if isinstance(value, tuple) else (value,) for key, value in wanted.items()}
    return [row for row in rows if all(row.get(key) in values for key, values in tests.items())]


def cases(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by case, each with those between regular models of the same network and alignment, once each."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if "star" in row:
            found.setdefault(row["case"], []).append(row)
    for some in found.values():
        like = {key: some[0][key] for key in ("network", "align")}
        regular = [row for row in chosen(rows, **like) if "star" not in row]
        some += {tuple(row.get(key) for key in ("kind", "a", "b", "split")): row for row in regular}.values()
    return found


def by_sources(rows: Sequence[Row], key: str) -> dict[str, dict[int, list[Row]]]:
    """Rows of cases by their `key` ("network", "align") and their number of sources."""
    found: dict[str, dict[int, list[Row]]] = {}
    for some in cases(rows).values():
        found.setdefault(some[0][key], {})[some[0]["sources"]] = some
    return found


def names(rows: Iterable[Row], case: str) -> list[str]:
    """Names of the stars of a case."""
    return [row["star"] for row in chosen(rows, kind="loss", case=case)]


def barriers(rows: Iterable[Row], group: str, split: str = "train") -> list[float]:
    """The barriers of a group."""
    return [row[split] for row in chosen(rows, kind="barrier", group=group)]


def gains(rows: Sequence[Row], split: str = "train") -> dict[tuple[Any, ...], float]:
    """Regular-regular less star-held-out barrier, by source, star and held-out model."""
    return {
        (regular["a"], star["star"], star["b"]): regular[split] - star[split]
        for regular in chosen(rows, kind="barrier", group=REGULAR)
        for star in chosen(rows, kind="barrier", group=STAR, b=regular["b"])
    }


def better(rows: Sequence[Row], first: Iterable[str], second: Iterable[str]) -> dict[tuple[Any, ...], float]:
    """Train barrier of stars `first` less that of stars `second`, by place in these lists and held-out model."""
    found = {(row["star"], row["b"]): row["train"] for row in chosen(rows, kind="barrier", group=STAR)}
    held_out = dict.fromkeys(model for _, model in found)
    return {
        (place, model): found[one, model] - found[other, model]
        for place, (one, other) in enumerate(zip(first, second, strict=True))
        for model in held_out
    }


def connected(rows: Sequence[Row], where: str, split: str = "train") -> Finding:
    """Whether stars are nearer to held-out models than regular models are, as everywhere in the paper."""
    return Finding.above(CLAIM, f"{where}, {split}", gains(rows, split))


def all_connected(rows: Sequence[Row], split: str = "train") -> list[Finding]:
    """The same of each case."""
    return [connected(some, case, split) for case, some in cases(rows).items()]


def not_run(rows: Sequence[Row], key: str, asked: Iterable[str]) -> list[Finding]:
    """What is asked for at a scale and not in its record, because the run was stopped.

    asked: the values that `key` should have; nothing is missing in the record of another scale, which has none of them.
    """
    there, wanted = {row.get(key) for row in rows}, list(asked)
    missing = [each for each in wanted if each not in there]
    return [Finding(CLAIM, each, NOT_RUN) for each in missing] if len(missing) < len(wanted) else []


def star_table(rows: Sequence[Row], paper: Mapping[str, Sequence[str]], split: str = "train") -> Table:
    """Losses of held-out models and stars, and barriers, by case; paper: its two barriers of a case."""
    columns = [f"{split} split", "regular loss", "star loss", REGULAR, "95%", "star-regular", "95%"]
    lines = []
    for case, some in cases(rows).items():
        found = chosen(some, kind="loss")
        regular = f"{number(found[0][f'regular_{split}'])} ± {number(found[0][f'regular_{split}_std'])}"
        line = [case, regular, spread([row[split] for row in found])]
        for group in (REGULAR, STAR):
            line += [spread(barriers(some, group, split)), interval_of(some, group, split)]
        lines.append([*line, *paper.get(case, ("", ""))])
    if not any(paper.get(case) for case in cases(rows)):
        return Table(columns, [line[: len(columns)] for line in lines])
    return Table([*columns, f"paper: {REGULAR}", "star-regular"], lines)


def interval_of(rows: Iterable[Row], group: str, split: str) -> str:
    """95% interval of the mean barrier of a group, over models."""
    found = chosen(rows, kind="barrier", group=group)
    low, high = paired({(row["a"], row["b"]): row[split] for row in found})[1]
    return f"{number(max(low, 0.0))} to {number(high)}" if math.isfinite(high) else ""
