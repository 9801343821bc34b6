"""Learned alignment against weight matching: pairs, stars, and the tables of docs/alignment-measured.md.

    python examples/learned.py [NETWORK...] [--pairs 6] [--stars 5 16] [--epochs N] [--trained HOW...] [--judged HOW...]
                               [--held-out 3] [--fashion DIR] [--texts FILE] [--out runs/alignment] [--page PAGE]

Networks, models and pairs are those of alignment.py, beside this file. `--stars`: numbers of sources of stars; each
star is trained with its sources aligned as each HOW of `--trained` says, and its lines to sources and held-out models
are measured with these aligned to it as each HOW of `--judged` says. What was trained and measured is kept in OUT and
not done again. Then come the tables of all that OUT has, of any network, printed, or written to their places in
PAGE; without a network nothing is measured. The tables of the documentation, again from what was kept:

    python examples/learned.py --out tests/benchmarks/learned --page docs/alignment-measured.md
"""

import argparse
import itertools
import json
import re
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from alignment import BASELINE, METHODS, NETWORKS, Result, Study, against, spread
from scipy.stats import wilcoxon

import starcli as sc

COMPARED = ["none", BASELINE, "weight, all kinds", "learn"]
"""The methods of the table of pairs."""
THEN_WEIGHT = "learn, then weight"
"""A star by `learn` as the command trains it: in each later epoch the sources are aligned by weight."""
ONCE: dict[str, dict[str, Any]] = {
    "learn, once": {},
    "learn, once, midpoint": {"sampling": "midpoint"},
    "learn, once, midpoint, noise": {"sampling": "midpoint", "noise": 0.3},
}
"""Stars whose sources stay as they were learned, and what else their training is told."""
TRAINED = [*(method for method in METHODS if method != "learn"), *ONCE, THEN_WEIGHT]
AS_TRAINED = "as trained"
"""In the place of a method of judging: sources as the training of their star left them."""
HELD_OUT = range(105, 108)
"""Seeds of the models that no star ever sees."""
SOURCES = [*range(100, 105), *range(108, 113), *range(6)]
"""Seeds of sources, in order. On those of 0 to 5 the settings of `learn` were chosen; only large stars have them."""
STARS: dict[str, dict[str, Any]] = {
    "vit": {"epochs": 60, "lr": 0.001},
    "resnet-w8": {"epochs": 100},
    "gpt": {"epochs": 8, "lr": 0.001},
}
"""Settings of the training of stars beside those of their sources; of others the epochs are 25."""


class Star(NamedTuple):
    """A trained star: its own losses in nats, its test accuracy, CPU seconds of aligning sources and training it."""

    network: str
    sources: int
    epochs: int
    trained: str
    train: float
    test: float
    accuracy: float
    seconds: float


class Line(NamedTuple):
    """A line to a model: barriers in nats, its highest train loss, CPU seconds of aligning the model.

    It begins at the star of so many sources, trained as it says; where there are 0, at the first source.
    """

    network: str
    sources: int
    epochs: int
    trained: str
    judged: str
    group: str
    seed: int
    train: float
    test: float
    highest: float
    seconds: float


def kept(out: Path, kind: type, network: str | None = None) -> list[Any]:
    """All rows of a kind (`Result`, `Star`, `Line`) in a folder, of a network or of all."""
    file = out / f"{kind.__name__.lower()}s.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    found = [kind(**json.loads(line)) for line in lines]
    return [each for each in found if network in (None, each.network)]


@dataclass(frozen=True)
class Stars:
    """The stars of a network: what is there is not made again. epochs: of their training, if not those of `STARS`."""

    study: Study
    network: str
    epochs: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the training of stars."""
        usual = STARS.get(self.network, {"epochs": 25})
        return usual if self.epochs is None else usual | {"epochs": self.epochs}

    @property
    def where(self) -> dict[str, Any]:
        """What everything is trained and measured on."""
        return {"data": self.study.data(self.network), "limit": NETWORKS[self.network].settings.get("limit")}

    def keep(self, row: Star | Line) -> None:
        """Add a row to the file of its kind."""
        with (self.study.out / f"{type(row).__name__.lower()}s.jsonl").open("a") as file:
            file.write(json.dumps(row._asdict()) + "\n")

    def measure(self, what: tuple[int, int, str, str, str, int], start: sc.Checkpoint, model: Any, how: str) -> Any:
        """Align a model to the start of a line, keep what is left between them, and return the aligned model.

        what: the fields of its `Line` from `sources` to `seed`.
        """
        began, alignment = time.process_time(), METHODS[how][0]
        other = model if alignment is None else sc.align(start, model, method=alignment, **self.where)
        seconds = time.process_time() - began
        curves = sc.barrier(start, other, points=NETWORKS[self.network].points, alignment=None, **self.where).curves
        barriers = (curves[split].loss_barrier for split in ("train", "test"))
        self.keep(Line(self.network, *what, *barriers, max(curves["train"].loss), seconds))
        return other

    def learned(self, seed: int) -> sc.Checkpoint:
        """A source, aligned to the first one by `learn`."""
        file = self.study.out / self.network / f"learned-{seed}.safetensors"
        if not file.exists():
            first, model = (self.study.model(self.network, each) for each in (SOURCES[0], seed))
            sc.save(self.measure((0, 0, "none", "learn", "source", seed), first, model, "learn"), file)
        return sc.load(file)

    def star(self, count: int, trained: str) -> sc.Checkpoint:
        """A star of so many sources.

        By those of `ONCE` these are aligned to the first one, and the star begins at their mean. By others they are
        aligned to the star in each epoch, as `find_star` does it: after `learn` by weight over all kinds.
        """
        epochs = self.settings["epochs"]
        file = self.study.out / self.network / f"star-{count}-{epochs}-{re.sub('[ ,]+', '-', trained)}.safetensors"
        if not file.exists():
            sources = [self.study.model(self.network, seed) for seed in SOURCES[:count]]
            how, init, seconds = METHODS.get(trained, METHODS["learn"])[0], None, 0.0
            if trained in ONCE:
                sources, how = [sources[0], *map(self.learned, SOURCES[1:count])], None
                init = sc.interpolate(*sources, alignment=None, **self.where)
                lines = (each for each in kept(self.study.out, Line, self.network) if each.sources == 0)
                seconds = sum(each.seconds for each in lines if each.seed in SOURCES[:count])
            began = time.process_time()
            settings = self.settings | ONCE.get(trained, {})
            star = sc.find_star(sources, alignment=how, init=init, **settings, **self.where)
            seconds += time.process_time() - began
            for seed, source in zip(SOURCES, star.aligned_sources, strict=False):
                self.measure((count, epochs, trained, AS_TRAINED, "source", seed), star, source, "none")
            scores = star.to_dict()
            own = scores["train"]["loss"], scores["test"]["loss"], scores["test"]["accuracy"]
            self.keep(Star(self.network, count, epochs, trained, *own, seconds))
            sc.save(star, file)
        return sc.load(file)

    def judge(self, count: int, trained: str, judged: str, held_out: int, sources: int) -> None:
        """Measure the lines that are missing from a star, to held-out models and then to sources."""
        star = self.star(count, trained)
        done = {each[1:7] for each in kept(self.study.out, Line, self.network)}
        asked = [("held-out", seed) for seed in HELD_OUT[:held_out]]
        asked += [("source", seed) for seed in SOURCES[: min(count, sources)]]
        for what in ((count, self.settings["epochs"], trained, judged, *each) for each in asked):
            if what not in done:
                self.measure(what, star, self.study.model(self.network, what[-1]), judged)


def pairs_table(found: list[Result]) -> str:
    """The barriers between pairs by network, and whether `learn` leaves less than weight matching."""
    lines = [
        "| train barrier in nats (test) | pairs | none | `weight` | `weight`, all kinds | `learn` "
        "| `learn` less `weight` | p, train (test) | CPU seconds of `learn` |",
        "|---" * 9 + "|",
    ]
    for network in NETWORKS:
        by_pair: dict[int, dict[str, Result]] = {}
        for each in (each for each in found if each.network == network and each.method in COMPARED):
            by_pair.setdefault(each.first_seed, {})[each.method] = each
        whole = [pair for pair in by_pair.values() if len(pair) == len(COMPARED)]
        if not whole:
            continue
        train, test = ({m: [getattr(pair[m], s) for pair in whole] for m in COMPARED} for s in ("train", "test"))
        cells = [f"{spread(train[method])} ({statistics.fmean(test[method]):.3f})" for method in COMPARED]
        p = [wilcoxon(s["learn"], s[BASELINE], alternative="less", method="exact").pvalue for s in (train, test)]
        seconds = statistics.median(pair["learn"].seconds for pair in whole)
        cells += [against(train["learn"], train[BASELINE]), f"{p[0]:.3f} ({p[1]:.3f})", f"{seconds:.0f}"]
        lines.append(f"| `{network}` | {len(whole)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def stars_table(out: Path) -> str:
    """Stars by how their sources, and the models that they are judged by, are aligned."""
    header = ["star of", "trained by", "own train loss (test accuracy)", "CPU seconds", "star-source, as trained"]
    header += ["judged by", "regular-regular", "star-source", "star-held-out", "highest loss on these lines"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for star in sorted(kept(out, Star), key=lambda each: (list(NETWORKS).index(each.network), *each[1:3])):
        groups: dict[tuple[str, str], list[Line]] = {}
        for each in (each for each in kept(out, Line, star.network) if each[1:4] == star[1:4]):
            groups.setdefault((each.judged, each.group), []).append(each)
        about = [
            f"{star.sources} `{star.network}`, {star.epochs} epochs",
            star.trained,
            f"{star.train:.3f} ({star.accuracy:.1%})",
        ]
        about += [f"{star.seconds:.0f}", barriers(groups.pop((AS_TRAINED, "source")))]
        for judged in dict.fromkeys(judged for judged, _ in groups):
            regular = [each for each in kept(out, Result, star.network) if each.method == judged]
            near, far = (groups.get((judged, group), []) for group in ("source", "held-out"))
            highest = max(each.highest for each in [*near, *far])
            cells = [judged, *map(barriers, (regular, near, far)), f"{highest:.2f}"]
            lines.append(f"| {' | '.join(about + cells)} |")
            about = [""] * len(about)
    return "\n".join(lines)


def barriers(lines: Sequence[Line | Result]) -> str:
    """Mean train barrier, its standard deviation, in brackets the mean on the test split, and how many lines."""
    if not lines:
        return ""
    test = statistics.fmean(each.test for each in lines)
    return f"{spread([each.train for each in lines])} ({test:.3f}), {len(lines)}"


def written(page: str, name: str, table: str) -> str:
    """A page with the table between the marks of this name replaced."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, rest = page.split(begin)
    return f"{before}{begin}{table}\n{end}{rest.split(end)[1]}"


def asked() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", choices=[[], *NETWORKS], metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=100, help="of pairs")
    parser.add_argument("--stars", type=int, nargs="+", default=[], metavar="SOURCES")
    parser.add_argument("--epochs", type=int, help="of stars, if not the usual ones")
    parser.add_argument("--trained", nargs="+", choices=TRAINED, default=[THEN_WEIGHT], metavar="HOW")
    parser.add_argument("--judged", nargs="+", choices=METHODS, default=["learn"], metavar="HOW")
    parser.add_argument("--held-out", type=int, default=3)
    parser.add_argument("--judged-sources", type=int, default=5, metavar="N", help="at most N of a star's sources")
    parser.add_argument("--fashion", type=Path, metavar="DIR", help="the four idx files of Fashion-MNIST")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="descriptions of packages with their sections")
    parser.add_argument("--out", type=Path, default=Path("runs/alignment"))
    parser.add_argument("--page", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure what is not measured yet, then print or write the tables."""
    words = asked()
    warnings.simplefilter("ignore", sc.StarcliWarning)
    words.out.mkdir(parents=True, exist_ok=True)
    study = Study(words.out, words.fashion, words.texts)
    for network in words.networks:
        for seed in range(words.first_seed, words.first_seed + 2 * words.pairs, 2):
            study.results(network, seed, COMPARED)
        for count, trained, judged in itertools.product(words.stars, words.trained, words.judged):
            Stars(study, network, words.epochs).judge(count, trained, judged, words.held_out, words.judged_sources)
    tables = {"learned pairs": pairs_table(kept(words.out, Result)), "learned stars": stars_table(words.out)}
    if words.page is None:
        print("\n\n".join(tables.values()))
        return
    page = words.page.read_text()
    for name, table in tables.items():
        page = written(page, name, table)
    words.page.write_text(page)


if __name__ == "__main__":
    main()
