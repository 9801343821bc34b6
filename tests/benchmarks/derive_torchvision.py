"""All of torchvision's classification models, derived and proved, the smallest of each family first:

python tests/benchmarks/derive_torchvision.py --rows rows.jsonl --kinds 120; then again with --markdown, and with
--markdown kinds, for docs/torchvision.md
"""

from collections import Counter
from functools import partial

import torch
from derive_table import Subject, main
from torchvision import models

SIDES = {"vit": 224, "maxvit": 224, "inception": 299}
DEFAULT_SIDE = 64


def names() -> list[str]:
    """The smallest model of each family (a module), then the second of each, and so on.

    By the number of parameters, as torchvision's registry of weights states it.
    """
    place: dict[str, tuple[int, int]] = {}
    seen = Counter[str]()
    sizes = {
        name: min(weights.meta["num_params"] for weights in models.get_model_weights(name))
        for name in models.list_models(module=models)
    }
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        family = models.get_model_builder(name).__module__
        place[name] = (seen[family], size)
        seen[family] += 1
    return sorted(place, key=place.__getitem__)


def subjects() -> list[Subject]:
    found = []
    for name in names():
        side = next((side for prefix, side in SIDES.items() if name.startswith(prefix)), DEFAULT_SIDE)
        arguments = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        make = partial(models.get_model, name, weights=None, **arguments)
        found.append(Subject(name, make, (torch.rand(2, 3, side, side),), {}))
    return found


if __name__ == "__main__":
    what = "torchvision's classification models"
    main(subjects, __doc__, f"Specs derived for {what}", what, "torchvision:densenet121")
