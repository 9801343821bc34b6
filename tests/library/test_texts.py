"""Texts from Python: the same as on the command line, and tokens in memory."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import starcli as sc
from starcli.data.dataset import open_data
from starcli.data.text_options import TextOptions
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


def test_tokens_beyond_the_vocabulary_are_refused_alike_by_what_measures_and_what_predicts() -> None:
    labels = TOKENS.sum(1) % 2
    model = sc.train("bag", (TOKENS, labels), **RECIPE)
    larger = sc.train("bag", (TOKENS, labels), arch_args={"vocab_size": 18}, **RECIPE)
    for measure in (
        lambda each: sc.evaluate(each, data=(TOKENS + 9, labels)),
        lambda each: sc.predict(each, data=TOKENS + 9),
    ):
        with pytest.raises(StarcliError, match="token 17, the model knows 0 to 8"):
            measure(model)
        measure(larger)


def test_a_module_that_takes_no_padding_is_told_so_before_work_begins() -> None:
    module = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 3))
    assert sc.predict(module, data=TOKENS, input_dtype="int64").probabilities.shape == (40, 3)
    padded = TOKENS.clone()
    padded[7, 3:] = -1
    with pytest.raises(StarcliError, match="behind a text stands the token -1"):
        sc.predict(module, data=padded, input_dtype="int64")
    with pytest.raises(StarcliError, match="the largest token is 17"):
        sc.predict(module, data=TOKENS + 9, input_dtype="int64")


def table(path: Path, words: Sequence[object]) -> str:
    rows = "".join(f"{'good' if str(word) in '2c' else 'bad'} {row},{word}\n" for row, word in enumerate(words))
    path.write_text("text,label\n" + rows)
    return f"text:{path}"


def test_labels_of_other_texts_are_numbered_as_the_models_are(tmp_path: Path) -> None:
    """Trained where all three classes occur, by name or by number, and measured where the first one does not."""
    whole = table(tmp_path / "whole.csv", list("abc") * 10)
    data = open_data(whole)
    arrays = {"labels": torch.cat([data.train.labels, data.test.labels]).numpy()}
    arrays["input_ids"] = torch.cat([data.train.raw, data.test.raw]).numpy()  # type: ignore[attr-defined]
    np.savez(tmp_path / "x.npz", **arrays)
    named = sc.train("bag", whole, epochs=1, optimizer="adam", lr=0.01)
    numbered = sc.train("bag", str(tmp_path / "x.npz"), epochs=1, optimizer="adam", lr=0.01)
    for model, words in ((named, "bc"), (numbered, "12")):
        part = table(tmp_path / "part.csv", list(words) * 10)
        predicted = sc.predict(model, data=part)
        [found] = sc.evaluate(model, data=part)
        held_out = open_data(part, texts=TextOptions(classes=tuple("abc" if words == "bc" else "012"))).test
        assert predicted.label is not None
        assert predicted.label.tolist() == [1 if row % 2 == 0 else 2 for row in held_out.index.tolist()]
        of_label = predicted.probabilities[range(len(held_out)), predicted.label]
        assert found["nll"] == pytest.approx(-np.log(of_label).mean(), rel=1e-5)
        with pytest.raises(StarcliError, match=r"column 'label': '7' in row 2, the model's classes are "):
            sc.evaluate(model, data=table(tmp_path / "part.csv", [words[0], 7, words[1]]))
    refused = table(tmp_path / "part.csv", list("abc"))
    with pytest.raises(StarcliError, match=r"'a' in row 1, the model's classes are 0, 1, 2"):
        sc.evaluate(numbered, data=refused)


def test_texts_are_read_by_the_models_own_tokenizer(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    for name in ("own", "other"):
        words = {"[UNK]": 0, "good": 1, "bad": 2} if name == "own" else {"[UNK]": 0, "good": 2, "bad": 1}
        made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
        made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        made.save(str(tmp_path / f"{name}.json"))
    data = table(tmp_path / "whole.csv", list("ac") * 10)
    own = {"tokenizer": str(tmp_path / "own.json")}
    model = sc.train("bag", data, **RECIPE, **own)
    assert model.metadata.data is not None
    assert model.metadata.data.tokenizer == hashlib.sha256((tmp_path / "own.json").read_bytes()).hexdigest()
    (tmp_path / "new.csv").write_text("text\ngood\nbad\n")
    for what in (data, f"text:{tmp_path / 'new.csv'}"):
        assert len(sc.predict(model, data=what, **own).probabilities)
        with pytest.raises(StarcliError, match="tokenizer is needed"):
            sc.predict(model, data=what)
        with pytest.raises(StarcliError, match=r"other\.json: has SHA-256"):
            sc.predict(model, data=what, tokenizer=str(tmp_path / "other.json"))


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


def test_tokens_moved_by_one_are_next_tokens() -> None:
    """(text[:, :-1], text[:, 1:]) is predicted as (text, None) is; of labels below 0 none counts."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 9))
    inputs, following = TOKENS[:, :-1], TOKENS[:, 1:].clone()
    whole = sc.evaluate(network, data=(TOKENS, None))[0]["nll"]
    assert sc.evaluate(network, data=(inputs, following))[0]["nll"] == pytest.approx(whole)
    following[:, :2] = -100
    logits = network(inputs)[:, 2:].flatten(0, 1)
    expected = nn.functional.cross_entropy(logits, following[:, 2:].flatten()).item()
    found = sc.evaluate(network, data=(inputs, following), task="next-token")[0]
    assert found["nll"] == pytest.approx(expected)
    with pytest.raises(StarcliError, match="they are the tokens themselves"):
        sc.evaluate(network, data=(TOKENS, TOKENS), task="next-token")
    with pytest.raises(StarcliError, match="and others follow"):
        sc.evaluate(network, data=(TOKENS, TOKENS.flip(0)), task="next-token")
    with pytest.raises(StarcliError, match="in some texts no token"):
        sc.evaluate(network, data=(inputs, following.where(torch.arange(40)[:, None] > 0, -1)))


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
