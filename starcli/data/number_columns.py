"""Columns of tables as numbers to be predicted, or to predict from."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starcli.errors import StarcliError
from starcli.files.number_words import is_number


def numbers_of_columns(columns: Mapping[str, Sequence[str]], path: Path) -> NDArray[np.float32]:
    """Columns of words by name, as finite numbers (N, columns). StarcliError with the first row that has none.

    >>> numbers_of_columns({"rooms": ["2", "3.5"], "age": ["10", "0"]}, Path("houses.csv"))
    array([[ 2. , 10. ],
           [ 3.5,  0. ]], dtype=float32)
    """
    return np.stack([_numbers(words, name, path) for name, words in columns.items()], axis=1)


def _numbers(words: Sequence[str], name: str, path: Path) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is reported as such
        found = np.array([float(word) if is_number(word) else math.nan for word in words]).astype(np.float32)
    for row in np.flatnonzero(~np.isfinite(found))[:1]:
        hint = "leave out columns of words and rows where a value is missing, or write numbers in their place"
        raise StarcliError(f"{path}: row {row + 1}: {name}: {words[row]!r:.40} is no number (of 32 bits)", [hint])
    return found


def flags_as_numbers(words: Sequence[str]) -> Sequence[str]:
    """A column of true and false as one of 1 and 0, as it is one of several labels; any other as it is.

    >>> flags_as_numbers(["True", "false"]), flags_as_numbers(["True", "owl"])
    (['1', '0'], ['True', 'owl'])
    """
    numbers = {"true": "1", "false": "0"}
    return [numbers[word.lower()] for word in words] if {*map(str.lower, words)} <= numbers.keys() else words
