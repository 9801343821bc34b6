"""Run experiments of the paper, and write the page of what all recorded ones gave.

    examples/paper/run.sh [NAME...] [--scale quick|here|full] [--out runs/paper] [--dry-run] [--record DIR]
    examples/paper/run.sh --page [--record examples/paper]

Without a name all experiments of the scale are run, in the order of the page. What a line gave is kept in OUT, so that
a stopped run goes on; findings are printed. DIR (OUT unless said) gets `results/NAME.json` for each experiment, and
from all that are there `RESULTS.md` and `figures/`; `--page` writes these alone. `--dry-run`: the networks of this
scale are built and trained for two steps on random images, a few of each, in OUT/dry-run: does all of it work, before
days are spent?

Data from elsewhere: $FASHION_MNIST names the directory of Fashion-MNIST's four files, $STARCLI_DATA_DIR that of
torchvision's files, $IMAGENET a folder of ImageNet.
"""

import argparse
import importlib
from dataclasses import replace
from pathlib import Path

from paper.page import said_of, write_page
from paper.record import DRY_RUN, SCALES, Bench, Experiment, recorded
from paper.rehearsal import rehearsal_of

NAMES = (
    *("table1", "sources", "width", "fuse", "vit", "points", "sets", "adam", "aligner", "sampling", "perturb"),
    *("activations", "bma", "distances", "lemma", "gaussians", "curves"),
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
    parser.add_argument("--dry-run", action="store_true")
    asked = parser.parse_args()
    if wrong := set(asked.names) - set(NAMES):
        parser.error(f"no experiment {', '.join(sorted(wrong))}; there are {', '.join(NAMES)}")
    out = (asked.out / "dry-run" if asked.dry_run else asked.out).absolute()
    record, known = asked.record or out, experiments()
    (record / "results").mkdir(parents=True, exist_ok=True)
    for experiment in known:
        if experiment.name not in (asked.names or NAMES) or asked.scale not in experiment.scales or asked.page:
            continue
        scale = DRY_RUN if asked.dry_run else asked.scale
        if asked.dry_run:
            experiment = replace(experiment, scales={scale: rehearsal_of(experiment, asked.scale, out)})
        (record / "results" / f"{experiment.name}.json").write_text(recorded(experiment, scale, Bench(out)))
        write_page(known, record)
        print(*said_of(experiment, record), sep="\n")
    write_page(known, record)
    print(f"written: {record / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
