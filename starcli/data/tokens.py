"""Texts as numbers: tokens (N, length), padded at the end, to be classified or continued.

Padding is the token -1, so that no number of the vocabulary is taken for it: networks see by it what is no text. What
is predicted at places of a text stands in the labels (N, length): of next tokens at each token the one that follows it,
of masked ones what is behind the mask (`data.masking`), -1 where nothing is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starcli.data.loading import Loaded, Part, of_parts
from starcli.data.normalisation import Normalisation
from starcli.data.normalise_option import AS_THEY_ARE
from starcli.data.partition import check_labels
from starcli.data.targets import check_targets
from starcli.errors import StarcliError
from starcli.registry.tasks import CLASSES, OF_TOKENS

NO_TOKEN = -1
"""The token behind the end of a text, and the label where there is nothing to predict."""
LARGEST_VOCABULARY = 1_000_000
"""A larger token makes no network: it is wild, or no token at all."""

Tokens = NDArray[np.int64]
"""Tokens (N, length), NO_TOKEN behind the end of each text."""


def token_rows(ids: NDArray[Any], mask: NDArray[Any] | None, where: str) -> Tokens:
    """Tokens (N, length) of `input_ids`, each text moved to the beginning of its row; `mask` is 1 where there is text.

    Without a mask all are text but what is NO_TOKEN already. Raises StarcliError for numbers that are no tokens, and
    for a mask that is not one run of ones in each row.

    >>> token_rows(np.array([[7, 8, 9], [7, 8, 9]]), np.array([[1, 1, 0], [0, 1, 1]]), "x")
    array([[ 7,  8, -1],
           [ 8,  9, -1]])
    """
    if ids.ndim != 2 or 0 in ids.shape or ids.dtype.kind not in "iu":
        raise StarcliError(f"{where}: {ids.dtype} of shape {ids.shape}, expected integers (N, length)")
    if mask is not None and (mask.shape != ids.shape or mask.dtype.kind not in "iub"):
        raise StarcliError(f"{where}: an attention mask of {mask.dtype} {mask.shape}, expected integers {ids.shape}")
    here = ids != NO_TOKEN if mask is None else mask.astype(bool)
    starts = here & ~np.pad(here, ((0, 0), (1, 0)))[:, :-1]
    runs = starts.sum(axis=1)
    if (runs != 1).any():
        row = int(np.flatnonzero(runs != 1)[0])
        found = "no text" if runs[row] == 0 else "text in several pieces"
        raise StarcliError(f"{where}: {found} in row {row + 1}, expected one piece, with padding before or behind it")
    least, most = int(ids[here].min()), int(ids[here].max())
    if least < 0 or most >= LARGEST_VOCABULARY:
        wrong = least if least < 0 else most
        raise StarcliError(f"{where}: token {wrong}, expected 0 to {LARGEST_VOCABULARY - 1}")
    order = np.argsort(~here, axis=1, kind="stable")  # text first
    packed = np.where(here, ids.astype(np.int64), NO_TOKEN)
    return np.ascontiguousarray(np.take_along_axis(packed, order, axis=1))


def next_tokens(tokens: Tokens, where: str) -> NDArray[np.int64]:
    """The token after each (N, length), NO_TOKEN where there is none. StarcliError where a text has no second token.

    >>> next_tokens(np.array([[5, 6, 7], [5, 6, -1]]), "x")
    array([[ 6,  7, -1],
           [ 6, -1, -1]])
    """
    following = np.full_like(tokens, NO_TOKEN)
    following[:, :-1] = tokens[:, 1:]
    short = np.flatnonzero((following != NO_TOKEN).sum(axis=1) == 0)
    if len(short):
        raise StarcliError(f"{where}: row {short[0] + 1} has no second token that could be predicted")
    return following


def given_next_tokens(tokens: Tokens, labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Labels (N, length) that the caller made, each the token that follows, as next tokens; below 0 none is predicted.

    That behind the last token is in no input. Raises StarcliError where another token follows than a label says.

    >>> given_next_tokens(np.array([[5, 6, 7]]), np.array([[-100, 7, 8]]), "x")
    array([[-1,  7,  8]])
    """
    if not _follow(tokens, labels):
        same = labels.shape == tokens.shape and bool((labels == tokens).all())
        found = "they are the tokens themselves" if same else f"{labels.dtype} {labels.shape}, and others follow"
        hints = ["expected labels[:, :-1] to be tokens[:, 1:], or below 0", "(tokens, None) predicts what follows"]
        raise StarcliError(f"{where}: labels of next tokens: {found}", hints)
    if bool((labels < 0).all(axis=1).any()):
        raise StarcliError(f"{where}: in some texts no token is to be predicted (labels of at least 0)")
    return np.maximum(labels.astype(np.int64), NO_TOKEN)


def are_next_tokens(tokens: NDArray[Any], labels: NDArray[Any]) -> bool:
    """Whether labels can be nothing else than next tokens: some say which one follows, and none says another one."""
    return _follow(tokens, labels) and bool((labels[:, :-1] >= 0).any())


def _follow(tokens: NDArray[Any], labels: NDArray[Any]) -> bool:
    """Whether labels say at each of the tokens (N, length) which one follows, or, below 0, nothing."""
    kinds = {tokens.dtype.kind, labels.dtype.kind}
    if tokens.ndim != 2 or labels.shape != tokens.shape or kinds - set("iu"):
        return False
    said, following = labels[:, :-1], tokens[:, 1:]
    return bool(((said == following) | (said < 0)).all())


def strata(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes (N,) over which a division of examples is to be even: one for all where no class is predicted."""
    return labels if labels.ndim == 1 else np.zeros(len(labels), dtype=np.int64)


def assemble_tokens(
    name: str,
    train: Part,
    test: Part,
    validation: Part | None = None,
    *,
    task: str = CLASSES,
    vocab_size: int | None = None,
    class_names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Loaded:
    """Check tokens in memory and make a data set of them.

    Labels are classes (N,), numbers or labels (N, columns), or of a task of tokens (N, length).

    vocab_size: how many tokens there are, by default as many as the largest says; never fewer.
    Raises StarcliError where the labels do not fit the texts, or the parts differ in length.
    """
    parts = [train, test, *([validation] if validation is not None else [])]
    if len({part.inputs.shape[1:] for part in parts}) > 1:
        found = [f"{part.where}: {part.inputs.shape[1]}" for part in parts]
        raise StarcliError("the parts of the data differ in the length of texts", found)
    largest = 1 + max(int(part.inputs.max()) for part in parts)
    tokens = max(largest, vocab_size or 0)
    if task in OF_TOKENS:
        classes = tokens
    else:
        named = [(part.where, part.labels, len(part.inputs)) for part in parts]
        classes = check_labels(named, len(class_names) or None) if task == CLASSES else check_targets(named)
    return of_parts(
        name,
        parts,
        Normalisation(1.0, *AS_THEY_ARE),
        num_classes=classes,
        class_names=tuple(class_names),
        notes=tuple(notes),
        vocab_size=tokens,
        task=task,
    )
