"""Operators that multiply and sum: linear, convolution, matrix products, einsum, attention.

All put their operands into one space, merge them as an elementwise product would, and sum over the contracted axes.
"""

from collections.abc import Sequence

import numpy as np

from starcli.symmetry.derive.algebra import reduce
from starcli.symmetry.derive.atoms import AtomLabels, Atoms
from starcli.symmetry.derive.call import Call, RuleResult, Unknown, fixed, rule
from starcli.symmetry.derive.chosen import looked_up
from starcli.symmetry.derive.letters import letters_of
from starcli.symmetry.derive.rules.shape import reshaped
from starcli.symmetry.derive.values import Value, varies


@rule("linear")
def linear(call: Call) -> RuleResult:
    """A linear layer, in the space (..., n, k): x (..., k), weight (n, k), bias (n,) -> (..., n)."""
    x, weight, bias = call.value("input"), call.value("weight"), call.optional("bias")
    n = len(x.shape)
    product = call.contract(
        [x.aligned([*range(n - 1), n], n + 1), weight.aligned([n - 1, n], n + 1)], [n], whole=False
    ).dropped([n])
    return product if bias is None else call.merge([product, bias])


def matrix_product(call: Call, a: Value, b: Value, *, whole: bool = True) -> Value:
    """The factors of (..., m, k) @ (..., k, n), in the space (..., m, n, k); vectors get an axis and lose it again."""
    left, right = len(a.shape) == 1, len(b.shape) == 1
    a = reshaped(a, (1, *a.shape)) if left else a
    b = reshaped(b, (*b.shape, 1)) if right else b
    n = max(len(a.shape), len(b.shape))
    a, b = a.padded(n), b.padded(n)
    batch = list(range(n - 2))
    values = [a.aligned([*batch, n - 2, n], n + 1), b.aligned([*batch, n, n - 1], n + 1)]
    product = call.contract(values, [n], whole=whole).dropped([n])
    return product.dropped([axis for axis, gone in ((n - 2, left), (n - 1, right)) if gone])


@rule("matmul", "bmm", "mm", "mv", "dot", "vdot")
def matmul(call: Call) -> RuleResult:
    """Matrix products without a summand."""
    second = next(name for name in ("other", "mat2", "vec", "tensor") if name in call.arguments)
    whole = not {"self", second} & set(call.parameters)
    return matrix_product(call, call.value("self"), call.value(second), whole=whole)


@rule("addmm", "baddbmm", "addmv")
def addmm(call: Call) -> RuleResult:
    """A summand plus a matrix product."""
    names = [name for name in ("mat1", "mat2", "batch1", "batch2", "mat", "vec") if name in call.arguments]
    product = matrix_product(call, *(call.value(name) for name in names), whole=not set(names) & set(call.parameters))
    return call.merge([call.value("self"), product])


@rule("_grouped_mm", "grouped_mm_fallback")
def by_experts(call: Call) -> RuleResult:
    """Rows (T, k) by the matrix (E, k, n) of the expert that each belongs to -> (T, n).

    Which expert that is, the input tells: where it is known whose rows end where, its units are those that were chosen.
    """
    x, weight = (call.value(name) for name in (("self", "mat2") if "mat2" in call.arguments else ("input", "weight")))
    ends = call.value("offs")
    if len(x.shape) != 2 or len(weight.shape) != 3:
        raise Unknown
    weight = looked_up(call, weight, 0, ends, "experts that the input chooses", "ends")
    product = [x.aligned([0, 2], 3), weight.aligned([0, 2, 1], 3)]
    return call.contract(product, [2], whole=False).dropped([2])


@rule("inverse", "linalg_inv")
def inverse_matrix(call: Call) -> RuleResult:
    """The inverse of matrices (..., n, n): its rows are told apart as their columns are."""
    return _transposed(call.value("A" if "A" in call.arguments else "self"))


@rule("linalg_solve")
def solution(call: Call) -> RuleResult:
    """A^-1 B, or B A^-1, of matrices A (..., n, n) and B (..., n, k), or (n,)."""
    pair = (_transposed(call.value("A")), call.value("B"))
    pair = pair if call.arguments.get("left", True) else pair[::-1]
    return matrix_product(call, *pair, whole=not {"A", "B"} & set(call.parameters))


@rule("matrix_exp", "linalg_matrix_exp", "matrix_power", "linalg_matrix_power")
def power_series(call: Call) -> RuleResult:
    """A sum of powers of a matrix: its rows go with its columns."""
    value = call.value("A" if "A" in call.arguments else "self")
    return call.merge([value, _transposed(value)])


def _transposed(value: Value) -> Value:
    """Matrices (..., n, n), transposed. Raises Unknown where their entries move one by one."""
    n = len(value.shape)
    if any({n - 2, n - 1} <= {*varies(factor)} for factor in value.factors):
        raise Unknown
    return value.aligned([*range(n - 2), n - 1, n - 2], n)


@rule("cdist")
def row_distances(call: Call) -> RuleResult:
    """Distances of rows, (..., m, k) and (..., n, k) -> (..., m, n): sums over k, as of a product."""
    other = call.value("x2")
    n = len(other.shape)
    return matrix_product(call, call.value("x1"), other.aligned([*range(n - 2), n - 1, n - 2], n))


@rule("tensordot")
def tensordot(call: Call) -> RuleResult:
    """A sum over some axes of each operand; the others follow each other."""
    a, b = call.value("self"), call.value("other")
    summed = [axis % len(a.shape) for axis in call["dims_self"]], [axis % len(b.shape) for axis in call["dims_other"]]
    kept = len(call.shape)
    space, free = [], iter(range(kept))
    for each, gone in zip((a, b), summed, strict=True):
        axes = [kept + gone.index(axis) if axis in gone else next(free) for axis in range(len(each.shape))]
        space.append(each.aligned(axes, kept + len(gone)))
    inner = range(kept, kept + len(summed[0]))
    return call.contract(space, inner, whole=not {"self", "other"} & set(call.parameters)).dropped(inner)


@rule("inner")
def inner(call: Call) -> RuleResult:
    """Sums over the last axis of both."""
    a, b = call.value("self"), call.value("other")
    if len(a.shape) != 1 or len(b.shape) != 1:
        raise Unknown
    return matrix_product(call, a, b, whole=not {"self", "other"} & set(call.parameters))


@rule("outer", "ger")
def outer(call: Call) -> RuleResult:
    """All products of two vectors."""
    return call.merge([call.value("self").aligned([0], 2), call.value("vec2").aligned([1], 2)])


@rule("kron")
def kronecker(call: Call) -> RuleResult:
    """All products of two tensors; along each axis those of one position of the first are next to each other."""
    n = len(call.shape)
    pair = [call.value(name).padded(n) for name in ("self", "other")]
    space = [value.aligned(range(k, 2 * n, 2), 2 * n) for k, value in enumerate(pair)]
    shape = np.broadcast_shapes(*(value.shape for value in space))
    return reshaped(call.merge(space, shape), call.shape)


@rule("diag_embed")
def diagonal_matrix(call: Call) -> RuleResult:
    """Matrices with a tensor's last axis on their diagonal: positions of both axes are that axis's."""
    value, n = call.value("self"), len(call.shape)
    if call.arguments.get("offset", 0) or [call.arguments.get(f"dim{k}", k - 3) % n for k in (1, 2)] != [n - 2, n - 1]:
        raise Unknown
    return call.merge([value.aligned([*range(n - 2), axis], n) for axis in (n - 2, n - 1)])


@rule("bilinear")
def bilinear(call: Call) -> RuleResult:
    """A bilinear layer, in the space (..., o, i, j): inputs (..., i), (..., j), weight (o, i, j) -> (..., o)."""
    x, y, bias = call.value("input1"), call.value("input2"), call.optional("bias")
    n = len(call.shape)
    weight = call.value("weight").aligned([n - 1, n, n + 1], n + 2)
    space = [x.aligned([*range(n - 1), n], n + 2), y.aligned([*range(n - 1), n + 1], n + 2), weight]
    product = call.contract(space, [n, n + 1], whole=False).dropped([n, n + 1])
    return product if bias is None else call.merge([product, bias])


@rule("einsum")
def einsum(call: Call) -> RuleResult:
    """An einsum, in the space of all its letters; the letters that the result lacks are summed over."""
    operands = call.listed()
    terms, result = letters_of(call["equation"], [len(each.shape) for each in operands])
    letters = result + sorted({letter for term in terms for letter in term} - set(result))
    space = []
    for operand, term in zip(operands, terms, strict=True):
        operand, term = _on_diagonals(operand, term)
        space.append(operand.aligned([letters.index(letter) for letter in term], len(letters)))
    summed = range(len(result), len(letters))
    return call.contract(space, summed).dropped(summed)


def _on_diagonals(value: Value, term: list[str]) -> tuple[Value, list[str]]:
    """A value without its second axes of a letter, where it stands at the same positions as on the first."""
    twice = next(((term.index(c), k) for k, c in enumerate(term) if c in term[:k]), None)
    if twice is None:
        return value, term
    first, second = twice
    n = len(value.shape)
    factors = []
    for factor in value.factors:
        sizes = [value.shape[k] if k in twice and {*twice} & {*varies(factor)} else factor.shape[k] for k in range(n)]
        shown = np.diagonal(np.broadcast_to(factor, sizes), axis1=first, axis2=second)
        factors.append(np.moveaxis(shown, -1, first))
    shape = [size for k, size in enumerate(value.shape) if k != second]
    return _on_diagonals(Value.of(shape, factors), [c for k, c in enumerate(term) if k != second])


@rule("scaled_dot_product_attention")
def attention(call: Call) -> RuleResult:
    """Attention, softmax(q k^T + mask) v."""
    query, key, value, mask = call.value("query"), call.value("key"), call.value("value"), call.optional("attn_mask")
    if call.arguments.get("enable_gqa"):
        repeats = query.shape[-3] // key.shape[-3]
        key, value = (_repeated(each, len(each.shape) - 3, repeats) for each in (key, value))
    n = len(key.shape)
    flipped = key.aligned([*range(n - 2), n - 1, n - 2], n)
    scores = matrix_product(call, query, flipped)
    if mask is not None:
        scores = call.merge([scores, mask], scores.shape)
    if call.arguments.get("is_causal"):
        scores = call.merge(
            [scores, fixed(call.atoms, scores.shape, (n - 2, n - 1), f"causal mask, {call.where}")], scores.shape
        )
    reduce(call.atoms, scores, [len(scores.shape) - 1])
    return matrix_product(call, scores, value)


def _repeated(value: Value, axis: int, repeats: int) -> Value:
    return value.changed(axis, value.shape[axis] * repeats, lambda factor: factor.repeat(repeats, axis))


@rule("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(call: Call) -> RuleResult:
    """A convolution, transposed or not, in the space (B, G, o, i, S...).

    Input (B, G i, S...), weight (G o, i, k...) or, transposed, (G i, o, k...).
    """
    x, bias = call.value("input"), call.optional("bias")
    rank = len(call.shape) - 2
    if rank < 1 or len(call["weight"].shape) != rank + 2:
        raise Unknown
    transposed = "transpose" in call.name or call.arguments.get("transposed", False)
    groups = call.arguments.get("groups", 1)
    weight = _kernel(call, rank, groups)
    mixed = [axis + 2 for axis in range(rank) if not _pointwise(call, axis)]
    if mixed:
        x = call.positions(x, mixed, (*x.shape[:2], *call.shape[2:]))
    i, o = x.shape[1] // groups, call.shape[1] // groups
    split = reshaped(x, (x.shape[0], groups, i, *x.shape[2:]))
    places = [1, 3, 2] if transposed else [1, 2, 3]
    kernel = reshaped(weight, (groups, i, o) if transposed else (groups, o, i)).aligned(places, rank + 4)
    product = call.contract(
        [split.aligned([0, 1, 3, *range(4, rank + 4)], rank + 4), kernel], [3], whole=groups > 1
    ).dropped([3])
    product = reshaped(product, call.shape)
    return product if bias is None else call.merge([product, bias.aligned([1], rank + 2)])


def _kernel(call: Call, rank: int, groups: int) -> Value:
    """The weight without its kernel axes, which are fixed.

    At its first use in a grouped convolution its second axis gets atoms of its own in every group: it depends on axis 0
    as well.
    """
    weight = call.value("weight")
    call.pin(weight, range(2, rank + 2), "positions of a kernel")
    parameter = call.parameters.get("weight")
    if groups > 1 and parameter is not None and parameter.first_use == call.step and weight.shape[1] > 1:
        kept = [factor for factor in weight.factors if factor.shape[1] == 1]
        parameter.value = Value(weight.shape, (*kept, grouped_inputs(call.atoms, weight.shape, groups)))
        weight = parameter.value
    factors = [factor for factor in weight.factors if not any(axis > 1 for axis in varies(factor))]
    return Value((*weight.shape[:2],), tuple(factor.reshape(factor.shape[:2]) for factor in factors))


def grouped_inputs(atoms: Atoms, shape: Sequence[int], groups: int) -> AtomLabels:
    """Fresh atoms for the second axis of a grouped kernel (G o, i, k...), i of them for each group: (G o, i, 1...)."""
    inner = atoms.new(groups * shape[1]).reshape(groups, shape[1]).repeat(shape[0] // groups, 0)
    return inner.reshape(*inner.shape, *[1] * (len(shape) - 2))


def _pointwise(call: Call, axis: int) -> bool:
    """Whether no positions meet along an axis of space: kernel 1, stride 1, no padding."""

    def is_there(name: str, number: int) -> bool:
        found = call.arguments.get(name, number)
        return isinstance(found, str) or bool(np.broadcast_to(found, len(call.shape) - 2)[axis] == number)

    one = call["weight"].shape[2 + axis] == 1
    return one and is_there("stride", 1) and is_there("padding", 0) and is_there("output_padding", 0)
