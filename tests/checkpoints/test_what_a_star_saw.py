"""What a star was trained with, by its ancestors, and which models are these with other names of units."""

import pytest

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.lineage import is_among, trained_with
from starcli.checkpoints.metadata import AlignedTo, Ancestor, Metadata


def test_a_star_saw_what_the_one_that_it_grew_from_saw_and_nothing_that_models_were_aligned_to():
    ancestors = [
        Ancestor(sha256="reference", name="r", kind="model"),
        Ancestor(sha256="aligned", name="a", kind="model", parents=["reference", "model"]),
        Ancestor(sha256="first", name="s", kind="star", parents=["aligned", "dropped"]),
        Ancestor(sha256="second", name="t", kind="fused", parents=["aligned", "kept", "first"]),
    ]
    star = Metadata(kind="star", parents=["kept", "new", "second"], ancestors=ancestors)
    assert trained_with(star) == {"kept", "new", "second", "aligned", "first", "dropped"}


ALIGNED = AlignedTo(reference="reference", method="weight", restarts=1, seed=0, objective=1.0)


@pytest.mark.parametrize(
    ("recipe", "aligned_to", "parents", "other"),
    [
        ({"align": {}}, ALIGNED, ["reference", "model"], "reference"),
        ({"align": {"joint": 3}}, ALIGNED, ["reference", "model", "third"], "third"),
        ({"aligned_by": {}}, ALIGNED, ["model"], "reference"),
        ({"permute": {}}, None, ["model"], "reference"),
        ({"normal_form": {}}, None, ["model"], "reference"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_a_renamed_model_counts_as_the_one_before_and_as_no_other(recipe, aligned_to, parents, other):
    facts = {"weights_sha256": "own", "recipe": {"epochs": 1, **recipe}, "aligned_to": aligned_to, "parents": parents}
    model = Checkpoint({}, Metadata(**facts), "m")
    assert is_among(model, {"own"})
    assert is_among(model, {"model"})
    assert not is_among(model, {other})


def test_a_point_between_models_is_none_of_them():
    model = Checkpoint({}, Metadata(weights_sha256="own", recipe={"interpolate": {}}, parents=["a", "b"]), "m")
    assert not is_among(model, {"a", "b"})
