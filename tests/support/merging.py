"""Merges of one tensor, and signs elected in numpy."""

import numpy as np
import torch

from starcli.merging.method import TensorSettings
from starcli.merging.sparse import least_kept
from starcli.merging.stack import Stack

SHAPE, SEED = (13, 31), 5


def arrays(tensors):
    return [tensor.double().numpy().ravel() for tensor in tensors]


def merged(method, models, **settings):
    base, *sources = models
    settings = {"weights": (1.0,) * len(sources), "seed": SEED, **settings}
    stack = Stack.of("w", sources, base if method.base else None)
    if method.trims:
        settings["least"] = least_kept(stack.changes, settings["density"])
    return torch.cat(list(method.merge(stack, TensorSettings(**settings)))).double().numpy()


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def agreed(deltas, w, *, divided):
    """The sum, or mean, at each place of those whose sign is that of the weighted sum."""
    changes = np.array(w)[:, None] * deltas
    agree = np.sign(changes) == np.where(changes.sum(0) >= 0, 1, -1)
    below = (np.array(w)[:, None] * agree).sum(0)
    return (changes * agree).sum(0) / (np.where(below == 0, 1, below) if divided else 1)
