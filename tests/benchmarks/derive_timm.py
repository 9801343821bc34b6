"""One small model of each family of timm, without weights:

python tests/benchmarks/derive_timm.py --rows rows.jsonl [NAME...]; then again with --markdown > docs/timm.md

Needs the package `timm`, which starcli itself does not.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

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
"""Models of one module whose parameters are counted, those of small names first; more while all are too large."""

SIDE = 128
"""Of the input, in pixels, for networks that take any."""

FEW: Mapping[str, tuple[int | None, dict[str, Any]]] = {
    "beit_base_patch16_224": (None, {"depth": 2}),
    "deepseek_vit_412m": (224, {"depth": 2}),
    "gemma4_vit_167m": (224, {"depth": 2}),
    "inception_resnet_v2": (128, {}),
    "inception_v4": (128, {}),
    "mobilenetv5_base": (128, {}),
    "naflexvit_base_patch16_gap": (224, {"depth": 2}),
    "nasnetalarge": (128, {}),
    "nextvit_small": (128, {}),
    "pnasnet5large": (128, {}),
    "qwen3_vit_88m": (224, {"depth": 2}),
    "sam2_hiera_tiny": (224, {}),
    "samvit_base_patch16": (224, {"img_size": 224, "depth": 2, "global_attn_indexes": (1,)}),
    "selecsls42": (96, {}),
    "tresnet_m": (128, {}),
    "vgg11": (None, {}),
}
"""Families of large models, or of large inputs: the side of the input (None: as for others) and arguments that make
the model small."""

NOTES = """
## What stays, and why

- *Not proved* need not be wrong: every permutation may leave the function alone, while a control that should have
  changed it did not by more than a ten-millionth. With redrawn weights the attention of CaiT (mixed across heads) makes
  all tokens alike, and queries and keys then have no effect that could be measured. Such groups stay as they are, and
  the others move.
- Weights between tokens (gMLP, ResMLP) have positions of the input on both axes.
- Networks without a classifier (EVA-02, Qwen3, DeepSeek, Gemma 4) give out their residual stream, which stays for that.
- Tables of relative positions are fixed along their offsets ("neither determine each other"), and move along heads.
- A convolution across channels (ECA) knows their order. A grouped convolution whose groups are not alike (queries, keys
  and values in turn, or groups that are fixed) has units within each group for which a spec has no words.
"""


def size(name: str) -> int:
    """Parameters, counted on the meta device."""
    with torch.device("meta"):
        try:
            return sum(p.numel() for p in timm.create_model(name).parameters())
        except Exception:  # some constructors compute with values, which a meta device has not
            return LARGEST


def small(module: str) -> str | None:
    """A small model of one module: of the first few small names, or the first at all that is small enough."""
    names = sorted(
        timm.list_models(module=module), key=lambda name: (not any(word in name for word in SMALL), len(name), name)
    )
    if found := set(names) & set(FEW):
        return found.pop()
    for k in range(0, len(names), TRIED):
        count, name = min((size(name), name) for name in names[k : k + TRIED])
        if count <= LARGEST:
            return name
    return None


def subjects() -> list[Subject]:
    """One for each module of timm that defines models."""
    found = []
    for name in filter(None, map(small, sorted(timm.list_modules()))):
        side, arguments = FEW.get(name, (None, {}))
        known = timm.get_pretrained_cfg(name, allow_unregistered=True)
        shape = known.input_size if known is not None else (3, 224, 224)
        if side is None and known is not None and not known.fixed_input_size:
            side = SIDE
        shape = shape if side is None else (3, side, side)
        shown = " ".join([name, *(f"{key}={value}" for key, value in arguments.items())])
        found.append(Subject(shown, partial(timm.create_model, name, **arguments), (torch.rand(2, *shape),), {}))
    return found


if __name__ == "__main__":
    what = "one small model of each family of timm"
    main(subjects, __doc__, f"Specs derived for {what}", what, "timm:convnext_atto", NOTES)
