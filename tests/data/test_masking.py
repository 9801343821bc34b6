"""Masked tokens: which, by what they are replaced, and that nothing but the texts decides it."""

import numpy as np
import pytest
from support.data import refused

from starcli.data.dataset import open_data
from starcli.data.masking import mask_tokens
from starcli.data.text_options import TextOptions
from starcli.data.tokenizers import BYTE_MASK, BYTES_OF_TEXTS, END, MASKED_BYTES
from starcli.data.tokens import NO_TOKEN, Tokens


@pytest.fixture
def tokens() -> Tokens:
    """2,000 texts of 1 to 60 letters between their ends."""
    draws = np.random.RandomState(3)
    rows = np.full((2000, 62), NO_TOKEN, dtype=np.int64)
    for row, length in zip(rows, draws.randint(1, 61, len(rows)), strict=True):
        row[: length + 2] = [END, *draws.randint(97, 123, length), END]
    return rows


def test_shares_are_those_of_bert(tokens: Tokens) -> None:
    seen, labels = mask_tokens(tokens, MASKED_BYTES, "x")
    chosen, letters = labels >= 0, (tokens >= 97) & (tokens < 123)
    counts = letters.sum(1)
    np.testing.assert_array_equal(chosen.sum(1), np.maximum(1, np.rint(0.15 * counts)))
    assert not (chosen & ~letters).any()  # neither ends nor padding
    np.testing.assert_array_equal(seen[~chosen], tokens[~chosen])
    np.testing.assert_array_equal(labels[chosen], tokens[chosen])
    hidden, kept = seen[chosen] == BYTE_MASK, seen[chosen] == tokens[chosen]
    # of about 9,000; a random byte is the same in one of 256 cases
    assert hidden.mean() == pytest.approx(0.8, abs=0.015)
    assert kept.mean() == pytest.approx(0.1 + 0.1 / 256, abs=0.01)
    assert set(np.unique(seen[chosen][~hidden & ~kept])) <= set(range(256))
    # every place of a text is as likely: the first letter of texts of 40 and more
    long = counts >= 40
    assert chosen[long, 1].mean() == pytest.approx(0.15, abs=0.04)


def test_what_is_masked_is_frozen(tokens: Tokens) -> None:
    """Every model is asked the same, under any later version: NumPy's frozen draws with seed 0, text by text."""
    draws = np.random.RandomState(0)
    place, how = (draws.random_sample(tokens.shape) for _ in range(2))
    other = draws.randint(0, 256, tokens.shape)  # the bytes are the ordinary tokens
    seen, labels = mask_tokens(tokens, MASKED_BYTES, "x")
    for row, text in enumerate(tokens):
        letters = [at for at, token in enumerate(text) if 0 <= token < 256]
        count = max(1, round(0.15 * len(letters)))
        for at in sorted(letters, key=lambda at: place[row, at])[:count]:
            by = BYTE_MASK if how[row, at] < 0.8 else other[row, at] if how[row, at] < 0.9 else text[at]
            assert (seen[row, at], labels[row, at]) == (by, text[at])


def test_the_same_texts_are_masked_alike(tokens: Tokens, tmp_path) -> None:  # type: ignore[no-untyped-def]
    for one, other in zip(mask_tokens(tokens, MASKED_BYTES, "x"), mask_tokens(tokens, MASKED_BYTES, "y"), strict=True):
        np.testing.assert_array_equal(one, other)
    path = tmp_path / "texts.csv"
    path.write_text("text,label\n" + "\n".join(f"{'some words ' * (1 + n % 3)}{n},{n % 2}" for n in range(40)))
    one, other = (open_data(f"text:{path}", texts=TextOptions(task="masked-token"), limit=limit) for limit in (None, 9))
    assert (one.task, one.vocab_size, one.num_classes, one.class_names) == ("masked-token", 258, 258, ())
    assert one.fingerprint == other.fingerprint
    assert one.test.labels.equal(other.test.labels)
    assert len(other.train) == 9
    assert one.test.targets.numel() == int((one.test.labels >= 0).sum())


def test_what_cannot_be_masked_is_refused(tokens: Tokens, tmp_path) -> None:  # type: ignore[no-untyped-def]
    refused(lambda: mask_tokens(tokens, BYTES_OF_TEXTS, "x"), "x: the tokenizer has no token for a mask")
    refused(lambda: mask_tokens(np.array([[END, 97, END], [END, END, -1]]), MASKED_BYTES, "x"), "row 2 has no token")
    np.savez(tmp_path / "ids.npz", input_ids=np.ones((4, 3), dtype=int))
    masked = TextOptions(task="masked-token")
    refused(lambda: open_data(str(tmp_path / "ids.npz"), texts=masked), "needs texts and their tokenizer")
    refused(lambda: open_data("digits", texts=masked), "has no effect on digits data")
