"""Networks, their stars, and the rows that tell how far stars are from what they never saw.

Rows, by `kind`:

    barrier   network, align, group, a, b, train, test: the two barriers; star: which one (of regular-regular: none)
    loss      network, star, and the train and test loss of the star and, mean and deviation, of its sources
    curve     network, align, group, star, split, t, loss, loss_std, accuracy, accuracy_std: means along the lines
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paper.page import number, spread
from paper.record import Bench, Finding, Row, Table

HELD_OUT = 1000
"""Seed of the first held-out model; sources have those from 0: neither changes with the other's number."""
REGULAR, STAR = "regular-regular", "star-held-out"
GROUPS = (REGULAR, "star-source", STAR)


@dataclass(frozen=True)
class Network:
    """A network, its data and their training, in words of `starcli`.

    train: what `train` says of the network and its training. data: what every command has to say, of data that live at
    a path. star: what `star` and `fuse` say beside the settings of their sources. barrier: what `barrier` says besides.
    """

    name: str
    train: str
    star: str = ""
    data: str = ""
    barrier: str = ""


TINY = Network("tiny", "--arch mlp --arch-arg depth=2 hidden_dim=8 --data digits --limit 100 --epochs 1 --lr 0.1")
"""For quick runs."""
RESNET = Network("resnet-w8", "--recipe quickstart", "--epochs 100")
"""On the digits; on so little data a star takes longer than its sources."""
RESNET18 = Network("resnet18-cifar10", "--recipe paper/resnet18-cifar10", barrier="--statistics own-ends")
"""The paper's; its ends of a line keep their own BatchNorm statistics."""


@dataclass(frozen=True)
class Study:
    """A network's models at a bench: `sources` that stars may be made from, and `held_out` ones."""

    bench: Bench
    network: Network
    sources: int
    held_out: int

    def train(self) -> None:
        """Train all models."""
        for first, count in ((0, self.sources), (HELD_OUT, self.held_out)):
            of = self.network
            seeds = f"{first}-{first + count - 1}"
            self.bench.line(f"starcli train {of.train} {of.data} --seeds {seeds} -o '{of.name}/{{seed}}.safetensors'")

    def models(self, first: int, count: int) -> str:
        """Files of models, as bash reads them."""
        seeds = f"{{{first}..{first + count - 1}}}" if count > 1 else str(first)
        return f"{self.network.name}/{seeds}.safetensors"

    def make(self, command: str, name: str, words: str, *, sources: int | None = None, stars: int = 1) -> list[str]:
        """Stars by `star` or `fuse`, of seeds from 0, called NAME-SEED; returns their files."""
        of, some = self.network, self.models(0, sources or self.sources)
        files = [f"{of.name}/{name}-{seed}.safetensors" for seed in range(stars)]
        output = f"--seeds 0-{stars - 1} -o '{of.name}/{name}-{{seed}}.safetensors'"
        self.bench.line(f"starcli {command} --sources {some} {of.data} {of.star} {words} {output}")
        return files

    def judge(
        self, star: str, align: str, *, sources: int | None = None, words: str = "", curves: bool = False
    ) -> list[Row]:
        """Rows of the lines between regular models, and from a star to sources and to held-out models."""
        of = self.network
        near, far = self.models(0, sources or self.sources), self.models(HELD_OUT, self.held_out)
        found = self.bench.line(
            f"starcli barrier --star {star} --sources {near} --held-out {far} {of.data} {align} {of.barrier} {words}"
        )
        about = {"network": of.name, "align": alignment(align), "star": seed_of(star)}
        return [row for row in rows_of(found, about) if curves or row["kind"] != "curve"]


def alignment(words: str) -> str:
    """What `--align weight --restarts 10` says, in short."""
    return words.replace("--align ", "").replace(" --restarts ", ", restarts ")


def seed_of(file: str) -> str:
    """The name of a model's file, without folder and suffix: of a source or a held-out model its seed."""
    return file.rpartition("/")[2].removesuffix(".safetensors")


def rows_of(found: Sequence[Row], about: Mapping[str, Any]) -> Iterable[Row]:
    """What is recorded of the rows of `barrier --star`."""
    lines = [each for each in found if each["type"] == "barrier" and each["group"] in GROUPS]
    for each in lines:
        ends = {"a": seed_of(each["a"]), "b": seed_of(each["b"])}
        barriers = {split: each[split]["loss_barrier"] for split in ("train", "test")}
        yield {"kind": "barrier", **mine(about, each["group"]), "group": each["group"], **ends, **barriers}
    for group in GROUPS:
        some = [each for each in lines if each["group"] == group]
        for split in ("train", "test"):
            means = {}
            for what in ("loss", "accuracy"):
                places = list(zip(*(each[split][what] for each in some), strict=True))
                means[what] = [statistics.fmean(each) for each in places]
                means[f"{what}_std"] = [statistics.pstdev(each) for each in places]
            yield {"kind": "curve", **mine(about, group), "group": group, "split": split, "t": some[0]["t"], **means}
    [report] = [each for each in found if each["type"] == "star"]
    regular = {f"regular_{split}": report["regular_loss"][split]["mean"] for split in ("train", "test")}
    spreads = {f"regular_{split}_std": report["regular_loss"][split]["std"] for split in ("train", "test")}
    yield {"kind": "loss", **about, **report["star_loss"], **regular, **spreads}


def mine(about: Mapping[str, Any], group: str) -> Row:
    """What a row is about; lines between regular models are of no star."""
    return {key: value for key, value in about.items() if key != "star" or group != REGULAR}


def distinct(rows: Iterable[Row]) -> list[Row]:
    """Rows without those that are there already, such as the same regular-regular ones of each star."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        found.setdefault(tuple((k, v) for k, v in row.items() if isinstance(v, str)), row)
    return list(found.values())


def chosen(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Rows with these values; of a tuple, one of these."""
    return [
        row
        for row in rows
        if all(row.get(k) in v if isinstance(v, tuple) else row.get(k) == v for k, v in wanted.items())
    ]


def gains(rows: Sequence[Row], split: str = "train") -> dict[tuple[Any, ...], float]:
    """Regular-regular less star-held-out barrier, by source, star and held-out model."""
    return {
        (regular["a"], star["star"], star["b"]): regular[split] - star[split]
        for regular in chosen(rows, kind="barrier", group=REGULAR)
        for star in chosen(rows, kind="barrier", group=STAR, b=regular["b"])
    }


def better(rows: Sequence[Row], first: Iterable[str], second: Iterable[str]) -> dict[tuple[Any, ...], float]:
    """Train barrier of stars `first` less that of stars `second`, by place in these lists and held-out model."""
    barriers = {(row["star"], row["b"]): row["train"] for row in chosen(rows, kind="barrier", group=STAR)}
    held_out = dict.fromkeys(model for _, model in barriers)
    return {
        (place, model): barriers[one, model] - barriers[other, model]
        for place, (one, other) in enumerate(zip(first, second, strict=True))
        for model in held_out
    }


def connected(rows: Sequence[Row], where: str, split: str = "train") -> Finding:
    """Whether stars are nearer to held-out models than regular models are, as everywhere in the paper."""
    return Finding.above("star-regular below regular-regular", f"{where}, {split}", gains(rows, split))


COLUMNS = ("", "regular loss", "star loss", REGULAR, STAR, "paper: " + REGULAR, "star-regular")


def cells_of(name: str, rows: Sequence[Row], paper: tuple[str, str] = ("", ""), split: str = "train") -> list[str]:
    """A row of `COLUMNS`, of all stars in `rows`."""
    losses = chosen(rows, kind="loss")
    mean, std = losses[0][f"regular_{split}"], losses[0][f"regular_{split}_std"]
    star = spread([row[split] for row in losses])
    groups = (spread([row[split] for row in chosen(rows, kind="barrier", group=group)]) for group in (REGULAR, STAR))
    return [name, f"{number(mean)} ± {number(std)}", star, *groups, *paper]


def star_table(lines: Sequence[Sequence[str]]) -> Table:
    """A table of `COLUMNS`."""
    return Table(COLUMNS, lines)
