"""From texts to tokens: bytes by themselves, or a tokenizer file through the package `tokenizers`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starcli.errors import StarcliError, first_line, short

END, BYTE_MASK = 256, 257
"""The token before and behind each text of bytes, and the one that stands for a masked byte."""

MASKS = ("[MASK]", "<mask>")
"""What the token of a mask is called, in tokenizers like BERT's and like RoBERTa's."""


@dataclass(frozen=True)
class Tokenizer:
    """A way to make tokens of texts: `encode` takes several, and `vocab_size` tokens are known to it.

    cut: the same of at most so many tokens. A tokenizer file cuts a text before it puts special tokens around it, as
    `transformers` does with `truncation=True`. sha256: of the file that it was read from; None of bytes.
    mask: the token that stands for a masked one, where there is one. special: tokens that are no part of a text.
    """

    encode: Callable[[Sequence[str]], list[list[int]]]
    cut: Callable[[Sequence[str], int], list[list[int]]]
    vocab_size: int
    sha256: str | None = None
    mask: int | None = None
    special: frozenset[int] = frozenset()


def byte_tokens(texts: Sequence[str]) -> list[list[int]]:
    """The bytes of each text in UTF-8, with END before and behind.

    >>> byte_tokens(["ab", ""])
    [[256, 97, 98, 256], [256, 256]]
    """
    return [[END, *text.encode(), END] for text in texts]


def _cut_bytes(texts: Sequence[str], most: int) -> list[list[int]]:
    return [each[:most] for each in byte_tokens(texts)]


BYTES_OF_TEXTS = Tokenizer(byte_tokens, _cut_bytes, END + 1)
"""The tokens of a text are its bytes."""

MASKED_BYTES = Tokenizer(byte_tokens, _cut_bytes, BYTE_MASK + 1, mask=BYTE_MASK, special=frozenset({END, BYTE_MASK}))
"""The tokens of a text are its bytes, and one more is the mask."""


def open_tokenizer(path: str | Path | None, *, masked: bool = False) -> Tokenizer:
    """The tokenizer of a `tokenizer.json` of Hugging Face, with the special tokens that it adds; None: that of bytes.

    masked: bytes are to have a token for a mask. Raises StarcliError where the package `tokenizers` is missing, and for
    a file that is none.
    """
    if path is None:
        return MASKED_BYTES if masked else BYTES_OF_TEXTS
    path = Path(path)
    digest = _sha256(path)
    try:
        import tokenizers
    except ImportError:
        hint = "pip install 'starcli[text]'; without --tokenizer the tokens are bytes"
        raise StarcliError(f"--tokenizer {path}: needs the package tokenizers", [hint]) from None
    with _errors(path, "be read"):
        made = tokenizers.Tokenizer.from_file(str(path))
        made.no_truncation()
        made.no_padding()

    def encode(texts: Sequence[str]) -> list[list[int]]:
        with _errors(path, "make tokens of these texts"):
            return [each.ids for each in made.encode_batch(list(texts))]

    def cut(texts: Sequence[str], most: int) -> list[list[int]]:
        special = made.num_special_tokens_to_add(False)
        if most <= special:
            raise StarcliError(
                f"--length {most}: the tokenizer puts {special} tokens around each text, nothing is left"
            )
        made.enable_truncation(most)
        found = encode(texts)
        made.no_truncation()
        return found

    mask = next((token for name in MASKS if (token := made.token_to_id(name)) is not None), None)
    special = frozenset(number for number, token in made.get_added_tokens_decoder().items() if token.special)
    return Tokenizer(encode, cut, made.get_vocab_size(), digest, mask, special)


@contextmanager
def _errors(path: Path, deed: str) -> Iterator[None]:
    """Raise as StarcliError whatever the package raises; a panic of its own language is no Exception."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise StarcliError(f"--tokenizer {path}: cannot {deed}", [first_line(error)]) from error


def refuse_other_tokenizer(path: str | Path | None, recorded: str | None) -> None:
    """Raise StarcliError unless texts are read by `path` as by the tokenizer whose file has the hash `recorded`.

    None are bytes. To a model tokens of another tokenizer are other words.
    """
    given = None if path is None else _sha256(Path(path))
    if given == recorded:
        return
    if recorded is None:
        raise StarcliError(f"--tokenizer {path}: the model was trained on bytes; leave out --tokenizer")
    wanted = f"the model's tokenizer file has SHA-256 {short(recorded)}"
    if given is None:
        raise StarcliError(f"--tokenizer is needed: {wanted}")
    raise StarcliError(f"--tokenizer {path}: has SHA-256 {short(given)}, but {wanted}; give that one")


def _sha256(path: Path) -> str:
    """Hash of a tokenizer file. Raises StarcliError where there is none."""
    if not path.is_file():
        raise StarcliError(f"--tokenizer {path}: no such file")
    return hashlib.sha256(path.read_bytes()).hexdigest()
