"""What was said of a merge, for all tensors and by pattern; what makes no sense is refused, all at once."""

import pytest

from starcli.errors import StarcliError
from starcli.merging.merge import Merge, parse_override


def test_the_first_override_that_matches_wins_and_others_add():
    overrides = [parse_override(each) for each in ("a.*:density=0.5", "a.b:density=0.1:scale=2", "*:weights=0,1")]
    merge = Merge.of("ties", {}, overrides)
    found = merge.settings_of("a.b", 2)
    assert (found.density, found.scale, found.weights) == ((0.5, 0.5), 2.0, (0.0, 1.0))
    other = merge.settings_of("c", 2)
    assert (other.density, other.scale, other.normalise_weights) == ((0.2, 0.2), 1.0, True)
    assert merge.record() == {
        "density": 0.2, "normalise_weights": True,
        "overrides": [
            {"tensors": "a.*", "density": [0.5]}, {"tensors": "a.b", "density": [0.1], "scale": [2.0]},
            {"tensors": "*", "weights": [0.0, 1.0]},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("merge", "base", "words"),
    [
        (Merge("ties"), False, "it needs --base"),
        (Merge("linear"), True, "it has no use for --base: it merges the --sources alone"),
        (Merge("slerp"), False, "it takes 2 sources, found 3"),
        (Merge.of("linear", {"weights": (1, 2)}), False, "weights: 2 numbers for 3 sources"),
        (Merge.of("linear", {"t": 0.5}), False, "t: it has no such setting"),
        (Merge.of("ties", {"density": 1.5}), True, "density: 1.5: expected shares above 0, at most 1"),
        (Merge.of("breadcrumbs", {"outliers": 1}), True, "outliers: 1: expected shares from 0, below 1"),
        (Merge.of("ties", {"scale": float("nan")}), True, "scale: nan: expected finite numbers"),
        (Merge.of("ties", {}, [parse_override("x:t=0.5")]), True, "t of x: it has no such setting"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(merge, base, words):
    with pytest.raises(StarcliError) as caught:
        merge.check(3, base=base)
    assert words in "\n".join([caught.value.summary, *caught.value.problems])


def test_weights_that_cannot_be_normalised_and_idle_patterns_are_refused():
    with pytest.raises(StarcliError, match="cannot be divided by their sum: those of a"):
        Merge.of("linear", {"weights": (1, -1)}).settings_for(["a"], 2)
    with pytest.raises(StarcliError, match="cannot be divided by their sum: those of a"):
        Merge.of("linear", {"weights": (0.1, 0.2, -0.3)}).settings_for(["a"], 3)  # 2.8e-17 in float64
    Merge.of("linear", {"weights": (1, -1), "normalise_weights": False}).settings_for(["a"], 2)
    with pytest.raises(StarcliError, match=r"\{a,b\} matches no tensor\n  braces mean nothing in a pattern"):
        Merge.of("linear", {}, [parse_override("{a,b}:weights=1,0")]).settings_for(["a", "b"], 2)
    with pytest.raises(StarcliError, match=r"--overrides b\* matches no tensor"):
        Merge.of("linear", {}, [parse_override("b*:weights=1,2")]).settings_for(["a"], 2)
    for text in ("a", "a:weights", "a:weights=x", ":weights=1"):
        with pytest.raises(StarcliError, match="expected PATTERN:NAME=NUMBER"):
            parse_override(text)
