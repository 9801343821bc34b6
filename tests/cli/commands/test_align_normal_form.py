"""starcli align --normal-form: models in their normal form, and the elements that lead there."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from support.program import run_here

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata


def test_each_model_is_written_and_undone_by_its_element(solutions):
    words = ("-o", "{name}.normal.safetensors", "--permutation", "{name}.element.safetensors")
    rows = run_here("align", *solutions.some(0, 1), "--normal-form", *words).rows
    assert [row["type"] for row in rows] == ["normal_form"] * 2
    for number, row in enumerate(rows):
        assert row["dimension"] > 0
        assert row["norm_after"] < row["norm_before"]
        assert row["difference"] < 1e-6
        made, element = f"{number}.normal.safetensors", f"{number}.element.safetensors"
        metadata = read_metadata(Path(made))[1]
        assert metadata.kind == "model"
        assert metadata.parents == [read_metadata(solutions[number])[1].weights_sha256]
        run_here("permute", made, "--by", element, "--invert", "-o", f"{number}.back.safetensors")
        back, given = load_file(f"{number}.back.safetensors"), load_file(solutions[number])
        assert all(back[name].allclose(given[name], atol=1e-5) for name in given)
        sc.save(sc.normal_form(solutions[number]), f"mine{number}.safetensors")
        assert Path(f"mine{number}.safetensors").read_bytes() == Path(made).read_bytes()
    again = run_here("align", *solutions.some(0, 1), "--normal-form", *words)
    assert again.rows == rows
    assert "finished already" in again.err


def test_what_it_has_no_use_for_is_refused(solutions):
    words = ("align", solutions[0], "--normal-form")
    ran = run_here(*words, "-o", "x.safetensors", "--method", "weight", "--joint")
    assert ran.status == 1
    assert "leave out --method and its options, --joint" in ran.err
    assert run_here(*words).status == 2
    ran = run_here(*words, "--selftest")
    assert "leave out --normal-form" in ran.err
    assert not list(Path().glob("*.safetensors"))


@pytest.mark.parametrize("given", [("-o", "x.safetensors"), ()])
def test_without_it_a_model_to_align_is_needed(solutions, given):
    assert run_here("align", solutions[0], *given).status == 2
