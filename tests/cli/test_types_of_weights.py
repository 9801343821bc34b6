"""Types of weights: files keep theirs through all that rearranges or averages, and --dtype chooses another."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from support.program import Ran, run_here
from support.refused import refused
from support.tensors import same
from torch import Tensor, nn

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata

pytestmark = pytest.mark.usefixtures("own_cache")

NETWORK = """
from torch import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 10))

def norm():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
"""
NET = ("--arch", "types5:net", "--input", "1,1,8,8", "-q")
NORM = ("--arch", "types5:norm", "--data", "digits", "--limit", 100, "-q")
HALVES = [torch.float16, torch.bfloat16]

Write = Callable[..., list[dict[str, Tensor]]]


@pytest.fixture
def write(place: Path) -> Write:
    """Write models 0, 1 and 2 of a type, some of them of another, and return them."""
    (place / "types5.py").write_text(NETWORK)

    def write(name: str, *dtypes: torch.dtype) -> list[dict[str, Tensor]]:
        found: dict[str, Callable[[], nn.Module]] = {}
        exec(NETWORK, found)
        models = []
        for seed, dtype in enumerate(dtypes):
            torch.manual_seed(seed)
            network = found[name]().double()
            with torch.no_grad():
                network.train()(torch.randn(50, 1, 8, 8, dtype=torch.float64))
            models.append({n: t.clone() for n, t in network.to(dtype).state_dict().items()})
            save_file(models[-1], f"{seed}.safetensors")
        return models

    return write


def files(count: int) -> list[str]:
    return [f"{number}.safetensors" for number in range(count)]


def done(*words: object) -> Ran:
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    return ran


def exact(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.double().numpy()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALVES])
def test_ends_of_a_line_are_the_models_and_means_are_rounded_once(write: Write, dtype: torch.dtype) -> None:
    a, b, c = write("net", *[dtype] * 3)
    done("interpolate", *files(2), "--t", 0, 0.3, 1, "--align", "none", "-o", "t{t}.safetensors", *NET)
    done("interpolate", *files(3), "--weights", 0.5, 0.2, 0.3, "--align", "none", "-o", "mean.safetensors", *NET)
    start, between, end, mean = (load_file(f"{name}.safetensors") for name in ("t0", "t0.3", "t1", "mean"))
    for name, tensor in a.items():
        assert torch.equal(start[name], tensor)
        assert torch.equal(end[name], b[name])
        assert between[name].dtype == mean[name].dtype == dtype
        line = exact(tensor) + 0.3 * (exact(b[name]) - exact(tensor))
        weighted = 0.5 * exact(tensor) + 0.2 * exact(b[name]) + 0.3 * exact(c[name])
        for found, expected in ((between, line), (mean, weighted)):
            rounded = torch.from_numpy(expected).to(dtype)
            # one rounding apart where the order of sums decides, none in half precision but at ties
            epsilon = torch.finfo(dtype).eps if dtype in (torch.float32, torch.float64) else 0.0
            torch.testing.assert_close(found[name], rounded, rtol=4 * epsilon, atol=epsilon)


def test_models_of_several_types_meet_in_the_one_that_holds_all(write: Write) -> None:
    a, b = write("net", torch.float16, torch.float64)
    done("interpolate", *files(2), "--t", 0.5, "--align", "none", "-o", "m.safetensors", *NET)
    for name, tensor in load_file("m.safetensors").items():
        assert tensor.dtype == torch.float64
        np.testing.assert_allclose(tensor.numpy(), (exact(a[name]) + exact(b[name])) / 2, rtol=1e-15, atol=1e-16)
    write("net", torch.float16, torch.bfloat16)
    done("interpolate", *files(2), "--t", 0.5, "--align", "none", "-o", "n.safetensors", *NET)
    assert {tensor.dtype for tensor in load_file("n.safetensors").values()} == {torch.float32}


def test_a_base_of_a_wider_type_is_not_rounded(write: Write) -> None:
    """A merge had the types of the sources alone."""
    write("norm", torch.float16, torch.float16, torch.float32)
    words = ("--sources", *files(2), "--base", "2.safetensors", "--align", "none", "--method", "task-arithmetic")
    done("fuse", *words, "-o", "m.safetensors", *NORM)
    assert {t.dtype for t in load_file("m.safetensors").values() if t.is_floating_point()} == {torch.float32}


def test_a_point_around_a_model_lies_at_its_distance_in_float64(write: Write) -> None:
    [a] = write("net", torch.float64)
    done("interpolate", *files(1), "--perturb", 1e-7, "-o", "p.safetensors", *NET)
    found = load_file("p.safetensors")
    distance = float(sum((found[name] - tensor).square().sum() for name, tensor in a.items())) ** 0.5
    assert distance == pytest.approx(1e-7, rel=1e-6)


def test_statistics_that_are_estimated_anew_have_the_type_of_the_file(write: Write) -> None:
    a, _ = write("norm", torch.float64, torch.float64)
    done("interpolate", *files(2), "--t", 0, "--align", "none", "-o", "m.safetensors", *NORM)
    found = load_file("m.safetensors")
    assert found["2.num_batches_tracked"].dtype == torch.int64
    statistics = ("2.running_mean", "2.running_var")
    assert all(torch.equal(found[name], tensor) for name, tensor in a.items() if name not in statistics)
    assert all(found[name].dtype == torch.float64 and not torch.equal(found[name], a[name]) for name in statistics)


@pytest.mark.parametrize("dtype", [torch.float64, *HALVES, torch.float8_e4m3fn])
def test_what_rearranges_moves_the_bits(write: Write, dtype: torch.dtype) -> None:
    _, b = write("net", dtype, dtype)
    done("align", *files(2), "-o", "a.safetensors", *NET)
    done("permute", "1.safetensors", "--random", "-o", "p.safetensors", *NET)
    done("permute", "p.safetensors", "--random", "--invert", "-o", "back.safetensors", "-q", "--arch", "types5:net")
    for path in ("a.safetensors", "p.safetensors"):
        found = load_file(path)
        assert (exact(found["1.weight"]) != exact(b["1.weight"])).any()
        for name, tensor in b.items():
            assert found[name].dtype == dtype
            np.testing.assert_array_equal(np.sort(exact(found[name]).ravel()), np.sort(exact(tensor).ravel()))
    for name, tensor in load_file("back.safetensors").items():
        np.testing.assert_array_equal(exact(tensor), exact(b[name]))


@pytest.mark.parametrize("command", ["convert", "permute", "align", "interpolate", "plain", "pt"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_the_type_can_be_chosen(write: Write, command: str, dtype: str) -> None:
    _, b = write("norm", torch.float32, torch.float32)
    words = {
        "convert": ("convert", "1.safetensors", "-o", "x.safetensors", *NORM),
        "permute": ("permute", "1.safetensors", "--random", "-o", "x.safetensors", *NORM),
        "align": ("align", *files(2), "-o", "x.safetensors", *NORM),
        "interpolate": ("interpolate", *files(2), "--t", 0.5, "--align", "none", "-o", "x.safetensors", *NORM),
        "plain": ("convert", "1.safetensors", "--plain", "-o", "x.safetensors"),
        "pt": ("convert", "1.safetensors", "-o", "x.pt"),
    }[command]
    done(*words, "--dtype", dtype)
    found = torch.load("x.pt") if command == "pt" else load_file("x.safetensors")
    floats = {tensor.dtype for tensor in found.values() if tensor.is_floating_point()}
    assert floats == {getattr(torch, dtype)}
    assert found["2.num_batches_tracked"].dtype == torch.int64
    if command in ("convert", "plain", "pt"):
        assert all(torch.equal(found[name], tensor.to(found[name].dtype)) for name, tensor in b.items())


def test_another_type_is_another_file_and_rounded_weights_have_no_scores(solutions) -> None:
    before = read_metadata(solutions[0])[1]
    words = ("convert", solutions[0], "-o", "x.safetensors")
    done(*words, "--dtype", "float64")
    wide = read_metadata(Path("x.safetensors"))[1]
    assert wide.metrics == before.metrics
    refused(run_here(*words, "--dtype", "float16"), "write dtype: float64 there, float16 asked for")
    done(*words, "--dtype", "float16", "--force")
    narrow = read_metadata(Path("x.safetensors"))[1]
    assert narrow.metrics is None
    done("permute", "x.safetensors", "--random", "-o", "y.safetensors")
    assert load_file("y.safetensors")["fc1.weight"].dtype == torch.float16
    assert "write" not in (read_metadata(Path("y.safetensors"))[1].recipe or {})


def test_a_note_tells_of_types_where_nothing_was_chosen(write: Write) -> None:
    def notes(*words: object) -> list[str]:
        lines = done(*words, "--arch", "types5:net").err.splitlines()
        return [line.removeprefix("note: the weights are ") for line in lines if "the weights are" in line]

    digits = ("--data", "digits", "--limit", 100)
    of_two = "of several types, float16 in 0.safetensors; float32 in 1.safetensors"
    to_file = ("--align", "none", "-o", "x.safetensors", "--input", "1,1,8,8", "--force")
    for types, written, measured in (
        ((torch.float32, torch.float32), [], []),
        ((torch.float64, torch.float64), [], ["float64: they are computed with in float32"]),
        (
            (torch.float16, torch.float32),
            [f"{of_two}: a file keeps its model's, a mean has one for all; --dtype chooses one"],
            [f"{of_two}: they are computed with in float32"],
        ),
    ):
        write("net", *types)
        assert notes("interpolate", *files(2), *to_file) == written
        assert notes("interpolate", *files(2), *to_file, "--dtype", "float32") == []
        assert notes("eval", *files(2), *digits) == measured
        assert (
            notes("star", "--sources", *files(2), *digits, "--epochs", 1, "-o", "s.safetensors", "--force") == measured
        )
        assert {tensor.dtype for tensor in load_file("s.safetensors").values()} == {torch.float32}


def test_values_that_a_type_cannot_hold_are_an_error(write: Write) -> None:
    [a] = write("net", torch.float32)
    save_file({**a, "1.bias": a["1.bias"] + 1e5}, "0.safetensors")
    ran = run_here("convert", "0.safetensors", "-o", "x.safetensors", "--dtype", "float16", *NET)
    refused(ran, "too large for the type")
    assert "1.bias: 1e+05" in ran.err
    assert not Path("x.safetensors").exists()
    assert run_here("convert", "0.safetensors", "-o", "x.safetensors", "--dtype", "int8", *NET).status == 2


def test_the_library_keeps_and_chooses_types_as_the_commands_do(write: Write) -> None:
    a, b = write("net", torch.float64, torch.float64)
    found: dict[str, Callable[[], nn.Module]] = {}
    exec(NETWORK, found)
    where = {"arch": found["net"], "input_shape": (1, 8, 8)}
    done("interpolate", *files(2), "--t", 0.3, "--align", "none", "-o", "m.safetensors", *NET)
    middle = sc.interpolate(*files(2), t=0.3, alignment=None, **where)
    assert same(middle.tensors, load_file("m.safetensors"))
    assert {parameter.dtype for parameter in middle.module().parameters()} == {torch.float64}
    assert same(middle.module().state_dict(), middle.tensors)
    sc.save(middle, "n.safetensors")
    assert {tensor.dtype for tensor in load_file("n.safetensors").values()} == {torch.float64}
    half = sc.permute(b, seed=0, dtype=torch.float16, **where)
    assert {tensor.dtype for tensor in half.tensors.values()} == {torch.float16}
    with pytest.warns(sc.StarcliWarning, match="float16, float64: a file keeps its model's"):
        assert {tensor.dtype for tensor in sc.align(a, half).tensors.values()} == {torch.float16}
    with pytest.raises(sc.StarcliError, match="expected float32, float64, float16 or bfloat16"):
        sc.interpolate(a, b, t=0.5, dtype="int8", **where)
