"""What is left of the barrier between two solutions, by how they are aligned: independent pairs of several networks.

    python examples/alignment.py [NETWORK...] [--pairs 6] [--first-seed 100] [--methods NAME...]
                                 [--fashion DIR] [--texts FILE] [--out runs/alignment]

Prints for each split the mean barrier in nats over the pairs, its standard deviation and the CPU seconds of aligning a
pair, and how far each method lies from weight matching with 10 restarts on the same pairs. What was trained and
measured is kept in OUT and not done again; of all of it that is two to three hours on one core, of 1 pair of `mlp`
a few seconds. `--fashion DIR`: where the four idx files of Fashion-MNIST are, for the network `fashion`.
`--texts FILE`: descriptions of packages, for `gpt`, `bert`, `lstm-texts`, `experts-texts` and `heads-list`, which this
makes: python examples/package_descriptions.py --sections 12 --count 4000 -o packages.csv
"""

import argparse
import json
import math
import statistics
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import t as student

import starcli as sc
from starcli.data.dataset import open_data


@dataclass(frozen=True)
class Network:
    """Architecture, its arguments, settings of training beside the default recipe, and what it is trained on.

    arch: a name, or `module:FUNCTION` of the files beside this one, which is named again wherever models are read.
    data: `digits`, `fashion` or `texts`; with a number behind it images are resized to so many pixels a side.
    """

    arch: str
    arch_args: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    data: str = "digits"
    points: int = 11  # of a line

    @property
    def source(self) -> str:
        """The data without the size of its images."""
        return self.data.rstrip("0123456789")

    @property
    def code(self) -> dict[str, Any]:
        """Architecture and arguments, where files do not do without."""
        return {"arch": self.arch, "arch_args": self.arch_args} if ":" in self.arch else {}


OF_TEXTS = {
    "epochs": 8, "batch_size": 64, "optimizer": "adam", "lr": 0.003, "clip": 1.0, "task": "next-token", "length": 64,
}  # fmt: skip
"""Settings of language models."""

NETWORKS = {
    "resnet-w8": Network("resnet", {"width": 8}),
    "resnet-w16": Network("resnet", {"width": 16}),
    "densenet": Network("densenet40-12", {"depth": 13}),
    "vgg": Network("vgg11-bn", {"width": 8}, {"epochs": 15}, data="digits32"),
    "mlp": Network("mlp", {"hidden_dim": 64, "depth": 3}),
    "mlp-nonorm": Network("mlp", {"hidden_dim": 64, "depth": 3, "batch_norm": "none"}),
    "resnet-w8-adam": Network("resnet", {"width": 8}, {"optimizer": "adam", "lr": 0.003}),
    "vit": Network(
        "vit",
        {"patch_size": 2, "dim": 32, "depth": 3, "heads": 4, "mlp_dim": 64},
        {"optimizer": "adam", "lr": 0.003, "epochs": 50},
    ),
    "gru": Network("recurrent:rows", {"kind": "gru"}, {"optimizer": "adam", "lr": 0.003, "epochs": 50}),
    "lstm": Network("recurrent:rows", {"kind": "lstm"}, {"optimizer": "adam", "lr": 0.003, "epochs": 50}),
    "lstm-texts": Network("recurrent:texts", {"kind": "lstm"}, OF_TEXTS, data="texts"),
    "experts": Network("experts:images", {}, {"optimizer": "adam", "lr": 0.003, "epochs": 50}),
    "experts-texts": Network("experts:texts", {}, OF_TEXTS, data="texts"),
    "experts-list": Network("module_lists:images", {}, {"optimizer": "adam", "lr": 0.003, "epochs": 50}),
    "heads-list": Network("module_lists:texts", {}, OF_TEXTS, data="texts"),
    "gpt": Network("gpt", {}, OF_TEXTS, data="texts"),
    "bert": Network(
        "bert",
        {},
        {"epochs": 8, "batch_size": 64, "optimizer": "adam", "lr": 0.002, "clip": 1.0, "length": 64},
        data="texts",
    ),
    "fashion": Network("resnet", {"width": 8}, {"limit": 20_000, "epochs": 10}, data="fashion", points=5),
    "fashion-5k": Network("resnet", {"width": 8}, {"limit": 5_000, "epochs": 10}, data="fashion", points=5),
    "fashion-vgg": Network("vgg11-bn", {"width": 8}, {"limit": 5_000, "epochs": 10}, data="fashion32", points=5),
    "fashion-densenet": Network(
        "densenet40-12", {"depth": 13}, {"limit": 5_000, "epochs": 10}, data="fashion14", points=5
    ),
    "fashion-mlp": Network(
        "mlp", {"hidden_dim": 64, "depth": 3}, {"limit": 20_000, "epochs": 10}, data="fashion", points=5
    ),
    "fashion-vit": Network(
        "vit",
        {"patch_size": 7, "dim": 32, "depth": 4, "heads": 4, "mlp_dim": 64},
        {"optimizer": "adam", "lr": 0.003, "limit": 20_000, "epochs": 10},
        data="fashion",
        points=5,
    ),
}

BASELINE = "weight, 10 restarts"
WEIGHT, ACTIVATION = sc.Alignment("weight", restarts=10), sc.Alignment("activation")
BEST = sc.Alignment("activation", select="midpoint")
METHODS: dict[str, tuple[sc.Alignment | None, dict[str, Any]]] = {
    "none": (None, {}),
    "weight, 1 restart": (sc.Alignment("weight"), {}),
    BASELINE: (WEIGHT, {}),
    "weight, all kinds": (sc.Alignment("weight", restarts=10, kinds="all"), {}),
    "weight, best of 10": (sc.Alignment("weight", select="midpoint"), {}),
    "activation": (ACTIVATION, {}),
    "activation, 10 restarts": (sc.Alignment("activation", restarts=10), {}),
    "activation, best of 10": (BEST, {}),
    "activation alone": (sc.Alignment("activation", share=1.0), {}),
    "activation, correlation": (sc.Alignment("activation", gains="correlation"), {}),
    "straight-through": (sc.Alignment("straight-through"), {}),
    "straight-through, best of 10": (sc.Alignment("straight-through", select="midpoint"), {}),
    "learn": (sc.Alignment("learn"), {}),
    "sinkhorn": (sc.Alignment("sinkhorn"), {}),
    "activation of noise": (sc.Alignment("activation", examples="noise"), {}),
    "weight, 10 restarts, repair, logits": (WEIGHT, {"renormalise": "repair", "renormalise_logits": True}),
    "activation, repair": (ACTIVATION, {"renormalise": "repair"}),
    "activation, repair, logits": (ACTIVATION, {"renormalise": "repair", "renormalise_logits": True}),
    "activation, best of 10, repair, logits": (BEST, {"renormalise": "repair", "renormalise_logits": True}),
}
"""Rows of the tables: how models are aligned, and how the points between them are renormalised."""


class Result(NamedTuple):
    """What a method leaves on a pair: barriers in nats by split, and CPU seconds of aligning."""

    network: str
    method: str
    first_seed: int
    train: float
    test: float
    seconds: float


@dataclass(frozen=True)
class Study:
    """Models and results in a folder: what is there is not made again."""

    out: Path
    fashion: Path | None
    texts: Path | None = None

    def data(self, network: str) -> str:
        """The name of a network's data, of a file in the folder where its images are resized."""
        how = NETWORKS[network]
        limit = how.settings.get("limit")
        named = {"fashion": f"idx:{self.fashion}", "texts": f"text:{self.texts}"}.get(how.source, how.source)
        if how.source == how.data:
            return named
        file = self.out / (f"{how.data}.npz" if limit is None else f"{how.data}-{limit}.npz")
        if not file.exists():
            np.savez(file, **resized(named, int(how.data.removeprefix(how.source)), limit))
        return str(file)

    def model(self, network: str, seed: int) -> sc.Checkpoint:
        """A trained model."""
        file, how = self.out / network / f"{seed}.safetensors", NETWORKS[network]
        if not file.exists():
            sc.save(sc.train(how.arch, self.data(network), seed=seed, arch_args=how.arch_args, **how.settings), file)
        return sc.load(file)

    def results(self, network: str, first_seed: int, methods: list[str]) -> list[Result]:
        """What each of `methods` leaves on the pair of models of this seed and the next."""
        log = self.out / "results.jsonl"
        kept = [Result(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
        found = {each.method: each for each in kept if (each.network, each.first_seed) == (network, first_seed)}
        for method in (each for each in methods if each not in found):
            found[method] = self.measured(network, method, first_seed)
            with log.open("a") as file:
                file.write(json.dumps(found[method]._asdict()) + "\n")
        return [found[method] for method in methods]

    def measured(self, network: str, method: str, first_seed: int) -> Result:
        """Align and measure a pair."""
        a, b = (self.model(network, seed) for seed in (first_seed, first_seed + 1))
        (how, renormalise), used = METHODS[method], NETWORKS[network]
        where = {"data": self.data(network), "limit": used.settings.get("limit"), **used.code}
        began = time.process_time()
        other = b if how is None else sc.align(a, b, method=how, **where)
        seconds = time.process_time() - began
        curves = sc.barrier(a, other, points=used.points, alignment=None, **renormalise, **where).curves
        return Result(network, method, first_seed, *(curves[s].loss_barrier for s in ("train", "test")), seconds)


def resized(data: str, side: int, limit: int | None) -> dict[str, np.ndarray]:
    """Arrays of a data set of images (as many as `limit` of its training split), each of `side` squared pixels."""
    found, arrays = open_data(data, limit=limit), {}
    for name, split in (("train", found.train), ("test", found.test)):
        images, labels = (torch.cat(parts) for parts in zip(*split.batches(512), strict=True))
        images = torch.nn.functional.interpolate(images, size=(side, side), mode="bilinear")
        arrays |= {f"x_{name}": images.numpy(), f"y_{name}": labels.numpy()}
    return arrays


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.fmean(values):.3f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def against(values: list[float], baseline: list[float]) -> str:
    """The difference of paired values from those of a baseline: its mean, a 95% t interval, and how many are lower."""
    differences = [value - other for value, other in zip(values, baseline, strict=True)]
    words = f"{statistics.fmean(differences):+.3f}"
    if (n := len(values)) > 1:
        margin = student.ppf(0.975, n - 1) * statistics.stdev(differences) / math.sqrt(n)
        words += f" ({statistics.fmean(differences) - margin:+.2f} to {statistics.fmean(differences) + margin:+.2f})"
    return f"{words}, {sum(difference < 0 for difference in differences)} of {n}"


def print_tables(found: list[Result], networks: list[str], methods: list[str]) -> None:
    """Barriers by method and network, and their differences from weight matching, for both splits."""
    rows = {(each.network, each.method): [] for each in found}
    for each in found:
        rows[each.network, each.method].append(each)
    for split in ("train", "test"):
        values = {key: [getattr(each, split) for each in own] for key, own in rows.items()}
        print(f"\n| {split} barrier in nats | " + " | ".join(networks) + " |\n" + "|---" * (1 + len(networks)) + "|")
        for method in methods:
            cells = []
            for network in networks:
                seconds = statistics.median(each.seconds for each in rows[network, method])
                cells.append(f"{spread(values[network, method])} ({seconds:.1f} s)")
            print(f"| {method} | " + " | ".join(cells) + " |")
        print(f"\n| {split}, less that of {BASELINE} | " + " | ".join(networks) + " |")
        print("|---" * (1 + len(networks)) + "|")
        for method in methods:
            if method != BASELINE and BASELINE in methods:
                cells = [against(values[network, method], values[network, BASELINE]) for network in networks]
                print(f"| {method} | " + " | ".join(cells) + " |")


def asked() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME")
    parser.add_argument("--fashion", type=Path, metavar="DIR", help="the four idx files of Fashion-MNIST")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="descriptions of packages with their sections")
    parser.add_argument("--out", type=Path, default=Path("runs/alignment"))
    words = parser.parse_args()
    given = {"fashion": words.fashion, "texts": words.texts}
    words.networks = words.networks or [name for name, how in NETWORKS.items() if given.get(how.source, True)]
    if unknown := set(words.networks) - NETWORKS.keys():
        parser.error(f"unknown network: {', '.join(sorted(unknown))}; there are {', '.join(NETWORKS)}")
    if missing := {data for data in (NETWORKS[name].source for name in words.networks) if not given.get(data, True)}:
        parser.error(f"these networks need --{' and --'.join(sorted(missing))}")
    return words


def main() -> None:
    """Measure what is not measured yet, and print the tables."""
    words = asked()
    warnings.simplefilter("ignore", sc.StarcliWarning)
    words.out.mkdir(parents=True, exist_ok=True)
    study = Study(words.out, words.fashion, words.texts)
    first_seeds = range(words.first_seed, words.first_seed + 2 * words.pairs, 2)
    pairs = [(network, seed) for network in words.networks for seed in first_seeds]
    found = [each for network, seed in pairs for each in study.results(network, seed, words.methods)]
    print_tables(found, words.networks, words.methods)


if __name__ == "__main__":
    main()
