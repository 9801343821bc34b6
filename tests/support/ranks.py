"""Two ranks of the tests: they run the lines of a JSON file one after the other and leave what came of each.

    python tests/support/ranks.py LINES.json OUT

They are begun, watched and restarted by what torchrun consists of, but as forks of a process that has imported all:
that is quicker by five times two to four seconds. A line may begin with a word about what goes wrong: `!bug` and
`!error` in a step of rank 1, `!kill` in its fourth step of the first attempt. A second attempt goes on with that line.
Of a line that begins with `!count` it is noted how many models the rank measures.
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
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from starcli.alignment.matching.restarts import Detour
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator
from starcli.training.exchange import Exchange
from starcli.training.run import TrainingRun
from starcli.training.train import PlainObjective
from tests.reliability.ground import import_all
from tests.reliability.trial import own_threads


@contextlib.contextmanager
def trouble(word: str, notes: list[float]) -> Iterator[None]:
    """Within it this rank fails as `word` says; `notes` gets the step from which each run goes,
    the weight of each detour of matching, and where it is to count True for each measured model."""
    step, resume, go, scores = PlainObjective.step, TrainingRun._resume, Detour.go, Evaluator.scores

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

    def counting(self: Evaluator) -> Any:
        notes.extend([True] if word == "!count" else [])
        return scores(self)

    with (
        mock.patch.object(Evaluator, "scores", counting),
        mock.patch.object(PlainObjective, "step", failing),
        mock.patch.object(TrainingRun, "_resume", resuming),
        mock.patch.object(Detour, "go", going),
    ):
        yield


def is_second_attempt() -> bool:
    return os.environ["TORCHELASTIC_RESTART_COUNT"] == "1"


def run_lines(lines: list[list[str]], prefix: str) -> None:
    """Run the lines as one of the ranks and write `PREFIX.RANK.json`."""
    own_threads()
    out = Path(f"{prefix}.{os.environ['RANK']}.json")
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


def main() -> None:
    """Begin two ranks on this machine, as `torchrun --standalone --nproc-per-node 2 --max-restarts 1` does."""
    import_all()
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, max_restarts=1, run_id="tests", rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", start_method="fork" if sys.platform == "linux" else "spawn",
    )  # fmt: skip
    elastic_launch(config, run_lines)(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])


if __name__ == "__main__":
    main()
