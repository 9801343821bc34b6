"""Run experiments of the paper, and write the page of what all recorded ones gave.

    examples/paper/run.sh [NAME...] [--scale quick|here|full] [--out runs/paper] [--dry-run] [--record DIR]
    examples/paper/run.sh --page [--record examples/paper]

Without a name all experiments of the scale are run, in the order of the page. What a line gave is kept in OUT, so that
a stopped run goes on. DIR (OUT unless said) gets `results/NAME.json` for each experiment, and from all that are there
`RESULTS.md` and `figures/`; `--page` writes these alone. `--dry-run`: networks and numbers as of this scale, but two
steps of training on random images in the place of the data, two sources and few points.

Data from elsewhere: $FASHION_MNIST names the directory of Fashion-MNIST's four files, $STARCLI_DATA_DIR that of
torchvision's files, $IMAGENET a folder of ImageNet.
"""

import argparse
import importlib
from pathlib import Path

from paper.page import write_page
from paper.record import SCALES, Bench, Experiment, recorded

NAMES = (
    *("table1", "sources", "width", "fuse", "vit", "points", "sets", "adam", "aligner", "sampling", "perturb"),
    *("activations", "lemma", "gaussians"),
)
"""The experiments, in the order of the page."""


def experiments() -> list[Experiment]:
    """All experiments."""
    return [importlib.import_module(f"paper.experiments.{name}").EXPERIMENT for name in NAMES]


def main() -> None:
    """Run what is asked for, then write the page."""
    parser = argparse.ArgumentParser(
        prog="run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--scale", choices=SCALES, default="quick")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    parser.add_argument("--record", type=Path, metavar="DIR")
    parser.add_argument("--page", action="store_true", help="run nothing")
    asked = parser.parse_args()
    if wrong := set(asked.names) - set(NAMES):
        parser.error(f"no experiment {', '.join(sorted(wrong))}; there are {', '.join(NAMES)}")
    record = asked.record or asked.out
    (record / "results").mkdir(parents=True, exist_ok=True)
    known = experiments()
    for experiment in known:
        if (experiment.name in asked.names or not asked.names) and asked.scale in experiment.scales and not asked.page:
            text = recorded(experiment, asked.scale, Bench(asked.out.absolute()))
            (record / "results" / f"{experiment.name}.json").write_text(text)
            write_page(known, record)
    write_page(known, record)


if __name__ == "__main__":
    main()
