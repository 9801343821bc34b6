"""What to type where a network does not admit inputs of the shape that `--input` says: the batch is its first size."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from starcli.models.build import TOKENS, MisfitError, output_of
from starcli.models.inputs import example_input, parse_input_shape


@contextmanager
def input_explained(words: str | None, network: nn.Module, dtype: str) -> Iterator[None]:
    """Add to the MisfitError of a network which `--input` it takes, if the batch, or an axis of size 1, is the matter.

    words: `--input`; None where something else said what an input is. dtype: of inputs, see `example_input`.

    >>> with input_explained("2,3", nn.Sequential(nn.Flatten(), nn.Linear(6, 2)), "float32"):
    ...     raise MisfitError("no such inputs")
    Traceback (most recent call last):
    starcli.models.build.MisfitError: no such inputs
      --input 1,2,3 is taken, whose first size is the batch
    """
    try:
        yield
    except MisfitError as error:
        if words is None or TOKENS in error.problems:
            raise
        raise MisfitError(error.summary, [*error.problems, _hint(words, network, dtype)]) from error


def _hint(words: str, network: nn.Module, dtype: str) -> str:
    """The line that the network takes, of those that people mix up with `words`; else what `words` say."""
    shape = parse_input_shape(words)
    batch = int(words.partition(",")[0])
    others = [(batch, *shape), (1, batch, *shape), *([shape[1:]] if len(shape) > 1 and shape[0] == 1 else [])]
    for other in others:
        if output_of(network, example_input(other, dtype)) is not None:
            return f"--input 1,{','.join(map(str, other))} is taken, whose first size is the batch"
    return f"its first size is the batch, so that --input {words} says inputs of {'x'.join(map(str, shape))}"
