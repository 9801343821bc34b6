"""Results and files by elements are told apart by what acts, which the hash of the spec does not say."""

from pathlib import Path

import pytest
import torch
from torch import nn

from starcli.alignment.alignment import Alignment
from starcli.alignment.measure import Measure
from starcli.barriers.point import Point
from starcli.files.cache import hash_json
from starcli.fusion.fusing import Fusion
from starcli.library.inputs import open_models
from starcli.library.plans import alignment_plans, fusion_plan, point_plan, star_plan
from starcli.recipes.recipe import Recipe
from starcli.star.settings import StarSettings
from starcli.star.star_search import StarSearch

SPEC = """format: 2
groups: {{h: {{kind: {}}}}}
tensors: {{0.weight: [h], 0.bias: [h], 2.weight: [_, {}], 2.bias: []}}
"""


@pytest.fixture
def known(tmp_path):
    """What results and files are known by, under a spec whose hidden units are of one kind."""
    networks = [nn.Sequential(nn.Linear(4, 5), nn.Identity(), nn.Linear(5, 3)) for _ in range(2)]
    split = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3

    def known(kind: str, place: str, kinds: str) -> dict[str, str]:
        spec = Path(tmp_path, f"{kind}.yaml")
        spec.write_text(SPEC.format(kind, place))
        workspace, [a, b], _ = open_models(networks, {"spec": str(spec), "data": {"train": split, "test": split}})
        how = Alignment("weight", kinds=kinds)
        settings = StarSettings(alignment=how)
        search = StarSearch(recipe=Recipe(), settings=settings, seed=0, sources=[a, b])
        aligned, element = alignment_plans(workspace, how, a, b)
        plans = {
            "align": aligned,
            "element": element,
            "point": point_plan(workspace, [a, b], Point([0.5, 0.5]), how),
            "star": star_plan(workspace, "star", search),
            "mean": fusion_plan(workspace, [a, b], Fusion(method="mean", alignment=how, seed=0)),
        }
        measured = hash_json(Measure(workspace, how).settings())
        return {"measured": measured, **{name: plan.run_id for name, plan in plans.items()}}

    return known


def test_they_are_known_by_the_kinds_that_act(known):
    rotated, scaled = known("orthogonal", "h", "all"), known("scaled", "h^-1", "all")
    assert not set(rotated.values()) & set(scaled.values())
    assert scaled == known("scaled", "h^-1", "all")


def test_kinds_that_do_not_act_are_of_no_matter(known):
    assert known("orthogonal", "h", "permutation") == known("scaled", "h^-1", "permutation")
