"""Masked tokens, which a network is to name (Devlin et al. 2019, section 3.1): what it reads, and what it is to say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from starcli.data.tokenizers import Tokenizer
from starcli.data.tokens import NO_TOKEN, Tokens
from starcli.errors import StarcliError

MASKED_SHARE = 0.15
"""Share of the tokens of a text that are to be named."""

HIDDEN, REPLACED = 0.8, 0.1
"""Shares of these that become the token of the mask, and any other token; the rest stay."""


def mask_tokens(tokens: Tokens, tokenizer: Tokenizer, where: str) -> tuple[Tokens, NDArray[np.int64]]:
    """Tokens (N, length) as a network reads them, and labels (N, length): the token at each masked place, else -1.

    Of a text with n tokens that are not special, max(1, round(0.15 n)) are masked: 80% become the mask, 10% a random
    token, 10% stay as they are. What is drawn depends on nothing but the shape of `tokens` and where text is in it
    (`RandomState(0)`), so that every model is asked the same. Raises StarcliError for a tokenizer without a mask, and
    for texts of special tokens alone.
    """
    if tokenizer.mask is None:
        raise StarcliError(f"{where}: the tokenizer has no token for a mask ([MASK] or <mask>)")
    ordinary = np.setdiff1d(np.arange(tokenizer.vocab_size), list(tokenizer.special))
    here = np.isin(tokens, ordinary)  # (N, length)
    counts = here.sum(axis=1)
    if len(empty := np.flatnonzero(counts == 0)):
        raise StarcliError(f"{where}: row {empty[0] + 1} has no token that could be masked")
    draws = np.random.RandomState(0)
    place = np.where(here, draws.random_sample(tokens.shape), np.inf).argsort(axis=1).argsort(axis=1)
    chosen = place < np.maximum(1, np.rint(MASKED_SHARE * counts)).astype(np.int64)[:, None]
    how, other = draws.random_sample(tokens.shape), ordinary[draws.randint(0, len(ordinary), tokens.shape)]
    seen = np.where(chosen & (how < HIDDEN), tokenizer.mask, tokens)
    seen = np.where(chosen & (how >= HIDDEN) & (how < HIDDEN + REPLACED), other, seen)
    return np.ascontiguousarray(seen), np.where(chosen, tokens, NO_TOKEN)
