"""Permutations of the units of every group of a spec: drawn, inverted, composed and applied to tensors, exactly.

For a group at the top, new[i] = old[p[i]]. For a group `u` within `h`, new[(h, u)] = old[(p_h[h], p_u[h, u])]: the
index of a nested group has the shape (parents..., n), and its row is the parent's new position.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from starcli.errors import StarcliError, number_of
from starcli.runtime.memory import row_slices
from starcli.symmetry.archspec.blocks import Block, blocks, spread_axes
from starcli.symmetry.archspec.resolved import Resolved, outside_spec
from starcli.symmetry.archspec.stacked import unstacked


@dataclass(frozen=True, eq=False, repr=False)
class Permutation:
    """One permutation for each group of a spec.

    `index` maps the name of each group to int64 (parents..., n), on the CPU: `index[g][i]` is the old position of the
    unit that is new at i.

    >>> from starcli.symmetry.archspec.resolve import resolve_spec
    >>> from starcli.symmetry.archspec.spec import parse
    >>> spec = resolve_spec(parse("{format: 1, tensors: {w1: [h], w2: [_, h]}}"), {"w1": (3, 2), "w2": (1, 3)})
    >>> permutation = Permutation(spec, {"h": torch.tensor([2, 0, 1])})
    >>> permutation.apply({"w2": torch.tensor([[5.0, 6.0, 7.0]])})["w2"]
    tensor([[7., 5., 6.]])
    >>> permutation.compose(permutation.inverse()).is_identity()
    True
    >>> Permutation.identity(spec).index
    {'h': tensor([0, 1, 2])}
    """

    spec: Resolved
    index: Mapping[str, Tensor]

    def __repr__(self) -> str:
        """How many units move, in one line."""
        units = sum(each.numel() for each in self.index.values())
        groups = number_of(len(self.index), "group")
        return f"Permutation({self.moved()} of {number_of(units, 'unit')} move, in {len(self.moving)} of {groups})"

    @classmethod
    def identity(cls, spec: Resolved) -> "Permutation":
        """The permutation that moves nothing."""
        shapes = {group: spec.index_shape(group) for group in spec.groups}
        return cls(spec, {group: torch.arange(shape[-1]).expand(shape).clone() for group, shape in shapes.items()})

    @classmethod
    def random(cls, spec: Resolved, generator: torch.Generator) -> "Permutation":
        """A permutation drawn uniformly from all that the spec allows.

        >>> from starcli.symmetry.archspec.resolve import resolve_spec
        >>> from starcli.symmetry.archspec.spec import parse
        >>> spec = resolve_spec(parse("{format: 1, tensors: {w: [h]}}"), {"w": (3,)})
        >>> Permutation.random(spec, torch.Generator().manual_seed(0)).index["h"].sort().values
        tensor([0, 1, 2])
        """
        # float64: ties, which would favour the order that stands, are then out of reach.
        draws = {
            group: torch.rand(spec.index_shape(group), generator=generator, dtype=torch.float64)
            for group in spec.groups
        }
        return cls(spec, {group: draw.argsort(dim=-1) for group, draw in draws.items()})

    def to_tensors(self) -> dict[str, Tensor]:
        """The tensors of a file, one for each group; inverse of `from_tensors`."""
        return dict(self.index)

    @classmethod
    def from_tensors(cls, spec: Resolved, tensors: Mapping[str, Tensor]) -> "Permutation":
        """The permutation that the tensors of a file hold, one for each group.

        StarcliError lists every group that is missing, unknown or no permutation.

        >>> from starcli.symmetry.archspec.resolve import resolve_spec
        >>> from starcli.symmetry.archspec.spec import parse
        >>> spec = resolve_spec(parse("{format: 1, tensors: {w: [h]}}"), {"w": (3,)})
        >>> Permutation.from_tensors(spec, {"h": torch.tensor([2, 0, 1])}).moved()
        3
        """
        problems = [f"group {name}: missing" for name in spec.groups if name not in tensors]
        problems += [f"group {name}: the spec does not know it" for name in tensors if name not in spec.groups]
        for name in (name for name in spec.groups if name in tensors):
            index, shape = tensors[name], spec.index_shape(name)
            if index.dtype != torch.int64 or tuple(index.shape) != shape:
                problems.append(f"group {name}: {index.dtype} {tuple(index.shape)}, not torch.int64 {shape}")
            elif not torch.equal(index.sort(dim=-1).values, torch.arange(shape[-1]).expand(shape)):
                problems.append(f"group {name}: some unit stands twice or is out of range: this is no permutation")
        if problems:
            raise StarcliError("these tensors are no permutation of the spec's groups", problems)
        return cls(spec, {name: tensors[name].contiguous() for name in spec.groups})

    def sources(self, group: str) -> tuple[Tensor, ...]:
        """For each group around `group`, outermost first, the old position of every new unit, of shape (parents...)."""
        shape = self.spec.index_shape(group)[:-1]
        found = (self.index[name] for name in self.spec.ancestors(group))
        return tuple(index.reshape(*index.shape, *[1] * (len(shape) - index.dim())).expand(shape) for index in found)

    def inverse(self) -> "Permutation":
        """The permutation that undoes this one.

        q_h = p_h^-1, and for a group u within h: q_u[h] = p_u[q_h[h]]^-1.
        """
        made: dict[str, Tensor] = {}
        for group in self.spec.groups:
            rows = self.index[group][Permutation(self.spec, made).sources(group)]
            made[group] = rows.argsort(dim=-1)
        return Permutation(self.spec, made)

    def compose(self, then: "Permutation") -> "Permutation":
        """This permutation first, `then` after it. StarcliError where the two belong to different specs.

        c_h[i] = p_h[r_h[i]], and for a group u within h: c_u[h, i] = p_u[r_h[h], r_u[h, i]].
        """
        if then.spec != self.spec:
            raise StarcliError("the two permutations belong to different specs")

        def composed(group: str) -> Tensor:
            if then.moving.isdisjoint((group, *self.spec.ancestors(group))):
                return self.index[group]
            return self.index[group][then.sources(group)].gather(-1, then.index[group])

        return Permutation(self.spec, {group: composed(group) for group in self.spec.groups})

    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return not self.moving

    def moved(self, other: "Permutation | None" = None) -> int:
        """Number of units that stand elsewhere than in `other` (by default, than at first).

        Units of a nested group count once for each combination of units around them.
        """
        start = Permutation.identity(self.spec) if other is None else other
        return sum(int((index != start.index[group]).sum()) for group, index in self.index.items())

    @cached_property
    def moving(self) -> frozenset[str]:
        """Names of the groups of which some unit moves."""
        return frozenset(
            name
            for name, index in self.index.items()
            if not torch.equal(index, torch.arange(index.shape[-1]).expand_as(index))
        )

    @cached_property
    def _axis_indices(self) -> dict[tuple[str, torch.device], Tensor | None]:
        """By axis expression and device: the old position of every new one, None where it is the identity."""
        return {}

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The permuted tensors, new ones; those that no moving group touches are returned as they are.

        `tensors` may be any subset of the spec's tensors, those of stacks under the names of their members or of the
        stack. StarcliError names those that are unknown or of another shape.
        """
        seen = self.spec.seen(tensors)
        self._check(seen)
        permuted = {name: self._permuted(name, tensor, None) for name, tensor in seen.items()}
        if seen is tensors:
            return permuted
        named = unstacked(permuted, seen.keys() - tensors.keys())
        return {name: named[name] for name in tensors}

    def apply_(self, name: str, tensor: Tensor, out: Tensor) -> Tensor:
        """Write the permuted tensor `name` into `out` and return it.

        `out` has the shape of `tensor` and any dtype, and shares no memory with it; a stack is one tensor here.
        StarcliError as in `apply`.
        """
        self._check({name: tensor})
        result = self._permuted(name, tensor, out)
        return out.copy_(result) if result is not out else out

    def block(self, block: Block, tensor: Tensor) -> Tensor:
        """The block of `tensor`, permuted, of the shape `block.shape`; a view where nothing in it moves."""
        view = block.view(tensor)
        moving = [k for k, group in enumerate(block.groups) if self._moves(group)]
        # Groups before those within them, which count by the new positions of those around them.
        for k in sorted(moving, key=lambda k: len(block.parents[k])):
            index = self.index[str(block.groups[k])].to(tensor.device)
            if block.parents[k]:
                rows = spread_axes(index, (*block.parents[k], k), view.dim())
                plain = view.view(torch.uint8) if view.dtype.itemsize == 1 else view  # float8 cannot be gathered
                view = plain.gather(k, rows.expand(view.shape)).view(view.dtype)
            else:
                view = view.index_select(k, index)
        return view

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise StarcliError for tensors that the spec does not know or that have another shape."""
        if problems := outside_spec(tensors, self.spec.shapes):
            raise StarcliError("the tensors do not fit the spec of the permutation", problems)

    def _moves(self, group: str | None) -> bool:
        return group is not None and group in self.moving

    def _permuted(self, name: str, tensor: Tensor, out: Tensor | None) -> Tensor:
        """The permuted tensor `name`, in `out` where that is given; the tensor itself where nothing moves."""
        if name not in self.spec.blocks:
            return tensor
        if name in self.spec.dependent:
            return self._by_blocks(self.spec.blocks[name], tensor, out)  # no single index an axis will do
        indices = [self._axis_index(name, axis, tensor.device) for axis in range(tensor.dim())]
        steps = [(axis, index) for axis, index in enumerate(indices) if index is not None]
        if not steps:
            return tensor
        out = torch.empty_like(tensor, memory_format=torch.contiguous_format) if out is None else out
        for rows in row_slices(tensor) if len(steps) > 1 or out.dtype != tensor.dtype else [slice(None)]:
            part = tensor[rows] if indices[0] is None else tensor
            *before, (last, index) = [(axis, index if axis else index[rows]) for axis, index in steps]
            for axis, each in before:
                part = part.index_select(axis, each)
            if out.dtype == tensor.dtype:
                torch.index_select(part, last, index, out=out[rows])
            else:
                out[rows] = part.index_select(last, index)
        return out

    def _by_blocks(self, blocks: Sequence[Block], tensor: Tensor, out: Tensor | None = None) -> Tensor:
        """A tensor of these blocks, permuted one after the other; the tensor itself where nothing moves."""
        if not any(self._moves(group) for block in blocks for group in block.groups):
            return tensor
        result = torch.empty_like(tensor) if out is None else out
        for block in blocks:
            block.view(result).copy_(self.block(block, tensor))
        return result

    def _axis_index(self, name: str, axis: int, device: torch.device) -> Tensor | None:
        """The old position of every new one along an axis, on `device`; None where nothing moves."""
        key = (self.spec.expressions[name][axis], device)  # text: the hash of a long tree would be taken anew
        if key not in self._axis_indices:
            places = torch.arange(self.spec.shapes[name][axis])
            index = self._by_blocks(blocks(name, (self.spec.terms[name][axis],), self.spec.groups), places)
            self._axis_indices[key] = None if index is places else index.to(device)
        return self._axis_indices[key]
