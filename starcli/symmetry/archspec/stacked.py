"""Tensors of the members of a list of modules, stacked, so that a permutation may move values from one to another.

`experts.[].up.weight` of shape (n, ...) is `experts.0.up.weight` to `experts.{n-1}.up.weight`, one behind the other on
a first axis of its own. Specs know such tensors by the name of the stack, networks and files by those of its members.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MEMBERS = "[]"
"""What stands in the name of a stack in the place of the numbers of its members."""
Shapes = Mapping[str, tuple[int, ...]]


def is_stack(name: str) -> bool:
    """Whether `name` is that of a stack.

    >>> is_stack("experts.[].up.weight"), is_stack("experts.0.up.weight")
    (True, False)
    """
    return name.split(".").count(MEMBERS) == 1


def members(stack: str, count: int) -> tuple[str, ...]:
    """The names of the `count` tensors of a stack, in order.

    >>> members("experts.[].weight", 2)
    ('experts.0.weight', 'experts.1.weight')
    """
    return tuple(".".join(str(i) if word == MEMBERS else word for word in stack.split(".")) for i in range(count))


def stack_names(name: str) -> list[str]:
    """The stacks that a tensor may be a member of, by each number in its name.

    >>> stack_names("blocks.0.heads.1.key.weight")
    ['blocks.[].heads.1.key.weight', 'blocks.0.heads.[].key.weight']
    """
    words = name.split(".")
    return [
        ".".join([*words[:i], MEMBERS, *words[i + 1 :]])
        for i, word in enumerate(words)
        if word.isdecimal() and MEMBERS not in words
    ]


def stacked_shapes(shapes: Shapes, stacks: Collection[str]) -> dict[str, tuple[int, ...]]:
    """The shapes with those `stacks` in the place of their members, where these are there and of one shape.

    >>> stacked_shapes({"e.0.w": (3,), "e.1.w": (3,), "e.b": (2,)}, {"e.[].w"})
    {'e.[].w': (2, 3), 'e.b': (2,)}
    """
    found: dict[str, tuple[int, ...]] = {}
    taken: dict[str, str] = {}
    for stack in stacks:
        count = next(i for i in range(len(shapes) + 1) if members(stack, i + 1)[-1] not in shapes)
        names = members(stack, count)
        if count and len({shapes[name] for name in names}) == 1:
            taken |= dict.fromkeys(names, stack)
            found[stack] = (count, *shapes[names[0]])
    result: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        result[taken.get(name, name)] = found[taken[name]] if name in taken else shape
    return result


def stacked(tensors: "Mapping[str, Tensor]", stacks: Mapping[str, tuple[str, ...]]) -> "Mapping[str, Tensor]":
    """The tensors with stacks (name -> names of members) in the place of their members; as they are where none is.

    Of a stack all members or none have to be there, else they stay. Gradients pass.
    """
    whole = {stack: names for stack, names in stacks.items() if all(name in tensors for name in names)}
    if not whole:
        return tensors
    import torch  # only here: specs are read without it

    first = {names[0]: stack for stack, names in whole.items()}
    gone = {name for names in whole.values() for name in names[1:]}
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in first:
            found[first[name]] = torch.stack([tensors[each] for each in whole[first[name]]])
        elif name not in gone:
            found[name] = tensor
    return found


def unstacked(tensors: "Mapping[str, Tensor]", stacks: Iterable[str]) -> "dict[str, Tensor]":
    """The tensors with the members of `stacks` in the place of each, as views; inverse of `stacked`."""
    chosen = set(stacks)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found |= dict(zip(members(name, len(tensor)), tensor, strict=True)) if name in chosen else {name: tensor}
    return found
