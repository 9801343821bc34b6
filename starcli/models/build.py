"""Networks by name: `build_network("resnet", width=8)` builds what `--arch resnet --arch-arg width=8` names."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError, first_line
from starcli.models import external
from starcli.models.arguments import Builder, check_arguments
from starcli.models.dtypes import AS_TWO_REAL_NUMBERS
from starcli.models.from_data import decided_by_data
from starcli.models.initialise import initialised, outlined
from starcli.models.logits import are_logits, how_to_wrap
from starcli.models.names import is_external
from starcli.registry.architectures import ARCHITECTURES
from starcli.registry.entry import lookup, resolve
from starcli.registry.tasks import CLASSES, MASKED_TOKEN, NEXT_TOKEN, OF_TOKENS
from starcli.runtime.blame import raised_at

MAXIMUM_PARAMETERS = 2_000_000_000
"""Largest number of parameters that are built: the largest published vision transformers fit.

A hostile checkpoint must not demand a terabyte.
"""


def build_network(
    name: str, /, *, generator: torch.Generator | None = None, trusted: bool = False, **arguments: Any
) -> nn.Module:
    """Build a network of architecture `name`, on the CPU, float32, in train mode.

    generator: source of the initial weights, drawn as each layer's author drew them; None means a generator seeded with
        0, so that the same call makes the same network. The global generator is left as it was.
    trusted: allow names outside the registry ("torchvision:NAME", "timm:NAME", "package.module:callable"), which import
        code; only for names from the command line.
    arguments: those of the architecture's function; what is left out has its default.

    Raises StarcliError for an unknown name or argument, a wrong type, sizes that do not fit together, or more than
    `MAXIMUM_PARAMETERS` parameters.

    >>> network = build_network("mlp", hidden_dim=16, input_size=4, num_classes=3)
    >>> network(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    if is_external(name):
        function = external.external_builder(name, trusted=trusted)
        return initialised(lambda: external.build_external(name, function, arguments), generator)
    function = builder_of(name)
    values = check_arguments(name, function, arguments)
    _outline(name, function, values)
    return initialised(lambda: function(**values), generator)


def build_outline(name: str, /, **arguments: Any) -> nn.Module:
    """Build a registry architecture on the meta device: all names and shapes, no memory.

    Errors as of `build_network`.
    """
    function = builder_of(name)
    return _outline(name, function, check_arguments(name, function, arguments))


def runnable(network: nn.Module) -> nn.Module:
    """`network` itself where it has values; an outline becomes a network of zeros on the CPU.

    To run an outline where it is would import torch's compiler: 1.7 s at every start of a command (measured). The same
    goes for `to_empty`.
    """
    for module in network.modules():
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in tensors:
            if tensor.is_meta:
                zeros = torch.zeros(tensor.shape, dtype=tensor.dtype)
                setattr(module, name, nn.Parameter(zeros) if isinstance(tensor, nn.Parameter) else zeros)
    return network


def complete_arguments(
    name: str,
    arguments: Mapping[str, Any],
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    vocab_size: int | None = None,
    task: str = CLASSES,
    trusted: bool = False,
) -> dict[str, Any]:
    """All arguments of an architecture for data of `input_shape` (C, H, W), (D,) or (length,), as JSON values.

    What data decide (channels, image or input size, classes; the number of tokens that there are, the length of a text,
    and by the `task` whether next tokens are predicted) is filled in where the architecture has such an argument;
    everything else has the value given or its default. The network is then run on one batch of that shape. Raises
    StarcliError where given arguments contradict the data, or the network does not accept such inputs.

    >>> complete_arguments("resnet", {"width": 4}, input_shape=(1, 8, 8), num_classes=10)
    {'blocks': 1, 'width': 4, 'stages': 3, 'activation': 'relu', 'in_channels': 1, 'num_classes': 10}
    """
    inputs = torch.zeros(2, *input_shape, dtype=torch.float32 if vocab_size is None else torch.int64)
    outputs = (*input_shape, num_classes) if task in OF_TOKENS else (num_classes,)
    from_data = decided_by_data(input_shape, num_classes, vocab_size, task)
    if is_external(name):
        function = external.external_builder(name, trusted=trusted)
        values = {**external.arguments_from_data(name, function, from_data), **arguments}
        network = initialised(lambda: external.build_external(name, function, values), torch.Generator())
        if any(parameter.is_complex() for parameter in network.parameters()):
            raise StarcliError(
                f"architecture {name} has complex parameters, which are not supported", [AS_TWO_REAL_NUMBERS]
            )
        check_forward(name, network, inputs, outputs)
        return values
    function = builder_of(name)
    known = inspect.signature(function).parameters
    _refuse_misfit(name, known, from_data, input_shape, task)
    decided = {key: value for key, value in from_data.items() if key in known}
    values = check_arguments(name, function, {**decided, **arguments})
    _compare(name, values, decided)
    check_forward(name, runnable(_outline(name, function, values)), inputs, outputs)
    return values


def builder_of(name: str) -> Builder:
    """Function that builds a registry architecture. Raises StarcliError for an unknown name."""
    lookup(ARCHITECTURES, "architecture", name)
    function: Builder = resolve(ARCHITECTURES, "architecture", name)
    return function


def _outline(name: str, function: Builder, values: Mapping[str, Any]) -> nn.Module:
    """Outline of a network. Raises StarcliError for more than MAXIMUM_PARAMETERS."""
    network = outlined(lambda: function(**values))
    size = sum(parameter.numel() for parameter in network.parameters())
    if size > MAXIMUM_PARAMETERS:
        raise StarcliError(
            f"architecture {name}: {size:,} parameters, more than the {MAXIMUM_PARAMETERS:,} that are allowed"
        )
    return network


def _refuse_misfit(
    name: str, known: Collection[str], from_data: Mapping[str, Any], input_shape: tuple[int, ...], task: str
) -> None:
    """Raise StarcliError for an architecture, by the names of its arguments, that is not for such data."""
    if "vocab_size" not in from_data:
        if "vocab_size" in known:
            raise StarcliError(f"architecture {name} needs tokens, as of texts", ["mlp takes inputs of any shape"])
        if "in_channels" in known and "in_channels" not in from_data:
            raise StarcliError(
                f"architecture {name} needs images (channels, height, width), not inputs of shape {input_shape}",
                ["mlp takes inputs of any shape"],
            )
    elif "vocab_size" not in known:
        raise StarcliError(f"architecture {name} takes no tokens", ["bag, textcnn, bert and gpt do"])
    elif task == MASKED_TOKEN:
        hint = "hf:BertForMaskedLM and its like do, as directories of Hugging Face, and networks of your own"
        raise StarcliError(f"architecture {name} does not predict masked tokens", [hint])
    elif task == NEXT_TOKEN and "next_token" not in known:
        raise StarcliError(f"architecture {name} predicts the class of a text, not next tokens", ["gpt does either"])


MAY_BE_MORE = ("num_classes", "vocab_size")
"""Arguments of which a network may have more than the data: a head or embeddings that are kept from elsewhere."""


def _compare(name: str, values: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise StarcliError where arguments contradict those that the data decide."""
    problems = [
        f"{key}: {values[key]} given, {value} in the data"
        for key, value in expected.items()
        if (values[key] < value if key in MAY_BE_MORE else values[key] != value)
    ]
    if problems:
        raise StarcliError(f"architecture {name}: arguments that contradict the data", problems)


class MisfitError(StarcliError):
    """A network and the inputs or classes of data that do not fit each other."""


def check_forward(name: str, network: nn.Module, inputs: Tensor, expected: tuple[int, ...] | None = None) -> Any:
    """Run `network` once on `inputs`, in eval mode: its outputs.

    Raises MisfitError where it does not accept `inputs`, or its outputs are not (B, *expected): (classes,), or (length,
    classes) of tokens; None stands for any outputs. More outputs than classes are a head kept from elsewhere:
    losses, accuracies and probabilities are defined all the same.
    """
    size = _sizes(inputs.shape[1:])
    try:
        with torch.no_grad():
            outputs = network.eval()(inputs)
    except Exception as error:  # a network of the user's own may raise anything
        hints = [TOKENS] if expected is None and _takes_tokens(network, inputs) else []
        if _takes_one(network, inputs):
            shape = ", ".join(map(str, inputs.shape[1:]))
            hints.append(f"it takes one input at a time: forward gets several, (N, {shape})")
        if not inputs.is_floating_point():
            hints = [
                f"the largest token is {int(inputs.max())}",
                LENGTH,
                *([PADDED] if bool((inputs < 0).any()) else []),
            ]
        raise MisfitError(
            f"architecture {name} does not admit inputs of {size}", [first_line(error), *raised_at(error), *hints]
        ) from error
    if expected is not None and not are_logits(outputs, (len(inputs), *expected)):
        found = tuple(outputs.shape[1:]) if isinstance(outputs, Tensor) else type(outputs).__name__
        hints = [hint for shapes, hint in ODD_OUTPUTS.items() if shapes == (found, expected)]
        raise MisfitError(
            f"architecture {name}: outputs {found} for inputs of {size}, expected {_sizes(expected)} logits",
            [*how_to_wrap(outputs), *hints],
        )
    return outputs


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


PADDED = "behind a text stands the token -1: ids.clamp(min=0) can be embedded, ids >= 0 is a mask"
"""What helps where a network was given the padding of texts."""

LENGTH = "--length says how many tokens of a text are read"
"""What helps where texts are longer, or shorter, than a network takes."""

ODD_OUTPUTS = {
    ((1,), (2,)): "--task multi-label takes 0 and 1 as a label of one output (binary cross-entropy)",
    ((), (1,)): "one number for each example is (N, 1): leave out squeeze(-1) or flatten()",
}
"""What helps where outputs of an example have the first shape and the second was expected."""

TOKENS = "it takes integers: --input-dtype int64 says that inputs are tokens"
"""What helps where a network of tokens was given floats."""


def output_of(network: nn.Module, inputs: Tensor) -> Any:
    """What a network computes, or None where it does not admit `inputs`."""
    try:
        with torch.no_grad():
            return network.eval()(inputs)
    except Exception:  # a network of the user's own may raise anything
        return None


def _takes_tokens(network: nn.Module, inputs: Tensor) -> bool:
    """Whether a network that fails on `inputs`, which are floats, takes integers."""
    return inputs.is_floating_point() and output_of(network, torch.zeros_like(inputs, dtype=torch.int64)) is not None


def _takes_one(network: nn.Module, inputs: Tensor) -> bool:
    """Whether a network that fails on `inputs` takes the first of them, and not for a batch."""
    found = output_of(network, inputs[0])
    return isinstance(found, Tensor) and found.shape[:1] != inputs.shape[1:2]
