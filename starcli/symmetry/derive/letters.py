"""Letters of the axes in the equation of an einsum."""

from collections.abc import Sequence


def letters_of(equation: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """A letter for each axis of the operands, and of the result; axes of an ellipsis are "-1" (the last), "-2", ..."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms, widest = [], 0
    for term, rank in zip(left.split(","), ranks, strict=True):
        before, dots, after = term.partition("...")
        width = rank - len(before) - len(after) if dots else 0
        terms.append([*before, *(str(k) for k in range(-width, 0)), *after])
        widest = max(widest, width)
    if not arrow:  # letters that stand once, in the order of the alphabet, behind the ellipsis
        right = "..." + "".join(sorted(c for c in set(left) - set(",.") if left.count(c) == 1))
    before, dots, after = right.partition("...")
    return terms, [*before, *(str(k) for k in range(-widest, 0) if dots), *after]
