"""What needs a card to be seen, in one visit of less than 8 minutes:

    python -m tests.gpu [SECTION ...] [--device cuda] [--quick] [--out FILE] [--render]

Sections run in the order of their worth, each in a process of its own and for 90 s at most (`--limit`; some longer).
One that fails or takes longer is recorded as such, with what it said or where it was, and the next one runs; so it is
with the parts of a section. A row is a line of JSON with the card's name, written as soon as it is known: a visit that
is killed leaves all that it knew. `--render` puts the rows of tests/gpu/results.jsonl, where a visit's file is kept,
into docs/speed.md. `--device cpu --quick` runs all of it on something tiny, to see that it does.

On a bare machine (Python 3.11 or newer, torch 2.6 or newer and the torchvision that goes with it) nothing has to be
installed, and there need not be a network. Beforehand, where there is one,

    python -m tests.gpu.pack

puts what is missing there (pydantic and what that needs, 7 MiB, for Python 3.12 unless told) into the folder build/gpu,
which git ignores and which has to travel as well, and prints the line to type there, from the root of the repository.
It calls this folder by its own name: some packages bring a `tests` of their own, which would be found in the place of
ours.
What mostly lies beside torch has to be there: safetensors, pyyaml, numpy, scipy. The command line's
libraries (typer, rich), matplotlib and test libraries are not needed.

Tried without a card on Python 3.12, torch 2.11 of CUDA 13, torchvision 0.26, numpy 2.5, with nothing else installed.
"""

import argparse
import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from . import table

SECTIONS = {
    "card": "card:run",
    "works": "works:run",
    "step": "steps:run",
    "captured": "captured:run",
    "layouts": "steps:run_layouts",
    "epoch": "epochs:run",
    "barrier": "barriers:run",
    "alignment": "alignment:run",
    "many": "many:run",
    "compiled": "steps:run_compiled",
    "graphs": "steps:run_graphs",
}
LIMIT, WHOLE = 90.0, 470.0
"""Seconds of a section, and of the visit."""
TIMES = {"works": 1.5, "epoch": 1.3, "alignment": 1.3, "compiled": 2, "graphs": 2}
"""Sections that may take as many limits: where the host computes as well, and the last ones, which compile."""
LINES = 60
"""Last lines of what a section says to stderr, which its row keeps where it fails."""
TOLD, DYING = 3.0, 10.0
"""Seconds before its limit at which a section says where it is, and for which one that is killed is waited for."""


def inside(name: str, device: str, out: Path, *, quick: bool) -> None:
    """Run one section in this process."""
    from starcli.runtime.device import choose_device

    from .lab import Lab

    module, _, function = SECTIONS[name].partition(":")
    work = getattr(importlib.import_module(f".{module}", __package__), function)
    work(Lab(name, choose_device(device), quick, out))


def run(name: str, limit: float, options: argparse.Namespace) -> bool:
    """Run one section in a process of its own; whether it came to its end. A row says where it did not, and why."""
    command = [sys.executable, "-m", str(__package__), "--inside", name, "--limit", str(limit)]
    command += ["--device", options.device, "--out", str(options.out), *["--quick"] * options.quick]
    began, failed = time.monotonic(), ""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stderr=said, process_group=0)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status, failed = 0, f"not done after {limit:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also what it has begun: compilers, readers of data
            with suppress(subprocess.TimeoutExpired):  # a call of the driver that hangs holds even that up
                process.wait(DYING)
        said.seek(0)
        lines = said.read().splitlines()[-LINES:]
    print(*lines, sep="\n", file=sys.stderr, flush=True)
    if status:
        failed = f"failed: {lines[-1] if lines else f'status {status}'}"
    print(f"{name}: {failed or 'done'}, {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        keep_failure(name, failed, lines, options)
    return not failed


def keep_failure(name: str, failed: str, said: Sequence[str], options: argparse.Namespace) -> None:
    """Keep a row of a section that did not come to its end, or was not begun."""
    rows = table.read(options.out)
    machine = {key: rows[-1][key] if rows else "unknown" for key in ("card", "torch", "python")}
    line = {"section": name, "what": table.TITLES[name], "failed": failed, "said": said}
    with options.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**line, "quick": options.quick, **machine}) + "\n")


def main() -> int:
    """Run what is asked for; exit status 1 where a section failed or a check did not hold."""
    parser = argparse.ArgumentParser(
        "python -m tests.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of a section")
    parser.add_argument("--render", action="store_true", help="only write docs/speed.md again")
    parser.add_argument("--inside", choices=SECTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        faulthandler.dump_traceback_later(max(options.limit - TOLD, options.limit / 2))  # where time runs out
        inside(options.inside, options.device, options.out, quick=options.quick)
        return 0
    if options.render:
        table.write(table.read(table.KEPT))
        return 0
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    began, fine = time.monotonic(), True
    options.out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache  # specs are proved once, in this visit
        for name in options.sections or SECTIONS:
            left = WHOLE - (time.monotonic() - began)
            if left > 0:
                fine &= run(name, min(TIMES.get(name, 1) * options.limit, left), options)
            else:
                keep_failure(name, "not begun: the visit's time was over", [], options)
    return int(not fine or any("failed" in row or not row.get("held", True) for row in table.read(options.out)))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what runs in a process apart ends, too
    sys.exit(main())
