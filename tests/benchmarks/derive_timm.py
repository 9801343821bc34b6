"""One small model of each family of timm, without weights:

python tests/benchmarks/derive_timm.py --rows rows.jsonl [NAME...]; then again with --markdown > docs/timm.md

Needs the package `timm`, which starcli itself does not.
"""

from functools import partial

import timm
import torch
from derive_table import Subject, main

LARGEST = 30_000_000
"""Parameters: the proof works in float64."""


SMALL = (
    "test",
    "atto",
    "femto",
    "pico",
    "nano",
    "xxs",
    "xxt",
    "mini",
    "micro",
    "tiny",
    "xs",
    "xt",
    "small",
    "_s",
    "_t",
)
"""Words in names of small models."""

TRIED = 3
"""Models of one module whose parameters are counted, those of small names first."""


def families() -> list[str]:
    """A small model of each module that defines some, by parameters on the meta device."""
    chosen = []
    for module in sorted(timm.list_modules()):
        names = timm.list_models(module=module)
        sizes = []
        for name in sorted(names, key=lambda name: (not any(word in name for word in SMALL), len(name), name))[:TRIED]:
            with torch.device("meta"):
                try:
                    sizes.append((sum(p.numel() for p in timm.create_model(name).parameters()), name))
                except Exception:  # some constructors compute with values, which a meta device has not
                    sizes.append((LARGEST, name))
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
    main(subjects, __doc__, "Specs derived for one small model of each family of timm")
