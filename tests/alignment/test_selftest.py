"""Planted permutations: what comes back is counted right, and units that cannot be told apart are named so."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

import starcli as sc
from starcli.alignment.activations import INPUT, Activations
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.matching.method import Match
from starcli.alignment.selftest import kinds_of_units, plant_and_recover
from starcli.errors import StarcliError
from starcli.symmetry.permutation import Permutation
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

NETWORKS = {
    "mlp": {"hidden_dim": 12, "depth": 2, "batch_norm": "none"},
    "resnet": {"width": 4},
    "densenet40-12": {"depth": 7, "growth_rate": 4},
    "vit": {"dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24, "patch_size": 4},
}


@cache
def opened(arch: str) -> Workspace:
    return new_workspace(Choices(arch=arch, arch_args=NETWORKS[arch], data="digits", limit=300))


def generic(workspace: Workspace) -> dict[str, Tensor]:
    """A network in which no two units are alike, and no bias is zero."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: tensor + 0.3 * torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in workspace.network(0).state().items()
    }


class Idle(Aligner):
    """Finds nothing: every model stays as it is."""

    def match(self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], **_: object) -> Match:
        return Match(Permutation.identity(self.spec), 0.0, 0, 1, 0)


@pytest.mark.parametrize("method", ["weight", "activation"])
@pytest.mark.parametrize("arch", NETWORKS)
def test_all_units_come_back_and_the_function_stays(arch: str, method: str) -> None:
    workspace = opened(arch)
    found = plant_and_recover(Aligner(Alignment(method), workspace), generic(workspace), plants=2)
    spec = workspace.spec.resolved
    units = sum(Permutation.identity(spec).index[name].numel() for name, each in spec.groups.items() if each.size > 1)
    assert found.recovered == found.units == 2 * units
    assert (found.alike, found.lost) == (0, ())
    assert found.difference < 1e-5


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_units_of_a_grouped_convolution_with_as_many_outputs_as_inputs_come_back(share: float) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, groups=2), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(8 * 16, 5),
    )  # fmt: skip
    how = Alignment("activation", examples="noise", share=share)
    row = sc.selftest(model, method=how, input_shape=(3, 8, 8))[0]
    assert row["recovered"] == row["units"] > 0
    # what is read moves with the units as the weights do
    activations = Activations(sc.align(model, model, method=how, input_shape=(3, 8, 8)).workspace, how)
    assert INPUT + "2.weight" in activations.spec.axes
    tensors = model.state_dict()
    planted = Permutation.random(activations.spec, torch.Generator().manual_seed(0))
    moved = activations.beside(Permutation(activations.workspace.spec.resolved, planted.index).apply(tensors))
    for name, tensor in planted.apply(activations.beside(tensors)).items():
        torch.testing.assert_close(moved[name], tensor)


@pytest.mark.parametrize("arch", ["mlp", "vit"])
def test_who_finds_nothing_gets_what_was_not_moved(arch: str) -> None:
    workspace = opened(arch)
    found = plant_and_recover(Idle(Alignment("weight", seed=3), workspace), generic(workspace), plants=1)
    planted = Permutation.random(workspace.spec.resolved, torch.Generator().manual_seed(3))
    if arch == "mlp":
        assert found.recovered == found.units - planted.moved()
    assert 0 < len(found.lost) <= found.groups
    assert found.recovered < found.units / 2
    assert found.difference < 1e-5


def test_copies_of_a_unit_are_alike_and_may_take_each_others_place() -> None:
    workspace = opened("mlp")
    spec = workspace.spec.resolved
    twin = Permutation(spec, {name: index.clone() for name, index in Permutation.identity(spec).index.items()})
    first = next(iter(spec.groups))
    twin.index[first][5] = 2  # no permutation: unit 2 stands twice
    tensors = twin.apply(generic(workspace))
    kinds = kinds_of_units(spec, tensors)[first]
    assert kinds[5] == kinds[2]
    assert len(set(kinds.tolist())) == len(kinds) - 1
    found = plant_and_recover(Aligner(Alignment("weight"), workspace), tensors)
    assert found.alike == 2
    assert found.recovered == found.units


def test_dead_units_are_alike_for_who_sees_activations_only() -> None:
    workspace = opened("mlp")
    tensors = generic(workspace)
    bias = next(name for name, tensor in tensors.items() if tensor.dim() == 1 and len(tensor) == 12)
    tensors[bias] = tensors[bias].clone()
    tensors[bias][[1, 4, 7]] = -1e4
    by_activation = plant_and_recover(Aligner(Alignment("activation", share=1.0), workspace), tensors)
    assert by_activation.alike == 3
    assert by_activation.recovered == by_activation.units
    assert plant_and_recover(Aligner(Alignment("weight"), workspace), tensors).alike == 0


def test_noise_is_of_the_size_that_is_said() -> None:
    workspace = opened("resnet")
    tensors, seen = generic(workspace), []

    class Watching(Idle):
        def match(self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], **_: object) -> Match:
            seen.append(model)
            return super().match(reference, model)

    plant_and_recover(Watching(Alignment("weight"), workspace), tensors, noise=0.5, plants=1)
    planted = Permutation.random(workspace.spec.resolved, _after_noise(workspace, tensors))
    back = planted.inverse().apply(seen[0])
    name = max(workspace.spec.resolved.learnable(), key=lambda name: tensors[name].numel())
    noise = back[name] - tensors[name]
    assert float(noise.std()) == pytest.approx(0.5 * float(tensors[name].std(correction=0)), rel=0.1)
    buffers = [name for name in workspace.spec.resolved.buffers if name in tensors]
    assert all(torch.equal(back[name], tensors[name]) for name in buffers)


def _after_noise(workspace: Workspace, tensors: Mapping[str, Tensor]) -> torch.Generator:
    generator = torch.Generator().manual_seed(0)
    for name in workspace.spec.resolved.learnable():
        torch.randn(tensors[name].shape, generator=generator)
    return generator


def test_on_the_command_line_and_in_python(starcli, solutions, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = starcli("align", solutions[0], "--selftest", "--plants", 2)
    assert ran.status == 0, ran.err
    assert not list(tmp_path.iterdir())
    found = [(row["method"], row["noise"]) for row in ran.rows]
    assert found == [("weight", 0.0), ("weight", 0.5), ("activation", 0.0), ("activation", 0.5)]
    for row in ran.rows:
        assert (row["type"], row["plants"]) == ("selftest", 2)
        assert row["recovered"] <= row["units"]
        assert row["noise"] or row["share"] == 1.0
    rows = sc.selftest(sc.load(solutions[0]), plants=2)
    own = set(rows[0]) - {"seconds", "model"}
    assert [{key: row[key] for key in own} for row in rows] == [{key: row[key] for key in own} for row in ran.rows]


def test_options_are_for_the_methods_that_have_them(starcli, solutions) -> None:
    words = ["--plants", 1, "--align-examples", "noise", "--restarts", 2]
    ran = starcli("align", solutions[0], "--selftest", *words)
    assert ran.status == 0, ran.err
    titles = [row["alignment"] for row in ran.rows if not row["noise"]]
    assert titles == ["weight, 2 restarts", "activation, 2 restarts, noise"]


class Tagger(torch.nn.Module):
    """Of tokens (N, L): outputs (N, L, 50) and what else a network may return."""

    def __init__(self, vocabulary: int = 50) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(vocabulary, 8)
        self.up, self.down = torch.nn.Linear(8, 12), torch.nn.Linear(12, 8)
        self.norm, self.head = torch.nn.LayerNorm(8), torch.nn.Linear(8, vocabulary)

    def forward(self, tokens: Tensor) -> dict[str, object]:
        x = self.embed(tokens)
        x = self.norm(x + self.down(torch.relu(self.up(x))))
        return {"scores": self.head(x), "hidden": (x.amax(-1), tokens)}


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_a_network_of_tokens_that_returns_no_logits(starcli, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Tagger()
    rows = sc.selftest(model, input_shape=(16,), input_dtype="int64")
    assert [(row["method"], row["noise"]) for row in rows] == [("weight", 0.0), ("weight", 0.5)]
    assert rows[0]["recovered"] == rows[0]["units"] == 3 * (8 + 12)
    assert all(0 < row["difference"] < 1e-5 for row in rows)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    words = ["--arch", f"{__file__}:Tagger", "--input", "1,16", "--input-dtype", "int64"]
    ran = starcli("align", tmp_path / "model.pt", "--selftest", *words)
    assert ran.status == 0, ran.err
    assert [row["difference"] for row in ran.rows] == [row["difference"] for row in rows]


class Uneven(torch.nn.Module):
    """Each unit counts for something else, so that none may be renamed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Linear(4, 8), torch.nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)) * torch.arange(8.0))


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_a_wrong_spec_shows_though_all_units_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, spec = Uneven(), tmp_path / "wrong.yaml"
    spec.write_text("format: 1\ntensors: {a.weight: [h, _], a.bias: [h], b.weight: [_, h], b.bias: [_]}\n")
    row = sc.selftest(model, method="weight", plants=1, input_shape=(4,), spec=spec, unproved=True)[0]
    assert row["share"] == 1.0
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4, generator=generator), torch.randn(2, 4, generator=generator)
    order = torch.rand(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).argsort()
    renamed = Uneven()
    renamed.load_state_dict(
        {
            **model.state_dict(),
            **{name: model.state_dict()[name][order] for name in ("a.weight", "a.bias")},
            "b.weight": model.b.weight.detach()[:, order],
        }
    )
    with torch.no_grad():
        spread = (model(first) - model(second)).square().mean().sqrt() / 2**0.5
        expected = float((renamed(first) - model(first)).abs().max() / spread)
    assert expected > 0.1
    assert row["difference"] == pytest.approx(expected, rel=1e-4)


def test_of_no_units_no_share_comes_back() -> None:
    with pytest.warns(sc.StarcliWarning, match="no units that can be renamed"):
        row = sc.selftest(torch.nn.Linear(4, 3), method="weight", input_shape=(4,))[0]
    assert (row["units"], row["share"]) == (0, None)


def test_what_reads_data_is_left_out_where_there_are_none() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with pytest.warns(sc.StarcliWarning, match=r"left out, for want of data: activation \("):
        rows = sc.selftest(model, input_shape=(4,))
    assert {row["method"] for row in rows} == {"weight"}
    with pytest.raises(StarcliError):
        sc.selftest(model, method="activation", input_shape=(4,))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{0}", "{1}", "--selftest"], "--selftest is of REF alone and writes nothing: leave out MODEL\n"),
        (["{0}", "--selftest", "--joint", "--bound"], "leave out --joint, --bound\n"),
        (["{0}", "--selftest", "--dtype", "float16"], "leave out --dtype\n"),
        (["{0}", "{1}", "-o", "x.safetensors", "--plants", "2"], "--plants is of --selftest"),
        (["{0}", "--selftest", "--method", "weight", "--align-share", "0.5"], "share (--align-share) is of activation"),
        (["{0}", "--selftest", "--align-steps", "5"], "steps (--align-steps) is of straight-through"),
    ],
)
def test_words_that_make_no_sense(starcli, solutions, words: list[str], reason: str) -> None:
    ran = starcli("align", *(word.format(*map(str, solutions.some(0, 1))) for word in words))
    assert ran.status == 1
    assert reason in ran.err


def test_models_and_an_output_are_needed_otherwise(starcli, solutions) -> None:
    others = {"MODEL": "--selftest and --normal-form do", "--output": "--selftest does"}
    for words, missing in (([solutions[0]], "MODEL"), (solutions.some(0, 1), "--output")):
        ran = starcli("align", *words)
        assert ran.status == 2
        assert missing in ran.err
        assert f"only {others[missing]} without" in ran.err
