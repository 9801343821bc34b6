"""A rank of the tests: runs the lines of a JSON file one after the other and leaves what came of each.

    torchrun --standalone --nproc-per-node 2 tests/support/ranks.py LINES.json OUT

A line may begin with a word about what goes wrong: `!bug` and `!error` in a step of rank 1, `!kill` in its fourth step
of the first attempt. A second attempt goes on with that line.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from support.program import run_here

from starcli.alignment.matching.restarts import Detour
from starcli.errors import StarcliError
from starcli.runtime import distributed
from starcli.training.exchange import Exchange
from starcli.training.run import TrainingRun
from starcli.training.train import PlainObjective


@contextlib.contextmanager
def trouble(word: str, notes: list[float]) -> Iterator[None]:
    """Within it this rank fails as `word` says; `notes` gets the step from which each run goes, and
    the weight of each detour of matching."""
    step, resume, go = PlainObjective.step, TrainingRun._resume, Detour.go

    def failing(self: PlainObjective, *arguments: Any) -> Any:
        notes[0] += 1
        if os.environ["RANK"] == "1":
            if word == "!bug":
                raise RuntimeError("wires crossed")
            if word == "!error":
                raise StarcliError("rank 1 has no data", ["look under the sofa"])
            if word == "!kill" and notes[0] == 4 and not is_second_attempt():
                os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *arguments)

    def resuming(self: TrainingRun) -> None:
        resume(self)
        notes.append(self.position.epoch * self.position.steps + self.position.step)

    def going(self: Detour, *arguments: Any) -> Any:
        notes.append(self.weight)
        return go(self, *arguments)

    with (
        mock.patch.object(PlainObjective, "step", failing),
        mock.patch.object(TrainingRun, "_resume", resuming),
        mock.patch.object(Detour, "go", going),
    ):
        yield


def is_second_attempt() -> bool:
    return os.environ["TORCHELASTIC_RESTART_COUNT"] == "1"


def main() -> None:
    """Run the lines and write `OUT.RANK.json`."""
    lines, out = json.loads(Path(sys.argv[1]).read_text()), Path(f"{sys.argv[2]}.{os.environ['RANK']}.json")
    Exchange.BUCKET = 1 << 10  # small networks have several, too
    begin = [words[0] for words in lines].index("!kill") if is_second_attempt() else 0
    found = json.loads(out.read_text())[:begin] if begin else []
    for words in lines[begin:]:
        word = words.pop(0) if words[0].startswith("!") else ""
        notes: list[float] = [0]
        with trouble(word, notes):
            ran = run_here(*words)
        found.append([ran.status, ran.out, ran.err, notes[1:]])
        out.write_text(json.dumps(found))
    distributed.end_process(0)  # as the program does: a thread of gloo's may abort an interpreter that is taken down


if __name__ == "__main__":
    main()
