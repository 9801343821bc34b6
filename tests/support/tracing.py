"""What old versions of torch cannot trace, or trace wrongly."""

from collections.abc import Sequence

from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.symmetry.derive.export import export


def traced_truly(network: nn.Module, example: Sequence[Tensor]) -> bool:
    """Whether torch.export finds the shape that the network gives.

    torch 2.6 errs in the last states of an LSTM, and cannot trace quantiles.
    """
    try:
        [output] = export(network, tuple(example)).graph.find_nodes(op="output")
    except StarcliError:
        return False
    return bool(output.args[0][0].meta["val"].shape == network(*example).shape)
