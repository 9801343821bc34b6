"""The network that `starcli spec` reports on, and the spec that a command names for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from starcli.checkpoints import checkpoint
from starcli.checkpoints.metadata import Architecture
from starcli.data.dataset import open_data
from starcli.errors import StarcliError
from starcli.models.build import build_network, check_forward
from starcli.models.input_hints import input_explained
from starcli.models.inputs import (
    complete_for_input,
    default_input_dtype,
    default_input_shape,
    example_input,
    parse_input_shape,
)
from starcli.models.names import recorded_name
from starcli.registry.architectures import ARCHITECTURES
from starcli.runtime.threads import choose_threads
from starcli.symmetry.archspec.library import load_spec, shipped_specs
from starcli.symmetry.archspec.lines import claimed_kinds
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import GroupLine, Spec
from starcli.symmetry.derive.derive import derive
from starcli.symmetry.find import recorded_spec
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.read_spec import written_kinds
from starcli.symmetry.shipped import pattern_variables, shipped_spec
from starcli.workspace.agreement import unsaid_words
from starcli.workspace.choices import Choices
from starcli.workspace.directories import directory_among, settled_by
from starcli.workspace.spec_files import is_checkpoint, spec_in


@dataclass(frozen=True)
class SpecNetwork:
    """A built network, an example input, the shipped spec if there is one, and the variables of spec patterns."""

    name: str
    module: nn.Module
    example: tuple[Tensor, ...]
    variables: Mapping[str, int]
    shipped: Spec | None

    @classmethod
    def of(cls, choices: Choices, given: str | None) -> "SpecNetwork":
        """Build the network that the options name; without `--arch`, that of a checkpoint or of a shipped spec's name.

        `given` is the spec's name, file or checkpoint. StarcliError where it remains open which network is meant.
        """
        choices = settled_by(directory_among(choices), choices, recorded=False)
        recorded = None
        if given is not None and is_checkpoint(given):
            recorded = checkpoint.read_metadata(Path(given))[1].architecture
            if recorded is None and choices.arch is None:
                raise StarcliError(f"{given}: does not say what network it is; give --arch")
        if recorded is not None and choices.arch_name not in (None, recorded.name):
            recorded = None
        if recorded is not None and (problems := unsaid_words(recorded, choices.arch_args)):
            raise StarcliError("what the checkpoint does not settle is needed again", problems)
        name = choices.arch or (recorded.name if recorded else given if given in ARCHITECTURES else None)
        if name is None:
            raise StarcliError("--arch is needed: the network that the spec is of")
        arguments = {**(recorded.arguments if recorded else {}), **choices.arch_args}
        shape, dtype = _input(name, arguments, choices, recorded)
        dtype = choices.input_dtype or dtype
        trusted = choices.arch is not None
        complete = complete_for_input(name, arguments, shape, trusted=trusted)
        module, example = build_network(name, trusted=trusted, **complete), example_input(shape, dtype)
        with input_explained(choices.input, module, dtype):
            check_forward(name, module, example)
        if choices.threads is not None:
            choose_threads(module, example, choices.threads)
        spec, variables = shipped_spec(name, complete) or (None, {})
        return cls(recorded_name(name), module, (example,), {**pattern_variables(arguments), **variables}, spec)

    def resolve(self, given: str | None) -> Resolved:
        """The spec that `given` names (a shipped name, a file, a checkpoint), resolved against the network's tensors.

        Without `given`, the shipped spec, or a derived one where none is shipped.
        """
        if given is None and self.shipped is None:
            return derive(self.module, self.example).resolved
        if given is not None and is_checkpoint(given):
            return recorded_spec(self.module, spec_in(given))
        spec = self._as_written(given)
        assert spec is not None
        return resolve_for(self.module, spec, self.variables)

    def claims(self, given: str | None, resolved: Resolved) -> dict[str, GroupLine]:
        """By group what the spec that `given` names says of kinds; nothing for a checkpoint, which records none."""
        spec = self._as_written(given)
        return {} if spec is None else claimed_kinds(spec, resolved.groups, self.variables)

    def written(self, given: str | None, resolved: Resolved) -> Kinds | None:
        """The kinds that the spec that `given` names writes, not proved; None where it does not say how they act."""
        spec = self._as_written(given)
        return None if spec is None else written_kinds(spec, resolved, self.variables)

    def _as_written(self, given: str | None) -> Spec | None:
        if given is None:
            return self.shipped
        if is_checkpoint(given):
            return None
        spec = load_spec(given)
        # the network's own by its name: without kinds where they are those of another activation
        own = self.shipped is not None and given in shipped_specs() and spec.source == Path(self.shipped.source).name
        return self.shipped if own else spec


def _input(
    name: str, arguments: Mapping[str, Any], choices: Choices, recorded: Architecture | None
) -> tuple[tuple[int, ...], str]:
    """Shape and type of one input, as --input says, or the data, or the checkpoint, or the network's arguments."""
    dtype = recorded.input_dtype if recorded else default_input_dtype(name, arguments)
    if choices.input is not None:
        return tuple(parse_input_shape(choices.input)), dtype
    if choices.data is not None:
        data = open_data(
            choices.data,
            data_dir=choices.data_dir,
            download=choices.download,
            image_size=choices.image_size,
            texts=choices.texts,
        )
        return tuple(data.input_shape), "float32" if data.vocab_size is None else "int64"
    return tuple(default_input_shape(name, arguments) if recorded is None else recorded.input_shape), dtype
