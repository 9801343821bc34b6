"""Following a network: labels of atoms are carried through the graph of ATen operators that torch.export gives.

What depends on no input and no float tensor is computed (masks, index tables); everything else is traced. An operator
without a rule freezes what it touches, and is reported with the line of the model's own source.
"""

import operator
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import fx
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_leaves

from starcli.symmetry.derive import nodes
from starcli.symmetry.derive.algebra import pin
from starcli.symmetry.derive.call import Call, Parameter, Unknown, fixed
from starcli.symmetry.derive.chosen import settle
from starcli.symmetry.derive.lists import MemberList
from starcli.symmetry.derive.members import ListMembers, laid_in_stacks, members_of
from starcli.symmetry.derive.rules.all_rules import RULES
from starcli.symmetry.derive.rules.elementwise import elementwise
from starcli.symmetry.derive.rules.named_units import with_names
from starcli.symmetry.derive.rules.shape import laid_anew
from starcli.symmetry.derive.rules.write import put_back
from starcli.symmetry.derive.trace import Trace
from starcli.symmetry.derive.values import Value

_PICKING = {"slice", "narrow", "select", "index", "index_select"}
"""Operators that read a part of their operand."""
_RANDOM = {"rand", "randn", "randint", "rand_like", "randn_like", "bernoulli", "normal", "randperm"}
"""Operators that draw: their results are no constants, whatever they depend on."""
_BLOCKS = {"wrap", "wrap_with_set_grad_enabled", "wrap_with_autocast", "wrap_activation_checkpoint"}
"""Operators of graphs that do what their graph does, with the operands behind it."""


def follow(trace: Trace, program: Any, lists: Sequence[MemberList] = ()) -> list[ListMembers]:
    """Carry labels through the whole exported program; what reaches an output is fixed.

    Returns the members of `lists`, which may change places, with their atoms.
    """
    members = [members_of(trace, each) for each in lists]
    environment = {node: _input(trace, program, node, spec) for node, spec in nodes.inputs(program)}
    graph = _Graph(trace, program.graph_module, environment, members)
    for leaf in tree_leaves(graph.run()):
        value = leaf.value if isinstance(leaf, Parameter) else leaf
        if isinstance(value, Value):
            pin(trace.atoms, value, "an output of the network")
            if value.names is not None and value.names.meaning != "counts":
                trace.atoms.pin(value.names.units, "an output of the network")
    for each in members:
        if not laid_in_stacks(trace, each):
            trace.atoms.pin(each.labels, "members with tensors that are used in different ways")
    settle(trace.atoms, [parameter.value for parameter in trace.parameters.values()])
    return members


def _input(trace: Trace, program: Any, node: fx.Node, spec: Any) -> Any:
    """What a placeholder stands for: a parameter, a constant tensor, or a value with fixed positions."""
    if spec.target is not None and trace.same.get(spec.target) is not None:
        return trace.parameters[trace.same[spec.target]]
    found = node.meta.get("val")
    if not isinstance(found, torch.Tensor):
        return found
    if spec.kind in (InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
        tensors = program.constants if spec.target in program.constants else program.state_dict
        tensor = tensors.get(spec.target)
        # in checkpoints float buffers are as unknown as parameters (the proof redraws them), and what has one value
        # throughout, as a mask of which nothing was pruned yet; other integers are what they are
        unknown = tensor is not None and spec.persistent and (tensor.is_floating_point() or _is_uniform(tensor))
        if tensor is not None and not unknown:
            return tensor.clone()  # the graph may write into it
    kind = "an input of the network" if spec.kind == InputKind.USER_INPUT else f"the constant {spec.target}"
    return fixed(trace.atoms, tuple(found.shape), range(found.dim()), kind)


def _is_uniform(tensor: torch.Tensor) -> bool:
    """Whether a tensor of several numbers has but one of them."""
    return tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all())


class _Graph:
    """One graph, or a graph nested in it, that is being followed."""

    def __init__(
        self,
        trace: Trace,
        module: fx.GraphModule,
        environment: dict[fx.Node, Any],
        members: Sequence[ListMembers] = (),
    ) -> None:
        self.trace, self.module, self.environment, self.members = trace, module, environment, members

    def run(self) -> Any:
        """The results, as nested as the graph gives them."""
        alive = nodes.alive(self.module.graph)
        for node in self.module.graph.nodes:
            if node.op == "call_function" and node not in alive:
                self.environment[node] = Value(())
            elif node.op == "get_attr":
                self.environment[node] = self.attribute(str(node.target))
            elif node.op == "call_function":
                self.environment[node] = self.function(node)
            elif node.op == "output":
                return self.resolve(node.args[0])
        return None

    def attribute(self, name: str) -> Any:
        found: Any = self.module
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def resolve(self, argument: Any) -> Any:
        return fx.node.map_arg(argument, lambda node: self.environment[node])

    def function(self, node: fx.Node) -> Any:
        """The value of one call."""
        row = next((found for each in self.members if (found := each.row_of(node)) is not None), None)
        if row is not None:
            return row
        args, kwargs = self.resolve(node.args), self.resolve(node.kwargs)
        if node.target is operator.getitem:
            return args[0][args[1]]
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            return self.nested(node, args)
        leaves = tree_leaves((args, kwargs))
        traced = any(isinstance(leaf, Value | Parameter) for leaf in leaves)
        name = nodes.name(node.target)
        if name in nodes.UNWRITTEN:
            return torch.zeros(node.meta["val"].shape, dtype=node.meta["val"].dtype)  # nothing may follow from it
        if traced and name in nodes.CREATION:
            return self.created(node)
        if not traced and name not in _RANDOM:
            return node.target(*args, **kwargs)  # type: ignore[operator]
        if node.meta.get("val") is None:
            return None  # an assertion
        result = self.call(node, name, args, kwargs)
        if nodes.mutates(node.target):
            self.written(node, result)
        return result

    def created(self, node: fx.Node) -> Any:
        """A fresh tensor that takes only shape and type from a traced one."""
        found = node.meta["val"]
        name, rest = nodes.name(node.target), self.resolve(node.args[1:])
        like = torch.empty(found.shape, dtype=found.dtype)
        if name.endswith("_like"):
            return node.target(like, *rest, **{k: v for k, v in node.kwargs.items() if k == "fill_value"})  # type: ignore[operator]
        if name in ("new_zeros", "new_ones", "new_full"):
            return node.target(like, *rest, dtype=found.dtype)  # type: ignore[operator]
        return fixed(self.trace.atoms, tuple(found.shape), range(found.dim()), nodes.where(node))

    def nested(self, node: fx.Node, args: Sequence[Any]) -> Any:
        """A block under no_grad or autocast: its graph is followed. What else takes a graph (cond) has no rule."""
        at = next((i for i, each in enumerate(args) if isinstance(each, fx.GraphModule)), None)
        if at is None or nodes.name(node.target) not in _BLOCKS:
            return self.unknown(node, args)
        inner = args[at]
        names = [each for each in inner.graph.nodes if each.op == "placeholder"]
        if len(names) != len(args) - at - 1:
            return self.unknown(node, args)
        return _Graph(self.trace, inner, dict(zip(names, args[at + 1 :], strict=True))).run()

    def call(self, node: fx.Node, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Results by the operator's rule; without one, everything that the operator touches is pinned."""
        function = RULES.get(name) if isinstance(node.target, torch._ops.OpOverload) else None
        if function is None and nodes.is_pointwise(node.target):
            function = elementwise
        whole = nodes.cut_and_laid(node)
        if whole is not None and isinstance(value := self.environment[whole[0]], Value):
            function = partial(laid_anew, value=value, axis=whole[1], count=whole[2], cut=whole[3])
        function = next((own for each in self.members if (own := each.rule_of(node)) is not None), function)
        self.trace.step += 1
        if function is not None:
            try:
                result = with_names(self.bind(node, name, args, kwargs), function)
                self.read(name, tree_leaves((args, kwargs)), result)
                return result
            except (Unknown, ValueError, IndexError, KeyError, RuntimeError, TypeError):
                return self.unknown(node, (args, kwargs))
        return self.unknown(node, (args, kwargs))

    def read(self, name: str, arguments: Sequence[Any], result: Any) -> None:
        """Note which positions of its parameters the operator takes up."""
        results = result if isinstance(result, tuple) else (result,)
        by_input = any(isinstance(each, Value) for each in arguments)
        for each in arguments:
            if isinstance(each, Parameter) and name in _PICKING and not by_input:
                found = [factor.reshape(-1) for value in results for factor in value.factors]
                self.trace.pieces.setdefault(each.name, []).extend(found)
            elif isinstance(each, Parameter):
                self.trace.whole.add(each.name)

    def bind(self, node: fx.Node, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        """Arguments by schema name; parameters stand for their present value."""
        schema = node.target._schema.arguments  # type: ignore[union-attr]
        named = {each.name: each.default_value for each in schema if each.has_default_value()}
        named |= {each.name: value for each, value in zip(schema, args, strict=False)} | dict(kwargs)
        parameters = {key: value for key, value in named.items() if isinstance(value, Parameter)}
        for leaf in tree_leaves(named):
            if isinstance(leaf, Parameter) and leaf.first_use is None:
                leaf.first_use = self.trace.step
        shapes, many = nodes.shapes(node)
        return Call(
            atoms=self.trace.atoms,
            name=name,
            target=node.target,  # type: ignore[arg-type]
            arguments=_present(named),
            args=tuple(_present(list(args))),
            kwargs=_present(dict(kwargs)),
            shapes=shapes,
            many=many,
            where=nodes.where(node),
            step=self.trace.step,
            used=nodes.used(node),
            has_mask=nodes.has_mask(node),
            parameters=parameters,
        )

    def unknown(self, node: fx.Node, touched: Any) -> Any:
        """Pin all operands of an operator that no rule covers; the results have fixed positions."""
        reason = f"no rule for {nodes.where(node)}"
        if reason not in self.trace.notes:
            self.trace.notes.append(reason)
        for leaf in tree_leaves(touched):
            value = leaf.value if isinstance(leaf, Parameter) else leaf
            if isinstance(value, Value):
                pin(self.trace.atoms, value, reason)
                if value.names is not None:
                    self.trace.atoms.pin(value.names.units, reason)
        shapes, many = nodes.shapes(node)
        values = tuple(fixed(self.trace.atoms, shape, range(len(shape)), reason) for shape in shapes)
        return values if many else values[0]

    def written(self, node: fx.Node, result: Any) -> None:
        """Put the result of an in-place operator in the place of its operand, and into what that is a view of."""
        target = node.args[0]
        if not isinstance(target, fx.Node):
            return
        chain, base = [target], nodes.shows(target)
        while base is not None:
            chain.append(base)
            base = nodes.shows(base)
        others = [user for user in (*chain[-1].users, *target.users) if user is not node]
        zeros = nodes.name(node.target) == "zero"  # labels may stay: should too much move, the proof refuses it
        if len(chain) > 1 and not zeros and any(other is not target for other in others):
            self.put_into(chain, node, result)
        self.environment[target] = result

    def put_into(self, chain: Sequence[fx.Node], node: fx.Node, part: Any) -> None:
        """Put what `node` wrote into a view into all that this is a view of; pin the last where other views remain."""
        base = chain[-1]
        before = self.environment[base]
        try:
            if any(nodes.is_shown_later(each, node, chain) for each in chain):
                raise Unknown
            for view, of in pairwise(chain):
                if view.target is operator.getitem:
                    raise Unknown
                call = self.bind(view, nodes.name(view.target), self.resolve(view.args), self.resolve(view.kwargs))
                part = put_back(call, call.name, call.value("self"), part)
                self.environment[of] = part
        except (Unknown, KeyError):
            self.unknown(node, [before, part])
            shape = tuple(base.meta["val"].shape)
            self.environment[base] = fixed(self.trace.atoms, shape, range(len(shape)), nodes.where(node))


def _present(argument: Any) -> Any:
    """The argument with values in place of parameters."""
    if isinstance(argument, Parameter):
        return argument.value
    if isinstance(argument, dict):
        return {key: _present(value) for key, value in argument.items()}
    if isinstance(argument, list | tuple):
        return [_present(value) for value in argument]
    return argument
