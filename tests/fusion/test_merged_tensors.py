"""Merged state dicts: which tensors, in which types, and what is refused."""

import pytest
import torch

from starcli.errors import StarcliError
from starcli.files.slices import HeldTensor
from starcli.fusion.merged_tensors import SlicedModel, merged_tensors
from starcli.merging import stack
from starcli.merging.merge import Merge, parse_override
from starcli.registry.merges import MERGES

LINEAR = Merge("linear")


def sliced(name, **tensors):
    return SlicedModel.of(name, tensors)


def refused(words, *models, merge=LINEAR, base=None):
    with pytest.raises(StarcliError) as caught:
        dict(merged_tensors(merge, models, base))
    assert words in "\n".join([caught.value.summary, *caught.value.problems])


def test_types_are_kept_and_integers_are_the_first_ones_or_the_base():
    half, count = torch.tensor([1.0, 2.0]).bfloat16(), torch.tensor(3)
    a = sliced("a", w=half, v=half, count=count)
    b = sliced("b", w=half + 2, v=half.float(), count=count + 1)
    found = merged_tensors(LINEAR, [a, b])
    assert torch.equal(found["w"], torch.tensor([2.0, 3.0]).bfloat16())
    assert (found["v"].dtype, found.forms["v"].dtype, found["count"].item()) == (torch.float32, "F32", 3)
    changed = merged_tensors(Merge("task-arithmetic"), [a], b)
    assert changed["count"].item() == 4


def test_complex_numbers_that_all_models_share_are_kept():
    """Rotary factors that lie in the state dict."""
    turns, w = torch.tensor([[1j, 2 - 1j]]), torch.ones(2)
    models = [sliced(name, w=w, turns=turns, turn=turns[0, 0]) for name in "abc"]
    for found in (merged_tensors(LINEAR, models), merged_tensors(Merge("ties"), models[:2], models[2])):
        assert torch.equal(found["turns"], turns)
        assert torch.equal(found["turn"], turns[0, 0])


def test_tensors_that_differ_are_named():
    w = torch.zeros(2, 2)
    a, b = sliced("a", w=w, x=w, y=w), sliced("b", w=w, x=torch.zeros(3), z=w + 1)
    refused("y: in a, not in b\nz: in b, not in a\nx: shape (3,) in b, (2, 2) in a", sliced("a", w=w, x=w, y=w + 1), b)
    refused("z: in b, not in a", a, b)
    turns = torch.tensor([1j, 2 - 1j])
    for other in (turns.conj(), turns + 1):
        refused("turns: other complex numbers in each model", sliced("a", turns=turns), sliced("b", turns=other))
        refused("turns: other complex numbers in each model", sliced("a", turns=turns[0]), sliced("b", turns=other[0]))
    refused("w: floats in some models alone", sliced("a", w=w), sliced("b", w=w.long()))


def test_names_that_differ_by_a_prefix_alone_say_how_to_leave_it_out():
    a = sliced("a.ckpt", **{"net.model.w": torch.zeros(2), "net.model.v": torch.zeros(3)})
    b = sliced("b.pt", w=torch.zeros(2), v=torch.zeros(3))
    hint = "a.ckpt: all names begin with net.model.; starcli convert --key net.model --plain leaves it out"
    refused(hint, a, b)
    refused(hint, b, a)
    with pytest.raises(StarcliError) as caught:
        merged_tensors(LINEAR, [a, sliced("c", w=torch.zeros(2))])
    assert "convert" not in "\n".join(caught.value.problems)


def test_heads_of_other_sizes_are_named_as_what_to_leave_out():
    def model(name: str, outputs: int, width: int = 2) -> SlicedModel:
        head = {"head.weight": torch.zeros(outputs, width), "head.bias": torch.zeros(outputs)}
        return sliced(name, **{"body.w": torch.zeros(width), **head})

    hint = "to merge all but these: starcli convert MODEL --ignore 'head.*' --plain, of each, leaves them out"
    refused(f"{hint}\nhead.bias: shape (3,) in b, (4,) in a", model("a", 4), model("b", 3))
    for other in (model("b", 3, 5), sliced("b", **{"body.w": torch.zeros(2), "head.weight": torch.zeros(3, 2)})):
        with pytest.raises(StarcliError) as caught:
            merged_tensors(LINEAR, [model("a", 4), other])
        assert "convert" not in "\n".join(caught.value.problems)


def test_prefixes_of_both_and_tensors_outside_them_are_said():
    tensors = {"w": torch.zeros(2), "layer.v": torch.zeros(3), "layer.u": torch.zeros(3)}
    plain, parallel, compiled, other = (
        sliced(name, **{prefix + key: value for key, value in tensors.items()})
        for name, prefix in (("plain", ""), ("parallel", "module."), ("compiled", "_orig_mod."), ("other", "x.layer."))
    )
    averaged = SlicedModel("averaged", {**parallel.tensors, "n_averaged": HeldTensor(torch.tensor(2))})
    out = "starcli convert --key {} --plain leaves it out"
    of_parallel = f"parallel: all names begin with module.; {out.format('module')}"
    refused(f"{of_parallel}\ncompiled: all names begin with _orig_mod.; {out.format('_orig_mod')}", parallel, compiled)
    refused(
        f"averaged: all names but n_averaged begin with module.; {out.format('module')}\nlayer.u: in", averaged, plain
    )
    # an output layer of one model's own, which the other ties to its embedding, is what differs
    untied = SlicedModel("untied", {**parallel.tensors, "lm_head.w": HeldTensor(torch.ones(2))})
    refused("lm_head.w: in untied, not in parallel", parallel, untied)
    # of two trunks below one name with heads of their own nothing is to be left out
    heads = [SlicedModel(name, {**other.tensors, f"{name}.w": HeldTensor(torch.zeros(1))}) for name in ("cat", "dog")]
    refused("cat.w: in cat, not in dog\ndog.w: in dog, not in cat", *heads)


def test_integers_that_are_no_counts_are_never_those_of_one_model():
    a, b = (
        sliced("a", w=torch.ones(3), q=torch.tensor([[1, 2]])),
        sliced("b", w=torch.ones(3), q=torch.tensor([[1, 3]])),
    )
    refused("q: other integers in each model", a, b)
    assert torch.equal(merged_tensors(LINEAR, [a, a])["q"], torch.tensor([[1, 2]]))


@pytest.mark.parametrize("method", MERGES)
def test_tensors_without_numbers_and_of_one_number(method):
    merge = Merge.of(method, {"density": 1.0} if "density" in Merge(method).how.reads else {})
    one, none = torch.tensor(2.0), torch.empty(0, 3)
    models = [sliced("a", one=one, none=none), sliced("b", one=one, none=none)]
    base = sliced("base", one=one, none=none) if merge.how.base else None
    found = merged_tensors(merge, models, base)
    assert found["none"].shape == (0, 3)
    assert torch.equal(found["one"], one)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_floats_of_eight_bits(dtype):
    a, b = (sliced(name, w=torch.tensor(numbers).to(dtype)) for name, numbers in (("a", [1.0, 2.0]), ("b", [2.0, 4.0])))
    found = merged_tensors(LINEAR, [a, b])["w"]
    assert (found.dtype, found.float().tolist()) == (dtype, [1.5, 3.0])


def test_a_tied_copy_that_some_models_lack_is_left_out():
    tied, untied = torch.randn(3, 4), torch.randn(3, 4)
    a, b = sliced("a", embed=tied, head=tied.clone()), sliced("b", embed=untied)
    assert list(merged_tensors(LINEAR, [a, b])) == ["embed"]
    refused("head: in a, not in b", sliced("a", embed=tied, head=untied), b)


def test_tied_weights_stay_tied_where_numbers_are_drawn_and_by_pattern():
    torch.manual_seed(0)
    base, ones = torch.randn(30, 4), torch.ones(30, 4)
    models = [
        sliced("a", embed=ones, head=ones.clone(), other=-ones),
        sliced("base", embed=base, head=base, other=base),
    ]
    merge = Merge.of("dare-linear", {}, [parse_override("embed:scale=2")])
    found = merged_tensors(merge, models[:1], models[1], seed=1)
    assert torch.equal(found["embed"], found["head"])
    assert not torch.equal(found["other"] == base, found["embed"] == base)
    assert torch.equal(found["embed"], merged_tensors(merge, models[:1], models[1], seed=1)["embed"])
    assert not torch.equal(found["embed"], merged_tensors(merge, models[:1], models[1], seed=2)["embed"])


def test_what_is_not_finite_is_refused_unless_all_have_it_so():
    mask = torch.tensor([0.0, -torch.inf])
    arithmetic = Merge("task-arithmetic")
    assert torch.equal(merged_tensors(arithmetic, [sliced("a", w=mask)], sliced("b", w=mask))["w"], mask)
    refused("w: has values that are not finite", sliced("a", w=mask), sliced("b", w=mask.abs()))
    large = torch.tensor([6e4]).half()
    total = Merge("linear", {"normalise_weights": False})
    refused("w: merged values are too large for torch.float16", sliced("a", w=large), sliced("b", w=large), merge=total)


def largest(flat, density):
    """The changes of largest magnitude of one long vector, all others 0."""
    return torch.where(flat.abs() >= flat.abs().sort().values[-max(1, int(density * len(flat)))], flat, 0)


def test_ties_keeps_the_largest_changes_of_the_whole_model(monkeypatch):
    """Trimmed by a few lines on the tensors in a row: some tensors keep most of their changes, others none."""
    monkeypatch.setattr(stack, "CHUNK_NUMBERS", 50)
    draws = torch.Generator().manual_seed(0)
    shapes = {"a": (7, 30), "b": (3,), "c": (40, 2), "d.running_mean": (9,)}
    base = {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()}
    scales = dict(zip(shapes, (1.0, 5.0, 0.01, 3.0), strict=True))
    changed = [
        {name: base[name] + scales[name] * torch.randn(shapes[name], generator=draws) for name in shapes}
        for _ in range(2)
    ]
    sources = [sliced(str(n), **each, tied=each["a"], count=torch.tensor(n)) for n, each in enumerate(changed)]
    whole = sliced("base", **base, tied=base["a"], count=torch.tensor(0))
    found = merged_tensors(Merge.of("ties", {"density": (0.1, 0.3)}), sources, whole)

    flats = [torch.cat([(each[name] - base[name]).flatten() for name in "abc"]) for each in changed]
    kept = torch.stack([largest(flat, share) for flat, share in zip(flats, (0.1, 0.3), strict=True)])
    sign = torch.where(kept.sum(0) >= 0, 1, -1)
    agree = kept.sign() == sign
    mean = (kept * agree).sum(0) / agree.sum(0).clamp(min=1)
    expected = torch.cat([base[name].flatten() for name in "abc"]) + mean
    torch.testing.assert_close(torch.cat([found[name].flatten() for name in "abc"]), expected)
    assert torch.equal(found["c"], base["c"])  # whose changes are all small
    assert torch.equal(found["tied"], found["a"])
    torch.testing.assert_close(
        found["d.running_mean"], (changed[0]["d.running_mean"] + changed[1]["d.running_mean"]) / 2
    )


def test_tensors_with_a_density_of_their_own_are_trimmed_apart():
    small, large = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    mask = torch.tensor([0.0, -torch.inf, 0.0])
    source, base = (
        sliced("a", small=small, large=large, mask=mask),
        sliced("b", small=0 * small, large=0 * large, mask=mask),
    )
    together = merged_tensors(Merge.of("ties", {"density": 0.5}), [source], base)
    assert (together["small"].count_nonzero(), together["large"].count_nonzero()) == (1, 4)  # 5 of 10, no mask's -inf
    own = Merge.of("ties", {"density": 0.5}, [parse_override("small:density=0.75")])
    apart = merged_tensors(own, [source], base)
    assert (apart["small"].count_nonzero(), apart["large"].count_nonzero()) == (3, 3)
    assert torch.equal(apart["mask"], mask)
    everything = merged_tensors(Merge.of("ties", {"density": 1.0}), [source], base)
    assert torch.equal(everything["small"], small)  # none is too small


def test_statistics_of_batchnorm_are_averaged_whatever_the_method():
    a, b, base = (sliced(str(n), **{"bn.running_var": torch.tensor([float(n)])}) for n in (2, 4, 9))
    found = merged_tensors(Merge("task-arithmetic"), [a, b], base)
    assert found["bn.running_var"].item() == 3
