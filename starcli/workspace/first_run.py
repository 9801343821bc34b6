"""The first run of a network: whether it takes the data, and returns what is to be predicted of them."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from starcli.checkpoints.metadata import Architecture
from starcli.data.splits import MemorySplit
from starcli.errors import StarcliError, number_of
from starcli.huggingface.directory import PREFIX
from starcli.models.build import MisfitError, check_forward
from starcli.models.external import is_of_library
from starcli.models.from_data import SYNONYMS
from starcli.models.huggingface import end_of_texts
from starcli.models.input_hints import input_explained
from starcli.models.inputs import extreme_tokens
from starcli.models.logits import doubts_of_logits, doubts_of_passes, looks_ahead
from starcli.models.outside_state import refuse_outside_state
from starcli.registry.tasks import MULTI_LABEL, REGRESSION
from starcli.symmetry.proof.redraw import fresh_inputs
from starcli.workspace.data_notes import misfits_explained

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


def run_once(network: torch.nn.Module, workspace: "Workspace") -> list[str]:
    """Run a network once and compare its outputs with the data; return notes on what is doubtful in them.

    It must have an output for each class, or just one for each column that is predicted: StarcliError else. A network
    of the user's own may be another one afterwards.
    """
    architecture, data = workspace.architecture, workspace.data
    if data is None:
        with input_explained(workspace.choices.input, network, architecture.input_dtype):
            check_forward(architecture.name, network, workspace.example())
        _refuse_outside_state(network, workspace, workspace.example())
        return []
    inputs = torch.zeros(2, *data.input_shape, dtype=torch.float32)
    if data.vocab_size is not None:
        padded = workspace.opened is not None and workspace.opened.padded
        inputs = extreme_tokens(data.input_shape, data.vocab_size, padded=padded)
        splits = [] if workspace.opened is None else [workspace.opened.train, workspace.opened.test]
        for split in splits:
            if isinstance(split, MemorySplit):
                refuse_texts_without_end(network, architecture, split.raw, f"data {data.name}")
    with misfits_explained(workspace.opened):
        outputs = check_forward(architecture.name, network, inputs, data.output_shape)
    doubts = []
    if workspace.is_users_own:
        doubts = doubts_of_passes(network, workspace.example() if data.vocab_size is None else inputs)
    if data.next_token and looks_ahead(network, extreme_tokens(data.input_shape, data.vocab_size or 1)):
        hint = "each output may depend on the tokens up to its own: a causal mask is needed"
        raise StarcliError(f"the network {architecture.name} looks at the tokens that it is to predict", [hint])
    _refuse_outside_state(network, workspace, workspace.example() if data.vocab_size is None else inputs)
    if data.task_name in (REGRESSION, MULTI_LABEL):
        if outputs.shape[-1] != data.num_classes:
            columns = f"{number_of(data.num_classes, 'column')} of the data"
            hint = f"an argument num_classes is set by the data; of another name by --arch-arg NAME={data.num_classes}"
            fixed = workspace.builder is not None or is_of_library(architecture.name)
            raise MisfitError(
                f"the network has {number_of(outputs.shape[-1], 'output')} to predict {columns}",
                [] if fixed else [hint],
            )
        return doubts
    # more classes than the data have are no surprise where an argument says how many
    names = SYNONYMS["vocab_size" if data.per_token else "num_classes"]
    said = {architecture.arguments.get(name) for name in names}
    return [*doubts, *doubts_of_logits(outputs, outputs.shape[-1] if outputs.shape[-1] in said else data.num_classes)]


def refuse_texts_without_end(network: nn.Module, architecture: Architecture, tokens: Tensor, where: str) -> None:
    """Raise StarcliError for rows of tokens (N, length) without the one at which a network of `transformers` reads."""
    end, name = end_of_texts(network), architecture.name.removeprefix(PREFIX)
    if end is None or not (missing := int((~(tokens == end).any(dim=1)).sum())):
        return
    hint = "the model's own tokenizer ends each text so: --tokenizer names one"
    raise StarcliError(
        f"{where}: {missing} of {len(tokens)} texts have no token {end}, at which {name} reads them", [hint]
    )


def _refuse_outside_state(network: torch.nn.Module, workspace: "Workspace", inputs: torch.Tensor) -> None:
    """See `refuse_outside_state`: for networks of the user's own, where there is a way to build another."""
    if not workspace.is_users_own:
        return
    try:
        other = workspace.build(torch.Generator().manual_seed(1))
    except StarcliError:  # a module in memory whose weights cannot be drawn
        other = workspace.build()
    [fresh] = fresh_inputs(network, (inputs,), torch.Generator().manual_seed(1))
    refuse_outside_state(workspace.architecture.name, network, other, fresh)
