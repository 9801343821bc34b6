"""Words that read as numbers, of command lines and tables."""


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
