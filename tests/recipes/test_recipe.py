"""Recipes: what ships loads, flags override, errors name the field; schedules against their closed forms."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starcli.errors import StarcliError
from starcli.recipes.recipe import Recipe, load_recipe
from starcli.recipes.shipped import shipped_recipes
from starcli.registry.architectures import ARCHITECTURES
from starcli.registry.data_sets import DATASETS
from starcli.training.schedule import learning_rate


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_load_and_name_what_exists(name):
    recipe = load_recipe(name)
    assert recipe.arch is None or recipe.arch in ARCHITECTURES
    assert recipe.data is None or recipe.data in DATASETS
    assert shipped_recipes()[name]
    assert Recipe(**recipe.settings()).settings() == recipe.settings()


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if load_recipe(name).arch])
def test_shipped_arguments_fit_their_architecture(name):
    from starcli.models.build import build_outline

    recipe = load_recipe(name)
    build_outline(recipe.arch, **recipe.arch_args)


def test_the_default_recipe_is_what_the_fields_say():
    assert load_recipe().settings() == Recipe().settings()


def test_published_facts():
    resnet = load_recipe("paper/resnet18-cifar10")
    assert (resnet.epochs, resnet.batch_size, resnet.lr, resnet.momentum, resnet.weight_decay) == (
        200,
        128,
        0.1,
        0.9,
        5e-4,
    )
    assert (resnet.schedule, resnet.nesterov, resnet.val_fraction) == ("cosine", False, None)
    dense = load_recipe("paper/densenet40-12-cifar100")
    assert (dense.epochs, dense.batch_size, dense.weight_decay, dense.milestones) == (300, 64, 1e-4, (150, 225))
    released = load_recipe("released/vgg11-cifar10")
    assert (released.nesterov, released.val_fraction, released.schedule, released.epochs) == (True, 0.1, "cosine", 300)
    assert load_recipe("paper/vgg11-cifar10").milestones == (100, 150)


def test_listing_needs_no_torch():
    code = (
        "import sys; from starcli.recipes.shipped import shipped_recipes;"
        "from starcli.recipes.recipe import load_recipe; load_recipe(list(shipped_recipes())[0])"
    )
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


def test_a_flag_wins_over_the_recipe_and_none_is_no_flag():
    recipe = load_recipe("paper/resnet18-cifar10").override(epochs=3, lr=None, augmentation=())
    assert (recipe.epochs, recipe.lr, recipe.augmentation, recipe.arch) == (3, 0.1, (), "resnet18-cifar")


def test_each_optimizer_has_its_own_default_rate():
    assert Recipe().rate == 0.1
    assert Recipe().override(optimizer="adamw").rate == 1e-3
    assert Recipe(optimizer="adamw", lr=0.5).settings()["lr"] == 0.5


def test_a_file_of_the_users_own(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("epochs: 3\nlr: 5e-2\nnesterov: true\narch_args: {width: 4, batch_norm: none}\nbetas: [0.5, 0.6]\n")
    recipe = load_recipe(path)
    assert (recipe.lr, recipe.nesterov, recipe.arch_args) == (0.05, True, {"width": 4, "batch_norm": "none"})
    assert recipe.betas == (0.5, 0.6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3", ["epoch: unknown setting", "epochs"]),
        ("epochs: 0\nlr: -1", ["epochs:", "lr:"]),
        ("epochs: many", ["epochs:"]),
        ("lr: nan", ["lr:"]),
        ("schedule: cosin", ["did you mean cosine"]),
        ("optimizer: adamm", ["did you mean adam"]),
        ("schedule: step", ["milestones"]),
        ("milestones: [3, 2]", ["ascending"]),
        ("warmup: 25", ["warmup"]),
        ("optimizer: adam\nnesterov: true", ["nesterov"]),
        ("betas: [0.9, 1]", ["betas"]),
        ("- 3", ["map"]),
        ("epochs: 1\nepochs: 2", ["twice"]),
        ("epochs: &a 1\nbatch_size: *a", ["anchor"]),
        ("lr: !!python/object/apply:os.getcwd []", ["tag"]),
        ("", []),
        ("#" * 70_000, ["larger"]),
    ],
)
def test_wrong_recipes_say_where(tmp_path, text, words):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(StarcliError) as caught:
        load_recipe(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("name", ["paper/resnet18-cifar1", "../default", "nosuch.yaml", "paper"])
def test_unknown_recipes(name):
    with pytest.raises(StarcliError):
        load_recipe(name)


def test_a_recipe_that_is_no_text(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StarcliError, match="UTF-8"):
        load_recipe(path)


STEPS = 7


@given(st.integers(1, 40), st.floats(0, 0.9))
def test_cosine(epochs, share):
    recipe = Recipe(epochs=epochs, lr=0.3, warmup=share * epochs)
    total = epochs * STEPS
    rates = [learning_rate(recipe, step, STEPS) for step in range(total)]
    assert all(0 < rate <= 0.3 for rate in rates)
    for step, rate in enumerate(rates):
        if step >= recipe.warmup * STEPS:
            done = (step / STEPS - recipe.warmup) / (epochs - recipe.warmup)
            assert rate == pytest.approx(0.15 * (1 + math.cos(math.pi * done)))
        else:
            assert rate == pytest.approx(min(0.3, 0.3 * (step + 1) / (recipe.warmup * STEPS)))


def test_cosine_is_torchs():
    recipe = Recipe(epochs=4, lr=0.3)
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4 * STEPS)
    for step in range(4 * STEPS):
        assert learning_rate(recipe, step, STEPS) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_steps_and_constant():
    recipe = Recipe(epochs=10, lr=1.0, schedule="step", milestones=(3, 5.5), gamma=0.1)
    rates = [learning_rate(recipe, step, 2) for step in range(20)]
    assert rates == pytest.approx([1.0] * 6 + [0.1] * 5 + [0.01] * 9)
    constant = Recipe(epochs=4, lr=0.2, schedule="constant", warmup=2)
    assert [learning_rate(constant, step, 2) for step in range(8)] == pytest.approx([0.05, 0.1, 0.15] + [0.2] * 5)


def test_a_recipe_in_python_is_refused_as_a_file_is():
    with pytest.raises(StarcliError, match="not settings that training can have") as wrong:
        Recipe(epoch=3, lr=-1)
    assert set(wrong.value.problems) == {
        "lr: expected at least 0, found -1",
        "epoch: unknown setting; did you mean epochs?",
    }


def test_flags_that_nothing_would_read_are_errors_but_recipes_may_hold_everything():
    whole = Recipe.model_validate(Recipe().model_dump())
    for flags, words in (
        ({"optimizer": "adam", "momentum": 0.5}, "--momentum: adam has none"),
        ({"betas": [0.9, 0.99]}, "--betas: sgd has none"),
        ({"milestones": [3]}, "--milestones: the cosine schedule has none"),
    ):
        with pytest.raises(StarcliError, match=words):
            whole.override(**flags)
    assert whole.override(optimizer="adamw", betas=[0.9, 0.99]).momentum == 0.9
    assert whole.override(schedule="step", milestones=[3], gamma=0.5).milestones == (3,)
