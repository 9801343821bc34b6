"""Data set `FILE.py:NAME` or `package.module:NAME`: what a function of the user's own returns.

The function takes no argument, and returns examples as `starcli.data.in_memory` takes them: (inputs, labels), a torch
data set or loader of pairs, or {"train": ..., "test": ..., "validation": ...} of these. Without a test part a fixed
fifth is held out. Bytes are normalised by the training part's own statistics, floats are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from starcli.data.arrays import divided
from starcli.data.in_memory import examples_by_role, largest_token
from starcli.data.layout import empty_classes
from starcli.data.loading import Loaded, Part, Request, assemble
from starcli.data.random_transforms import notes_of_draws
from starcli.data.table_columns import features_of, targets_of
from starcli.data.tokens import assemble_tokens
from starcli.registry.tasks import CLASSES
from starcli.runtime.user_code import user_callable, user_code_explained


def load_built(request: Request) -> Loaded:
    """Call the function, and check what it returns. Raises StarcliError where it fails."""
    place, _, attribute = request.rest.partition(":")
    build = user_callable(place, attribute, "data")
    with user_code_explained(f"data {request.rest} cannot be built"):
        made: Any = build()
    given = dict(made) if isinstance(made, Mapping) else {"train": made}
    found, task = examples_by_role(given, request.texts.task)
    parts = {
        role: Part(np.ascontiguousarray(inputs.numpy()), labels.numpy(), f"{request.rest}, {role}")
        for role, (inputs, labels) in found.items()
    }
    split, said = divided(parts, request.rest)
    if split[0].inputs.dtype == np.int64:
        most = largest_token(found.values(), task)
        loaded = assemble_tokens("build", *split, task=task, vocab_size=most + 1)
        absent = empty_classes(split[0].labels, loaded.num_classes) if task == CLASSES else ""
        said += [f"{request.rest}: {absent}"] if absent else []
    else:
        loaded = assemble("build", *split, task=task)
    return replace(
        loaded,
        class_names=targets_of(given, task),
        features=features_of(given),
        notes=(*notes_of_draws(given, request.rest), *said, *loaded.notes),
    )
