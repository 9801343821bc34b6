"""Network and data in memory, which a caller of the library gives in the place of names."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from starcli.checkpoints.metadata import Architecture, DataRecord
from starcli.data.dataset import Dataset
from starcli.data.names import IN_MEMORY
from starcli.errors import StarcliError
from starcli.models.inputs import parse_input_shape
from starcli.workspace.choices import Choices

NetworkBuilder = Callable[[torch.Generator | None], torch.nn.Module]
"""Makes a network, its weights drawn from a generator (None: they will be loaded)."""


@dataclass(frozen=True)
class Given:
    """Network and data that a caller of the library has in memory, and what its process admits."""

    dataset: Dataset | None = None
    train_dataset: Dataset | None = None
    """In the place of `--train-data`."""
    builder: NetworkBuilder | None = None
    own_process: bool = True
    """Whether freed memory may be kept, as suits the program; a library's caller may want it otherwise."""

    def architecture(self, data: DataRecord | None, choices: Choices) -> Architecture | None:
        """The architecture of the network in memory, known by its input alone; None where there is no such network."""
        if self.builder is None:
            return None
        dtype = choices.input_dtype or "float32"
        if data is not None:
            shape, dtype = tuple(data.input_shape), data.input_dtype
        elif choices.input is not None:
            shape = parse_input_shape(choices.input)
        else:
            raise StarcliError("data or an input shape is needed: data=..., or input_shape=(...) of one example")
        return Architecture.model_validate({"name": IN_MEMORY, "input_shape": list(shape), "input_dtype": dtype})


NOTHING_GIVEN = Given()
"""Names say everything."""
