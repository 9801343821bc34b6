"""Words that read as numbers, of command lines and tables."""

LARGEST_INTEGER = 2**63 - 1
"""Largest whole number that is taken as a seed or a count: what 64 bits hold."""


def is_number(word: str) -> bool:
    """Whether a word reads as a number.

    >>> is_number("-1e-3"), is_number("nan"), is_number("1,000")
    (True, True, False)
    """
    try:
        float(word)
    except ValueError:
        return False
    return True
