"""From texts to tokens: bytes by themselves, or a tokenizer file through the package `tokenizers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from starcli.errors import StarcliError, first_line

END = 256
"""The token before and behind each text of bytes."""


@dataclass(frozen=True)
class Tokenizer:
    """A way to make tokens of texts: `encode` takes several, and `vocab_size` tokens are known to it."""

    encode: Callable[[Sequence[str]], list[list[int]]]
    vocab_size: int


def byte_tokens(texts: Sequence[str]) -> list[list[int]]:
    """The bytes of each text in UTF-8, with END before and behind.

    >>> byte_tokens(["ab", ""])
    [[256, 97, 98, 256], [256, 256]]
    """
    return [[END, *text.encode("utf-8", "surrogatepass"), END] for text in texts]


def open_tokenizer(path: str | Path | None) -> Tokenizer:
    """The tokenizer of a `tokenizer.json` of Hugging Face, with the special tokens that it adds; None: that of bytes.

    Raises StarcliError where the package `tokenizers` is missing, and for a file that is none.
    """
    if path is None:
        return Tokenizer(byte_tokens, END + 1)
    path = Path(path)
    if not path.is_file():
        raise StarcliError(f"--tokenizer {path}: no such file")
    try:
        import tokenizers
    except ImportError:
        hint = "pip install tokenizers; without --tokenizer the tokens are bytes"
        raise StarcliError(f"--tokenizer {path}: needs the package tokenizers", [hint]) from None
    try:
        made = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises its own and plain ones
        raise StarcliError(f"--tokenizer {path}: cannot be read", [first_line(error)]) from error
    made.no_truncation()
    made.no_padding()
    return Tokenizer(lambda texts: [each.ids for each in made.encode_batch(list(texts))], made.get_vocab_size())
