"""Batches of passes that only score are larger on a GPU, those of statistics the same everywhere."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.pretended import pretended_cuda
from support.training import Small, small

from starcli.data.normalisation import Normalisation
from starcli.data.splits import MemorySplit
from starcli.evaluation import batches
from starcli.evaluation.evaluator import Evaluator
from starcli.models.build import complete_arguments
from starcli.runtime.device import choose_device


def images(count: int) -> MemorySplit:
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(256, (count, 1, 32, 32), dtype=torch.uint8, generator=generator)
    return MemorySplit(raw, torch.randint(10, (count,), generator=generator), Normalisation(255.0, (0.5,), (0.25,)))


def workspace() -> Small:
    dataset = replace(small().dataset, train=images(300), test=images(200), input_shape=(1, 32, 32))
    arguments = complete_arguments("resnet", {"width": 4, "stages": 2}, input_shape=(1, 32, 32), num_classes=10)
    return Small("resnet", arguments, dataset)


def measured(there: Small) -> tuple[Any, list[int]]:
    """Scores of a network with statistics re-estimated, and the size of each of its batches."""
    evaluator, sizes = Evaluator(there), list[int]()  # type: ignore[arg-type]
    evaluator.network.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    evaluator.load(there.network(0).state())
    return evaluator.scores(), sizes


def test_a_gpu_scores_large_batches_and_takes_the_same_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, sizes = measured(workspace())
    assert sizes.count(100) == 3 + 3 + 2  # statistics, and the scores of both splits
    with pretended_cuda(monkeypatch):
        found, sizes_there = measured(replace(workspace(), device=choose_device("cuda")))
    assert sizes_there.count(100) == 3
    assert sizes_there.count(300) == sizes_there.count(200) == 1
    for split, scores in expected.items():
        assert found[split].accuracy == scores.accuracy
        assert found[split].loss == pytest.approx(scores.loss, rel=1e-6)


@pytest.mark.parametrize(("free", "passes"), [(8 << 30, 1), (0, 2)])
def test_batches_are_prepared_once_where_they_fit(monkeypatch: pytest.MonkeyPatch, free: int, passes: int) -> None:
    monkeypatch.setattr(batches, "KEPT_BATCH_BYTES", 0)
    monkeypatch.setattr("starcli.data.splits.READY_BYTES", 0)
    prepared = []
    monkeypatch.setattr(
        "starcli.data.splits.prepare_batch", lambda raw, *_, **__: prepared.append(len(raw)) or raw.float()
    )
    with pretended_cuda(monkeypatch, free=free):
        found = batches.Batches(images(300), 300, choose_device("cuda"))
        for _ in range(2):
            assert [len(inputs) for inputs, _ in found] == [300]
    assert prepared == [300] * passes
