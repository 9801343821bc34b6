"""Texts from Python: the same as on the command line, and tokens in memory."""

from pathlib import Path

import pytest
import torch
from torch import nn

import starcli as sc
from starcli.errors import StarcliError

PACKAGES = Path(__file__).parent.parent / "data" / "packages.csv"
TOKENS = torch.randint(9, (40, 6), generator=torch.Generator().manual_seed(0))
SMALL = {"dim": 8, "heads": 2, "mlp_dim": 8, "depth": 1}
RECIPE = {"epochs": 1, "optimizer": "adam", "lr": 0.01}

pytestmark = pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")


def test_a_table_by_name() -> None:
    where = {"task": "next-token", "length": 12, "limit": 40}
    data = f"text:{PACKAGES}"
    one, other = (sc.train("gpt", data, seed=seed, arch_args=SMALL, **RECIPE, **where) for seed in (0, 1))
    assert one.metadata.metrics is not None
    line = sc.barrier(one, other, alignment="activation")
    recorded = one.metadata.metrics["test"]["loss"]
    assert line.curves["test"].loss[0] == pytest.approx(recorded, rel=1e-5)
    assert sc.evaluate(one)[0]["nll"] == pytest.approx(recorded, rel=1e-5)


def test_tokens_in_memory() -> None:
    labels = TOKENS.sum(1) % 2
    model = sc.train("bert", {"train": (TOKENS, labels), "test": (TOKENS[:9], labels[:9])}, arch_args=SMALL, **RECIPE)
    predicted = sc.predict(model, data=TOKENS[:5])
    assert predicted.probabilities.shape == (5, 2)
    with pytest.raises(StarcliError, match="token 17, the model knows 0 to 8"):
        sc.predict(model, data=TOKENS[:5] + 9)


def test_next_tokens_in_memory_and_a_module_of_ones_own() -> None:
    class Bigram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 16)
            self.hidden = nn.Linear(16, 16)
            self.head = nn.Linear(16, 9)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.hidden(self.table(tokens)).relu())

    model = sc.train(Bigram, (TOKENS, None), **RECIPE)
    predicted = sc.predict(model, data=TOKENS[:5])
    assert predicted.probabilities.shape == (25, 9)
    assert predicted.position is not None
    assert predicted.position.tolist() == [1, 2, 3, 4, 5] * 5
    assert predicted.label is not None
    assert predicted.label.tolist() == TOKENS[:5, 1:].flatten().tolist()


def test_a_network_that_looks_ahead_is_refused() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 9)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            found = self.table(tokens)
            return found + found.mean(1, keepdim=True)

    with pytest.raises(StarcliError, match="looks at the tokens that it is to predict"):
        sc.train(Mean, (TOKENS, None), **RECIPE)
