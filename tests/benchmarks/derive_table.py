"""What the three scripts beside this one share: rows of the tables of derived specs and kinds, kept as they come."""

import argparse
import json
import logging
import multiprocessing
import resource
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from kinds_table import kinds_markdown
from torch import nn

from starcli.errors import StarcliError, first_of
from starcli.symmetry.derive.derive import Derived, derive, derive_and_prove
from starcli.symmetry.find_kinds import DERIVATION
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds

HEADER = (
    "| model | input | parameters | groups | log10 symmetries | movable | worst difference "
    "| seconds to trace, to prove (clock) | outcome "
    "| frozen axes, most frequent reasons; not proved, not understood |"
)
REASONS = 3
"""Reasons of frozen axes, and remarks, that a row of the table names."""


@dataclass(frozen=True)
class Subject:
    """A network to derive: its name, how it is made (by what can be sent to another process), and its inputs."""

    name: str
    make: Callable[[], nn.Module]
    inputs: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def main(
    subjects: Callable[[], Sequence[Subject]], description: str, title: str, what: str, example: str, notes: str = ""
) -> None:
    """Parse the command line; derive what has no row yet, or print the rows as Markdown, with `notes` behind.

    what: the networks in words; example: what `--arch` names one of them by.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", help="only these models")
    parser.add_argument("--no-proof", action="store_true", help="only trace")
    parser.add_argument("--kinds", type=int, default=0, help="also derive kinds, in so many seconds of the processor")
    parser.add_argument("--shard", default="0/1", help="k/n: every n-th model from the k-th on")
    parser.add_argument("--rows", type=Path, required=True, help="JSON lines: rows to keep, and models not to repeat")
    parser.add_argument(
        "--markdown",
        nargs="?",
        const="specs",
        choices=("specs", "kinds"),
        help="print a table of the rows; derive none",
    )
    arguments = parser.parse_args()
    known = _read(arguments.rows)
    if arguments.markdown == "kinds":
        print(kinds_markdown(list(known.values()), [each.name for each in subjects()]))
        return
    if arguments.markdown:
        print(markdown(title, what, example, list(known.values())) + (f"\n\n{notes.strip()}" if notes else ""))
        return
    k, n = map(int, arguments.shard.split("/"))
    for each in [s for s in subjects() if not arguments.names or s.name in arguments.names][k::n]:
        if each.name in known:
            continue
        found = row(each, proof=not arguments.no_proof, kinds=arguments.kinds)
        with arguments.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {each["model"]: each for each in rows}


def row(each: Subject, *, proof: bool, kinds: int) -> dict[str, Any]:
    """What became of one model, in a process of its own: the last that `_stages` says of it before it ends."""
    spawn = multiprocessing.get_context("spawn")  # a fork of torch's threads aborts now and then
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_send_stages, args=(sender, each, proof, kinds), daemon=True)
    process.start()
    sender.close()
    found: dict[str, Any] = {}
    try:
        while True:
            found = receiver.recv()
    except EOFError:
        process.join()
    if process.exitcode:
        late = process.exitcode == -signal.SIGXCPU
        why = f"not within {kinds} s of the processor" if late else f"the process ended with {process.exitcode}"
        found |= {"kinds": {"failed": why}} if "groups" in found else {"remarks": [why]}
    return found


def _send_stages(sender: Connection, each: Subject, proof: bool, kinds: int) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    for found in _stages(each, proof, kinds):
        sender.send(found)


def _stages(each: Subject, proof: bool, kinds: int) -> Iterator[dict[str, Any]]:
    """The row of a model as far as it is known: `outcome` is "proved", "traced", "in part" or "failed". Seconds are of
    the processor, which a busy machine changes less than those of the clock; `kinds` limits those for kinds."""
    torch.manual_seed(0)
    shape = ", ".join("x".join(map(str, x.shape)) for x in each.inputs if isinstance(x, torch.Tensor))
    found: dict[str, Any] = {"model": each.name, "input": shape, "clock": "processor", "outcome": "failed"}
    yield found
    try:
        network = each.make()
        found["parameters"] = sum(p.numel() for p in network.parameters())
        begun = time.process_time()
        derived = derive(network, each.inputs, each.kwargs)
        found["trace"] = time.process_time() - begun
        if proof:
            begun = time.process_time()
            derived = derive_and_prove(network, each.inputs, each.kwargs)
            found["prove"] = time.process_time() - begun - found["trace"]
        found |= _numbers(derived)
    except Exception as error:  # a library's constructor, or memory: the other rows are wanted all the same
        yield {**found, "remarks": [_words(error)]}
        return
    yield found
    if proof and kinds:
        begun = time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (int(begun) + 1 + kinds, resource.RLIM_INFINITY))
        try:
            said = _kind_numbers(derive_kinds(network, each.inputs, each.kwargs, spec=derived))
            yield {**found, "kinds": {**said, "seconds": time.process_time() - begun}}
        except Exception as error:
            yield {**found, "kinds": {"failed": _words(error)}}


def _words(error: Exception) -> str:
    kind = "" if isinstance(error, StarcliError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())[:300]


def _numbers(derived: Derived) -> dict[str, Any]:
    resolved, proof = derived.resolved, derived.proof
    remarks = [f"not proved {group}: {reason}"[:200] for group, reason in derived.rejected.items()]
    remarks += [note[:200] for note in derived.notes]
    return {
        "groups": len(resolved.groups),
        "log10_symmetries": resolved.log10_symmetries(),
        "movable": resolved.movable(),
        "worst_difference": proof.worst_difference if proof else None,
        "outcome": "traced" if proof is None else "in part" if remarks else "proved",
        "frozen": Counter(each.reason for each in derived.frozen),
        "remarks": remarks,
    }


def _kind_numbers(kinds: Kinds) -> dict[str, Any]:
    groups = kinds.groups.values()
    return {
        "groups": Counter(each.kind + " fixing ones" * each.fixes_ones for each in groups),
        "signs": sum(bool(each.signs) for each in groups),
        "dimension": kinds.continuous_dimension,
        "worst_difference": kinds.worst_difference,
        "notes": list(kinds.notes),
        "derivation": DERIVATION,
    }


INTRODUCTION = """\
Which units may change places in {what}:
[derived by tracing, and proved](specs.md#proof), a line for each network. All of it for one of them:
`starcli spec explain --arch {example}`. *log10 symmetries* counts permutations; *movable* is the share of
parameters with an axis that is permuted; *worst difference* is that of the outputs of the permuted network, in
float64, in units of their spread. The last column says which axes stay as they are, and why."""


def markdown(title: str, what: str, example: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The table, sorted by name, under an introduction and one line of totals."""
    totals = Counter(each["outcome"] for each in rows)
    lines = [f"# {title}", "", INTRODUCTION.format(what=what, example=example), ""]
    lines += [f"{len(rows)} models: " + ", ".join(f"{n} {what}" for what, n in sorted(totals.items()))]
    lines += ["", HEADER, "|" + " --- |" * HEADER.count(" | ") + " --- |"]
    return "\n".join(lines + [_line(each) for each in sorted(rows, key=lambda each: each["model"])])


def _line(each: Mapping[str, Any]) -> str:
    frozen = Counter(each.get("frozen", {}))
    words = [f"{frozen.total()} frozen" + "".join(f"; {n}: {why}" for why, n in frozen.most_common(REASONS))]
    remarks = "; ".join((words if frozen else []) + first_of(each["remarks"], REASONS)).replace("|", "/")
    cells = [each["model"], each["input"], f"{each['parameters']:,}" if "parameters" in each else ""]
    if "groups" in each:
        worst = each["worst_difference"]
        seconds = f"{each['trace']:.1f}" + (f", {each['prove']:.1f}" if "prove" in each else "")
        cells += [str(each["groups"]), f"{each['log10_symmetries']:.3f}", f"{each['movable']:.4f}"]
        cells += ["" if worst is None else f"{worst:.0e}", f"{seconds} ({each['clock']})"]
    else:
        cells += [""] * 5
    return "| " + " | ".join([*cells, each["outcome"], remarks]) + " |"
