"""One small model of each family of timm, without weights: python tests/benchmarks/derive_timm.py [NAME...]

Needs the package `timm`, which starcli itself does not.
"""

from functools import partial

import timm
import torch
from derive_table import Subject, main

LARGEST = 30_000_000
"""Parameters: the proof works in float64."""


def families() -> list[str]:
    """The smallest model of each module that defines some, by parameters on the meta device."""
    chosen = []
    for module in sorted(timm.list_modules()):
        sizes = []
        for name in timm.list_models(module=module):
            with torch.device("meta"):
                try:
                    sizes.append((sum(p.numel() for p in timm.create_model(name).parameters()), name))
                except Exception:  # some constructors compute with values, which a meta device has not
                    sizes.append((LARGEST, name))
            if len(sizes) == 12:
                break
        if sizes and min(sizes)[0] <= LARGEST:
            chosen.append(min(sizes)[1])
    return chosen


def subjects() -> list[Subject]:
    found = []
    for name in families():
        size = timm.get_pretrained_cfg(name, allow_unregistered=True)
        shape = size.input_size if size is not None else (3, 224, 224)
        found.append(Subject(name, partial(timm.create_model, name), (torch.rand(2, *shape),), {}))
    return found


if __name__ == "__main__":
    main(subjects(), __doc__)
