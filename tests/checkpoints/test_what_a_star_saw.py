"""What went into a star, by its ancestors, and which models are copies of these, with other names of units."""

import pytest

from starcli.checkpoints.checkpoint import Checkpoint, ancestry
from starcli.checkpoints.lineage import Lineage, is_among
from starcli.checkpoints.metadata import AlignedTo, Ancestor, Metadata, parse_metadata


def made(sha256, *parents, kind="model", **facts):
    """A file made from others, as what is read back from it."""
    names, ancestors = ancestry(parents)
    written = Metadata(kind=kind, weights_sha256=sha256, parents=names, ancestors=ancestors, **facts)
    return Checkpoint({}, parse_metadata(written.to_text(), sha256), sha256)


def aligned(sha256, reference, model, *others):
    to = AlignedTo(reference=reference.sha256, method="weight", restarts=1, seed=0, objective=1.0)
    recipe = {"epochs": 1, "align": {"joint": 3} if others else {}}
    return made(sha256, reference, model, *others, kind=model.metadata.kind, recipe=recipe, aligned_to=to)


A, B, C, D = map(made, "abcd")
POINT = made("point", C, D, recipe={"interpolate": {}})

COPIES = {
    "aligned": aligned("copy", A, B),
    "aligned together": aligned("copy", A, B, C),
    "aligned to itself": aligned("copy", B, B, A),
    "aligned twice": aligned("copy", D, aligned("once", C, B)),
    "of an unmoved one": aligned("copy", A, aligned("b", C, B)),
    "kept": made("copy", B, recipe={"aligned_by": {}}, aligned_to=aligned("x", A, B).metadata.aligned_to),
    "permuted, then in normal form": made("copy", made("once", B, recipe={"permute": {}}), recipe={"normal_form": {}}),
    "of another type": made("copy", recipe={"epochs": 1, "convert": {"weights": "b"}}),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_the_same_solution_on_either_side(copy):
    others = {"a", "c", "d"}
    assert is_among(copy, {"copy"})
    assert is_among(copy, {"b"})
    assert not is_among(copy, others)
    star = made("star", copy, made("e"), kind="star")
    grown = made("grown", made("f"), star, kind="star")
    assert Lineage(star).made_from() == Lineage(copy).copies() | {"e"}
    for each in (star, grown, aligned("star'", A, star)):
        assert is_among(B, Lineage(each).seen())
        assert is_among(aligned("b'", C, B), Lineage(each).seen())
        assert not Lineage(each).seen() & others
    assert Lineage(aligned("star'", A, star)).made_from() == Lineage(star).made_from()


@pytest.mark.parametrize("begun", [POINT, made("bend", C, D, kind="bend"), made("s", C, D, kind="fused")], ids=str)
def test_a_star_saw_whatever_went_into_what_it_began_at(begun):
    star = made("star", A, B, aligned("begun'", made("reference"), begun), kind="star")
    assert Lineage(star).seen() == {"star", "a", "b", "begun'", begun.sha256, "c", "d"}
    assert not is_among(begun, {"c", "d"})  # what lies between models is none of them


def test_files_of_before_do_not_say_which_ancestors_are_copies_or_points():
    ancestors = [
        Ancestor(sha256="reference", name="r", kind="model"),
        Ancestor(sha256="aligned", name="a", kind="model", parents=["reference", "model"]),
        Ancestor(sha256="first", name="s", kind="star", parents=["aligned", "dropped"]),
        Ancestor(sha256="second", name="t", kind="fused", parents=["aligned", "kept", "first"]),
    ]
    parents = ["kept", "new", "second"]
    star = Metadata(kind="star", weights_sha256="star", parents=parents, ancestors=ancestors)
    assert Lineage(Checkpoint({}, star, "s")).seen() == {"star", *parents, "aligned", "first", "dropped"}
    assert parse_metadata(star.to_text(), "s") == star


def test_only_copies_and_points_are_written_down():
    star = made("star", A, B, kind="star")
    assert "made_of" not in made("x", star, made("bend", A, B, kind="bend"), kind="fused").metadata.to_text()
    kept = {each.sha256: each.made_of for each in made("x", COPIES["aligned"], POINT, kind="star").metadata.ancestors}
    assert kept == {"a": [], "b": [], "c": [], "d": [], "copy": ["b"], "point": ["c", "d"]}
