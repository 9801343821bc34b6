"""Two ranks (gloo) share the pairs and the ends, and find what one process finds, bit for bit."""

import contextlib
import io
import json
import os
import subprocess
import sys

import pytest

WORK = """
import json
from starcli.averaging.bma import Draws, average_models
from starcli.barriers.pairs import barriers, pairs_of
from starcli.evaluation.evaluator import Evaluator
from starcli.runtime import distributed, sharing
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import new_workspace

workspace = new_workspace(Choices(arch="mlp", data="digits", limit=100, device="cpu"))
models = [workspace.network(seed=seed).state() for seed in range(3)]


class Counting(Evaluator):
    measured = 0

    def scores(self):
        self.measured += 1
        return super().scores()


with distributed.group():
    evaluator = Counting(workspace)
    found = barriers(evaluator, models, pairs_of(3), points=4)
    draws = Draws(samples=3, repeats=2, seed=0)
    rows = average_models(Evaluator(workspace), models[0], models[1:], draws)
    counts = sharing.share_out(range(distributed.size()), lambda _: evaluator.measured)
    if distributed.is_writer():
        print(json.dumps([[b.to_dict() for b in found], [row.mean for row in rows], counts]))
"""


def run(rank: int, rendezvous: str) -> "subprocess.Popen[str]":
    place, _, port = rendezvous.partition(":")
    world = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": place, "MASTER_PORT": port}
    environment = {**os.environ, **world, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", WORK], env=environment, stdout=subprocess.PIPE, text=True)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.ranks
def test_ranks_share_the_work_and_agree() -> None:
    rendezvous = f"127.0.0.1:{free_port()}"
    processes = [run(rank, rendezvous) for rank in (0, 1)]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(WORK, {})
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    alone, together = (json.loads(output) for output in (printed.getvalue(), outputs[0]))
    assert together[:2] == alone[:2]
    assert sum(together[2]) == sum(alone[2]) == 3 + 3 * 2  # every end and every point exactly once
    assert min(together[2]) > 0
