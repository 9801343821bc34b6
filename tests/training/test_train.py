"""Training: the loop against a plain PyTorch loop, and runs that were stopped against runs that were not."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from support.tensors import same
from support.training import Memory, Stopping, small
from torch.nn.functional import cross_entropy

from starcli.errors import StarcliError
from starcli.models.build import build_network
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import Interrupted
from starcli.training.batch_pieces import steps_per_epoch
from starcli.training.optimizer import build_optimizer
from starcli.training.schedule import learning_rate
from starcli.training.seeds import generator, generators_restored, seed_globally, substream
from starcli.training.train import kept_epochs, train_network

RECIPE = Recipe(epochs=3, batch_size=48, lr=0.05)


def by_hand(workspace, recipe, seed):
    """The textbook loop: torch's optimiser over separate parameters, the same order of the data."""
    network = build_network(workspace.name, generator=torch.Generator().manual_seed(seed), **workspace.arguments)
    options = {"lr": recipe.rate, "weight_decay": recipe.weight_decay, "foreach": False}
    if recipe.optimizer == "sgd":
        options |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer](
        network.parameters(), **options
    )
    inputs, labels = next(workspace.dataset.train.batches(10_000))
    steps, losses = steps_per_epoch(len(labels), recipe.batch_size), []
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(labels), generator=generator(seed, "order", epoch))
        for step, chosen in enumerate(order.split(recipe.batch_size)):
            optimizer.param_groups[0]["lr"] = learning_rate(recipe, epoch * steps + step, steps)
            optimizer.zero_grad()
            loss = cross_entropy(network(inputs[chosen]), labels[chosen], label_smoothing=recipe.label_smoothing)
            loss.backward()
            if recipe.clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimizer.step()
            losses.append(loss.item() * len(chosen))
    return network.state_dict(), losses


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"momentum": 0.0},
        {"nesterov": True, "weight_decay": 0.01},
        {"optimizer": "adam", "lr": 0.01},
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
        {"label_smoothing": 0.1, "clip": 0.5, "warmup": 1.0},
    ],
    ids=str,
)
def test_the_loop_is_the_textbook_loop(mlp, changes):
    recipe = RECIPE.override(**changes)
    trained = train_network(mlp, recipe, 3)
    expected, losses = by_hand(mlp, recipe, 3)
    for name, tensor in expected.items():
        torch.testing.assert_close(trained.tensors[name], tensor, rtol=1e-4, atol=1e-5)
    steps = len(losses) // recipe.epochs
    assert trained.history[-1]["loss"] == pytest.approx(sum(losses[-steps:]) / 200, rel=1e-4)


def test_running_statistics_are_those_of_training(resnet):
    recipe = RECIPE.override(epochs=2)
    trained = train_network(resnet, recipe, 1)
    expected, _ = by_hand(resnet, recipe, 1)
    for name, tensor in expected.items():
        torch.testing.assert_close(trained.tensors[name], tensor, rtol=1e-3, atol=1e-4)
    assert trained.tensors["bn1.num_batches_tracked"] == 2 * 3


def test_training_solves_the_digits(mlp):
    trained = train_network(mlp, RECIPE.override(epochs=20, lr=0.1), 0)
    assert trained.metrics["train"]["accuracy"] == 1.0
    assert trained.metrics["test"]["accuracy"] > 0.75
    assert [row["epoch"] for row in trained.history] == list(range(1, 21))


def stopped_run(workspace, recipe, seed, pauses, **options):
    """A run that is stopped after each of `pauses` steps and begun anew, with a state between."""
    state = Memory()
    for pause in pauses:
        with pytest.raises(Interrupted) as caught:
            train_network(workspace, recipe, seed, state=state, progress=Stopping(pause), **options)
        assert caught.value.signal == 2
    return train_network(workspace, recipe, seed, state=state, **options)


@pytest.fixture(scope="module", params=["mlp", "resnet", "adam"])
def never_stopped(mlp, resnet, request):
    """A workspace, a recipe, and what is trained by it."""
    recipe = RECIPE.override(augmentation=("pad-crop",)) if request.param == "resnet" else RECIPE
    recipe = recipe.override(optimizer="adam", lr=0.01) if request.param == "adam" else recipe
    workspace = resnet if request.param == "resnet" else mlp
    return workspace, recipe, train_network(workspace, recipe, 5)


@pytest.mark.parametrize("pauses", [[1], [5], [2, 3, 1], [3], [9]], ids=str)
def test_a_stopped_run_ends_as_if_never_stopped(never_stopped, pauses):
    workspace, recipe, whole = never_stopped
    pieces = stopped_run(workspace, recipe, 5, pauses)
    assert same(whole.tensors, pieces.tensors)
    assert list(whole.history) == list(pieces.history)
    assert whole.metrics == pieces.metrics


def test_a_network_kept_on_its_way_is_that_of_a_shorter_training(resnet):
    """At a constant rate; and the training is the same as if nothing was kept, also where it was stopped."""
    recipe = RECIPE.override(schedule="constant")
    shorter, whole = train_network(resnet, recipe.override(epochs=2), 3), train_network(resnet, recipe, 3)
    for pauses in ([], [2], [3 * 2], [3 * 2 + 1, 1]):  # of 3 steps an epoch
        kept = []
        found = stopped_run(resnet, recipe, 3, pauses, keep={2: kept.append})
        assert same(found.tensors, whole.tensors)
        assert kept
        for each in kept:
            assert same(each.tensors, shorter.tensors)
            assert each.metrics == shorter.metrics
            assert list(each.history) == list(shorter.history)


@pytest.mark.parametrize("epoch", [-1, 3, 7])
def test_what_cannot_be_kept(epoch):
    with pytest.raises(StarcliError, match=f"keep: after epoch {epoch} of 3: expected 0 to 2"):
        kept_epochs([1, epoch], RECIPE)


def test_epochs_to_keep_in_any_form_of_whole_numbers():
    for epochs in ([2, 1], np.array([1, 2]), torch.tensor([1, 2]), range(1, 3), {1, 2}, [1, 2, 2]):
        assert kept_epochs(epochs, RECIPE) == [1, 2]
    for epochs in (1, [1.5], "1,2", None):
        with pytest.raises(StarcliError, match="keep: expected epochs, such as"):
            kept_epochs(epochs, RECIPE)


def test_a_state_beyond_a_network_to_keep_says_so(resnet):
    stopped, passed = Memory(), []
    with pytest.raises(Interrupted):
        train_network(resnet, RECIPE, 3, state=stopped, progress=Stopping(2 * 3 + 1))  # of 3 steps an epoch
    train_network(resnet, RECIPE, 3, state=stopped, keep={1: print, 2: print}, passed=passed.append)
    assert passed == [1, 2]


def test_a_run_cut_off_at_any_save_goes_on_from_it(mlp):
    class Dying(Memory):
        def save(self, state):
            super().save(state)
            if self.saves in (2, 5, 6, 11):
                raise KeyboardInterrupt

    whole, state = train_network(mlp, RECIPE, 0), Dying(save_every=0)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            train_network(mlp, RECIPE, 0, state=state)
    assert same(whole.tensors, train_network(mlp, RECIPE, 0, state=state).tensors)
    assert state.saves > 11


def test_a_finished_state_gives_the_result_at_once(mlp):
    state, watcher = Memory(save_every=0), Stopping()
    first = train_network(mlp, RECIPE, 0, state=state)
    second = train_network(mlp, RECIPE, 0, state=state, progress=watcher)
    assert same(first.tensors, second.tensors)
    assert watcher.resumed >= 3 * 5 - 1


def test_seeds_do_not_touch_each_other_nor_the_global_generator(mlp):
    alone = train_network(mlp, RECIPE, 7)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train_network(mlp, RECIPE, 6)
    torch.rand(3)
    beside = train_network(mlp, RECIPE, 7)
    torch.rand(3)
    assert same(alone.tensors, beside.tensors)
    torch.set_rng_state(before)
    train_network(mlp, RECIPE, 6)
    assert torch.equal(before, torch.get_rng_state())
    assert not same(alone.tensors, train_network(mlp, RECIPE, 8).tensors)


def test_dropout_is_drawn_by_counter():
    workspace = small("wrn", limit=60, depth=10, width=2, dropout=0.4)
    recipe = RECIPE.override(epochs=2, batch_size=20)
    whole = train_network(workspace, recipe, 1)
    torch.rand(5)
    assert same(whole.tensors, stopped_run(workspace, recipe, 1, [2, 2]).tensors)


class FakeDevice:
    """The module of a device with a global generator of its own."""

    def __init__(self):
        self.state = torch.tensor([7], dtype=torch.uint8)
        self.seeds = []

    def get_rng_state(self, device):
        return self.state.clone()

    def set_rng_state(self, state, device):
        self.state = state

    def manual_seed(self, seed):
        self.seeds.append(seed)
        self.state = torch.tensor([seed % 256], dtype=torch.uint8)


@pytest.mark.parametrize("kind", ["mps", "cuda"])
def test_dropout_on_a_device_is_seeded_and_its_generator_put_back(kind, monkeypatch):
    fake, device = FakeDevice(), torch.device(kind, 0)
    monkeypatch.setattr(torch.cuda, "default_generators", (fake,))  # each GPU has its own
    for name in ("get_rng_state", "set_rng_state", "manual_seed"):
        monkeypatch.setattr(torch.get_device_module(kind), name, getattr(fake, name))
    before = torch.get_rng_state()
    with generators_restored(device):
        seed_globally(device, 3)
        first = torch.rand(2)
        assert fake.state.item() == 3
        seed_globally(device, 3)
        assert torch.equal(torch.rand(2), first)
    assert fake.seeds == [3, 3]
    assert fake.state.item() == 7
    assert torch.equal(torch.get_rng_state(), before)


def test_each_step_seeds_the_generators_of_its_device(mlp, monkeypatch):
    seen = []
    monkeypatch.setattr("starcli.training.run.generators_restored", lambda device: seen.append(device) or nullcontext())
    monkeypatch.setattr("starcli.training.seeds.seed_globally", lambda *place: seen.append(place))
    train_network(mlp, RECIPE.override(epochs=1), 2)
    assert seen == [mlp.device, *((mlp.device, substream(2, "dropout", 0, step)) for step in range(5))]


def test_validation_is_logged_and_scored():
    workspace = small("mlp", val_fraction=0.2, hidden_dim=8)
    trained = train_network(workspace, RECIPE, 0)
    assert set(trained.metrics) == {"train", "validation", "test"}
    assert trained.history[-1]["validation_accuracy"] == trained.metrics["validation"]["accuracy"]


def test_a_loss_that_explodes_names_the_step(mlp):
    watcher = Stopping()
    with pytest.raises(StarcliError, match=r"step \d+ \(epoch \d+\)"):
        train_network(mlp, RECIPE.override(lr=1e30), 0, progress=watcher)


def test_a_signal_during_the_final_scores_loses_nothing(mlp):
    state = Memory()
    with pytest.raises(Interrupted):
        train_network(mlp, RECIPE, 0, state=state, progress=Stopping(3 * 5))
    assert same(train_network(mlp, RECIPE, 0).tensors, train_network(mlp, RECIPE, 0, state=state).tensors)


@pytest.mark.parametrize(("examples", "size", "steps"), [(10, 5, 2), (11, 5, 2), (12, 5, 3), (1, 5, 1), (4, 5, 1)])
def test_a_last_batch_of_one_is_left_out(examples, size, steps):
    assert steps_per_epoch(examples, size) == steps


def test_a_last_batch_of_one_breaks_no_batch_norm():
    workspace = small("resnet", limit=41, width=2, stages=2)
    trained = train_network(workspace, RECIPE.override(epochs=2, batch_size=20), 0)
    assert trained.history[-1]["epoch"] == 2


def test_bf16_stays_near(mlp):
    from dataclasses import replace

    half = train_network(replace(mlp, precision="bf16"), RECIPE, 0)
    full = train_network(mlp, RECIPE, 0)
    assert half.metrics["train"]["loss"] == pytest.approx(full.metrics["train"]["loss"], rel=0.05)
    assert half.tensors["fc1.weight"].dtype == torch.float32


@pytest.mark.parametrize("changes", [{}, {"nesterov": True}, {"optimizer": "adam"}, {"optimizer": "adamw"}], ids=str)
def test_one_vector_is_stepped_as_its_parts_are(changes):
    """Fused, on the flat vector, against torch's per-parameter update."""
    vector = torch.randn(60, generator=generator(0))
    views = vector.split([10, 30, 20])
    parts = [part.clone().requires_grad_() for part in views]
    optimizer = build_optimizer(Recipe(**changes), views)
    options = {key: value for key, value in optimizer.defaults.items() if key != "decoupled_weight_decay"}
    reference = type(optimizer)(parts, **options | {"fused": False, "foreach": False})
    for step in range(5):
        gradient = torch.randn(60, generator=generator(1, step))
        for view, part, its in zip(views, parts, gradient.split([10, 30, 20]), strict=True):
            view.grad, part.grad = its.clone(), its.clone()
        optimizer.step()
        reference.step()
    torch.testing.assert_close(vector, torch.cat([part.detach() for part in parts]), rtol=1e-5, atol=1e-6)


def test_substreams_are_apart():
    places = [
        substream(seed, *place) for seed in range(3) for place in [(), ("order", 0), ("order", 1), ("draw", 0, 1)]
    ]
    assert len(set(places)) == len(places)
    assert all(0 <= place < 2**63 for place in places)
