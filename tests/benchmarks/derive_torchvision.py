"""All of torchvision's classification models, derived and proved, the small ones first:

python tests/benchmarks/derive_torchvision.py --rows rows.jsonl; then again with --markdown > docs/torchvision.md
"""

from functools import partial

import torch
from derive_table import Subject, main
from torchvision import models

SIDES = {"vit": 224, "maxvit": 224, "inception": 299}
DEFAULT_SIDE = 64


def subjects() -> list[Subject]:
    """Ordered by the number of parameters, as torchvision's registry of weights states it."""
    found = []
    names = models.list_models(module=models)
    for name in sorted(names, key=lambda name: min(w.meta["num_params"] for w in models.get_model_weights(name))):
        side = next((side for prefix, side in SIDES.items() if name.startswith(prefix)), DEFAULT_SIDE)
        arguments = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        make = partial(models.get_model, name, weights=None, **arguments)
        found.append(Subject(name, make, (torch.rand(2, 3, side, side),), {}))
    return found


if __name__ == "__main__":
    main(subjects, __doc__, "Specs derived for torchvision's classification models")
