"""Files that are no fine-tunings of one model are told from a sample of their weights."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.program import run_here

from starcli.files.slices import HeldTensor
from starcli.fusion import unrelated_files
from starcli.fusion.merged_tensors import SlicedModel
from starcli.fusion.unrelated_files import unrelated_to_first

Tensors = dict[str, torch.Tensor]


def drawn(seed: int, units: int = 90, **more: torch.Tensor) -> Tensors:
    """A network of two layers."""
    draws = torch.Generator().manual_seed(seed)
    shapes = {"in": (units, 40), "out": (10, units), "conv": (units, 20, 3, 3), "norm": (units,)}
    return {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()} | more


def unrelated(*models: Tensors) -> list[str]:
    return unrelated_to_first([SlicedModel.of(str(number), each) for number, each in enumerate(models)])


def test_other_seeds_and_other_orders_of_units_are_told_from_fine_tunings() -> None:
    base, other = drawn(0), drawn(1)
    tuned = {name: tensor + 0.5 * drawn(2)[name] for name, tensor in base.items()}
    order = torch.randperm(90, generator=torch.Generator().manual_seed(3))
    moved = {**base, "in": base["in"][order], "out": base["out"][:, order], "conv": base["conv"][order]}
    assert unrelated(base, tuned, other, moved) == ["2", "3"]


def test_where_too_little_is_there_to_tell_nothing_is_said() -> None:
    assert unrelated(drawn(0, units=2), drawn(1, units=2)) == []
    vectors = [{"a": torch.randn(5000), "b": torch.zeros(60, 60)} for _ in range(2)]
    assert unrelated(*vectors) == []
    integers = [{"a": torch.randint(9, (60, 60))} for _ in range(2)]
    assert unrelated(*integers) == []


def test_what_models_do_not_share_does_not_count() -> None:
    base = drawn(0, head=torch.randn(3, 500), more=torch.randn(90, 90))
    tuned = {**base, "head": torch.randn(7, 500)}
    del tuned["more"]
    assert unrelated(base, tuned) == []


@dataclass(frozen=True)
class Counted(HeldTensor):
    """A tensor that keeps how many numbers were read of it."""

    read_numbers: list[int] = field(default_factory=list)

    def read(self, begin: int, end: int) -> torch.Tensor:
        self.read_numbers.append(end - begin)
        return super().read(begin, end)


def test_it_reads_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unrelated_files, "_NUMBERS", 1_000)
    monkeypatch.setattr(unrelated_files, "_MATRICES", 4)
    models = []
    for seed in (0, 1):
        draws = torch.Generator().manual_seed(seed)
        tensors = {str(n): Counted(torch.randn(300, 50, generator=draws)) for n in range(9)}
        models.append(SlicedModel(str(seed), tensors))
    assert unrelated_to_first(models) == ["1"]
    for model in models:
        read = [sum(each.read_numbers) for each in model.tensors.values() if isinstance(each, Counted)]
        assert sorted(read) == [0] * 5 + [1_000] * 4


def test_the_command_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        save_file(drawn(seed), f"{seed}.safetensors")
    tuned = {name: tensor + 0.1 * drawn(2)[name] for name, tensor in drawn(0).items()}
    save_file(tuned, "tuned.safetensors")
    dare = ("fuse", "--method", "dare-linear", "--base", "0.safetensors", "--seeds", "0-1", "-o", "d{seed}.safetensors")
    ran = run_here(*dare, "--sources", "tuned.safetensors", "1.safetensors")
    assert ran.status == 0, ran.err
    assert ran.err.count("units in another order than tuned.safetensors") == 1
    words = ("fuse", "--method", "linear", "--sources", "0.safetensors", "tuned.safetensors", "-o", "m.safetensors")
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    assert "another order" not in ran.err
