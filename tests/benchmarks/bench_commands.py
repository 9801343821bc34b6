"""Whole commands: start-up, `barrier --all-pairs` against single calls, and the memory of a star of many sources.

    python tests/benchmarks/bench_commands.py [--quick] [--json FILE]

Seconds on the wall and resident memory of fresh processes, one thread; the caches of the system are warm.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rows import Row, compare, parser, save, seconds, show

PYTHON = [sys.executable, "-c"]
STARCLI = [sys.executable, "-m", "starcli"]


def run(command: Sequence[str]) -> int:
    """Run it, silent, and return its largest resident memory in bytes."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    _, status, usage = os.wait4(os.posix_spawn(command[0], command, environment, file_actions=actions), 0)
    os.close(null)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_maxrss * 1024


def start(repeats: int) -> list[Row]:
    """What a command costs beyond importing what it needs."""
    run(
        [
            *STARCLI,
            "train",
            "--arch",
            "mlp",
            "--data",
            "digits",
            "--epochs",
            "1",
            "--seeds=0-1",
            "-q",
            "-o",
            "m{seed}.safetensors",
        ]
    )
    bare, torch = [*PYTHON, "pass"], [*PYTHON, "import torch"]
    found = []
    for what, command, against, base, target in (
        ("starcli --help", [*STARCLI, "--help"], "bare Python", bare, "0.3 s"),
        ("starcli inspect MODEL", [*STARCLI, "inspect", "m0.safetensors"], "bare Python", bare, ""),
        ("starcli eval MODEL on digits", [*STARCLI, "eval", "m0.safetensors"], "importing torch", torch, "0.5 s more"),
        (
            "starcli barrier, 3 points, digits",
            [*STARCLI, "barrier", "m0.safetensors", "m1.safetensors", "--points", "3"],
            "importing torch",
            torch,
            "0.5 s more",
        ),
    ):
        run(command)
        times = compare(lambda command=command: run(command), lambda base=base: run(base), repeats, time.perf_counter)  # type: ignore[misc]
        more = statistics.median(own - other for own, other in zip(times["ours"], times["theirs"], strict=True))
        note = f"{more:+.2f} s"
        found.append(show(Row(what, against, **times, kind="price", target=target, note=note)))
    return found


def pairs(models: int, repeats: int) -> Row:
    """All pairs at once against one call for each."""
    train = ["train", "--arch", "mlp", "--data", "digits", "--epochs", "2", f"--seeds=0-{models - 1}"]
    run([*STARCLI, *train, "-q", "-o", "pair-{seed}.safetensors"])
    names = [f"pair-{seed}.safetensors" for seed in range(models)]
    alone = [[a, b] for i, a in enumerate(names) for b in names[i + 1 :]]
    barrier = [*STARCLI, "barrier", "--align", "weight", "-q"]
    caches = tempfile.TemporaryDirectory()
    os.environ["XDG_CACHE_HOME"] = caches.name

    def fresh(commands: Sequence[Sequence[str]]) -> None:
        # what all-pairs measured is remembered between runs: each repeat begins with nothing but the proof of the spec
        with tempfile.TemporaryDirectory(dir=caches.name) as folder:
            os.environ["XDG_CACHE_HOME"] = folder
            for command in commands:
                run(command)

    times = compare(
        lambda: fresh([[*barrier, "--all-pairs", *names]]),
        lambda: fresh([[*barrier, *pair] for pair in alone]),
        repeats,
        time.perf_counter,
    )
    caches.cleanup()
    return Row(f"barrier --all-pairs of {models} MLPs", f"{len(alone)} single calls", **times, target="1.5")


def memory(architecture: str, sources: int) -> Row:
    """Resident memory of a star of many sources against a star of two."""
    data = ["--data", "digits", "--limit", "20", "--epochs", "1", "-q"]
    train = ["train", "--arch", architecture, f"--seeds=0-{sources - 1}", *data]
    run([*STARCLI, *train, "-o", "source-{seed}.safetensors"])
    names = [f"source-{seed}.safetensors" for seed in range(sources)]

    def star(count: int) -> float:
        return run([*STARCLI, "star", "--sources", *names[:count], *data, "--force", "-o", "star.safetensors"]) / 2**20

    few, many = star(2), star(sources)
    each = Path(names[0]).stat().st_size / 2**20
    return Row(
        f"resident memory of star, {sources} {architecture} sources of {each:.0f} MB",
        "2 sources",
        [many],
        [few],
        kind="price",
        unit="MB",
        target="1,000 MB more",
        note=f"{many - few:+,.0f} MB",
    )


def main() -> None:
    """Measure and print."""
    options = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        begun = seconds(lambda: run([*PYTHON, "import torch"]))
        print(f"the first import of torch, which may read from the disk: {begun:.1f} s", flush=True)
        rows = start(1 if options.quick else 5)
        rows.append(show(pairs(3 if options.quick else 10, 1)))
        rows.append(show(memory("mlp" if options.quick else "resnet18-cifar", 5 if options.quick else 50)))
        os.chdir("/")
    save(options.json, rows)


if __name__ == "__main__":
    main()
