"""What the three scripts beside this one share: a row of the table of derived specs, and its printing."""

import argparse
import gc
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from starcli.derive import Derived, derive, derive_and_prove
from starcli.errors import StarcliError

HEADER = (
    "| model | groups | log10 symmetries | movable | worst difference | seconds to trace, to trace and prove "
    "| undecided, rejected, not understood |"
)


@dataclass(frozen=True)
class Subject:
    """A network to derive: its name, how it is made, and what it is called with."""

    name: str
    make: Callable[[], nn.Module]
    inputs: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def main(subjects: Sequence[Subject], description: str) -> None:
    """Parse the command line and print a Markdown table, one row as soon as it is known."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", help="only these models")
    parser.add_argument("--no-proof", action="store_true", help="only trace")
    parser.add_argument("--shard", default="0/1", help="k/n: every n-th model from the k-th on")
    arguments = parser.parse_args()
    k, n = map(int, arguments.shard.split("/"))
    chosen = [each for each in subjects if not arguments.names or each.name in arguments.names][k::n]
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    print(HEADER)
    print("|" + " --- |" * 7)
    outcomes = Counter(row(subject, proof=not arguments.no_proof) for subject in chosen)
    print("\n" + ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))


def row(subject: Subject, *, proof: bool) -> str:
    """Print one row; returns "proved", "traced", "in part", "failed"."""
    torch.manual_seed(0)
    try:
        network = subject.make()
        begun = time.perf_counter()
        derived = derive(network, subject.inputs, subject.kwargs)
        traced = time.perf_counter() - begun
        if proof:
            derived = derive_and_prove(network, subject.inputs, subject.kwargs)
        whole = time.perf_counter() - begun - traced
    except StarcliError as error:
        words = " ".join(str(error).split())
        print(f"| {subject.name} | | | | | | {words[:300]} |", flush=True)
        return "failed"
    finally:
        gc.collect()
    resolved = derived.resolved
    worst = f"{derived.proof.worst_difference:.0e}" if derived.proof else ""
    print(
        f"| {subject.name} | {len(resolved.groups)} | {resolved.log10_symmetries():.3f} | {resolved.movable():.4f} "
        f"| {worst} | {traced:.1f}, {whole:.1f} | {'; '.join(_remarks(derived))} |",
        flush=True,
    )
    if derived.proof is None:
        return "traced"
    return "proved" if derived.proof.proved and not derived.rejected and not derived.notes else "in part"


def _remarks(derived: Derived) -> Iterable[str]:
    for group in derived.undecided:
        yield f"undecided {group}: {derived.proof.reasons.get(group, '') if derived.proof else ''}"[:200]
    for group, reason in derived.rejected.items():
        yield f"rejected {group}: {reason}"[:200]
    for note in derived.notes:
        yield note.replace("|", "/")
