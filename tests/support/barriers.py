"""What the tests of barriers share: models, and evaluators and watchers that count."""

from collections.abc import Mapping

from torch import Tensor

from starcli.evaluation.evaluator import Evaluator
from starcli.evaluation.scores import Scores
from starcli.runtime.progress import Progress

Model = Mapping[str, Tensor]


class Counting(Evaluator):
    """An evaluator that counts its measurements."""

    measured = 0

    def scores(self) -> dict[str, Scores]:
        self.measured += 1
        return super().scores()


class Watcher(Progress):
    def __init__(self) -> None:
        self.totals: list[int] = []
        self.steps = 0

    def start(self, task: str, total: int) -> None:
        self.totals.append(total)

    def step(self, count: int = 1, **figures: float) -> None:
        self.steps += count
