"""LoRA adapters, from Python."""

import os
from collections.abc import Sequence

from starcli.errors import need_several
from starcli.files.names import as_path
from starcli.huggingface.adapter_means import averaged_adapters
from starcli.huggingface.adapters import Adapter, read_adapter
from starcli.library.calls import library_call
from starcli.library.inputs import Numbers, as_weights, listed


@library_call
def mean_adapter(
    adapters: Sequence[str | os.PathLike[str]],
    *,
    weights: Numbers | None = None,
    normalise_weights: bool = True,
) -> Adapter:
    """Average LoRA adapters of one base, exactly: an adapter whose rank is the sum of theirs.

    adapters: their folders, as the package `peft` writes them. weights: one each, by default 1 each; they are divided
    by their sum (`normalise_weights`). The mean of the changes W + s B A of the base, not of the factors B and A, which
    is another: `sc.save(mean, "mean")` writes it. StarcliError for adapters that do not go together.

    >>> import starcli as sc
    >>> mean = sc.mean_adapter(["adapter_a", "adapter_b"], weights=[1, 3])  # doctest: +SKIP
    >>> mean.config["r"]  # doctest: +SKIP
    16
    """
    numbers = as_weights(weights)
    places = [as_path(each) for each in listed(adapters, "adapters")]
    need_several(places, "adapters")
    return averaged_adapters([read_adapter(place) for place in places], numbers, divide=normalise_weights)
