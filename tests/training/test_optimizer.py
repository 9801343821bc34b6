"""Optimisers: the steps of torch's, without its compiler."""

import subprocess
import sys

import pytest
import torch

from starcli.recipes.recipe import Recipe
from starcli.training.optimizer import build_optimizer


@pytest.mark.parametrize(
    ("recipe", "optimizer", "options"),
    [
        (Recipe(lr=0.1, weight_decay=1e-3, nesterov=True), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (Recipe(lr=0.1, weight_decay=1e-3, momentum=0.0), torch.optim.SGD, {}),
        (Recipe(optimizer="adam", lr=0.1, weight_decay=1e-3), torch.optim.Adam, {}),
        (Recipe(optimizer="adamw", lr=0.1, weight_decay=1e-3), torch.optim.AdamW, {}),
    ],
)
def test_steps_are_those_of_torch(recipe, optimizer, options):
    starts = [torch.randn(5, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    parameters = [start.requires_grad_() for start in starts]
    ours = build_optimizer(recipe, [parameters[0]])
    torchs = optimizer([parameters[1]], lr=0.1, weight_decay=1e-3, fused=True, **options)
    for _ in range(5):
        for each, parameter in zip((ours, torchs), parameters, strict=True):
            parameter.grad = None
            parameter.square().sum().backward()
            each.step()
        assert torch.equal(*parameters)
    assert [each.keys() for each in ours.state.values()] == [each.keys() for each in torchs.state.values()]
    ours.load_state_dict(torchs.state_dict())


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_part_without_a_gradient_at_first_steps_as_in_torch_without_its_kernel(name):
    """As an expert to which no example of the first batches is sent: torch's own kernel of SGD fails of it."""
    recipe = Recipe(optimizer=name, lr=0.1, weight_decay=1e-3)
    options = {"momentum": recipe.momentum} if name == "sgd" else {}
    torchs_own = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    ours, theirs = ([torch.linspace(1, 2, 5).requires_grad_() for _ in range(3)] for _ in range(2))
    both = build_optimizer(recipe, ours), torchs_own(theirs, lr=0.1, weight_decay=1e-3, foreach=False, **options)
    for used in ([0], [0, 1], [1, 2], [0, 1, 2], [2]):
        for parts, optimizer in zip((ours, theirs), both, strict=True):
            for number, part in enumerate(parts):
                part.grad = part.detach() ** 2 if number in used else None
            optimizer.step()
    for part, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(part, other)


def test_neither_training_nor_alignment_nor_a_proof_nor_a_gpu_s_arithmetic_loads_the_compiler(tmp_path):
    """Which takes about a second."""
    model = str(tmp_path / "{seed}.safetensors")
    code = f"""
import sys
from starcli.cli.main import main
sys.argv = ["starcli", "train", "--arch", "mlp", "--data", "digits", "--limit", "100", "--epochs", "1",
            "--seeds", "0-1", "-o", {model!r}]
try:
    main()
except SystemExit as end:
    assert not end.code
import torch
from starcli.alignment.layer_inputs import layer_inputs
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.proof.prove import prove
two = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU6(), torch.nn.Linear(3, 2))
spec = parse("{{format: 1, tensors: {{0.weight: [h, _], 0.bias: [h], 2.weight: [_, h], 2.bias: [_]}}}}")
assert prove(two, resolve_for(two, spec), (torch.zeros(4, 2),)).proved
assert list(layer_inputs(two, torch.zeros(4, 2), {{"2.weight"}})) == ["2.weight"]
import starcli as sc
models = [{model!r}.format(seed=seed) for seed in range(2)]
for method in "straight-through", "sinkhorn", "learn":
    sc.align(*models, method=sc.Alignment(method, steps=2))
from starcli.runtime.arithmetic import set_arithmetic
set_arithmetic(torch.device("cuda", 0), "fp32", fast=False)
print("LOADED", sorted({{"torch._dynamo", "torch._inductor.config"}} & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "LOADED []" in found.stdout
