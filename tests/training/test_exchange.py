"""What ranks tell each other of a step: as many threads here, each with its part."""

import copy
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.training import Small, Stopping, small
from torch import nn

from starcli.errors import StarcliError
from starcli.models.flat_network import FlatNetwork
from starcli.recipes.recipe import Recipe
from starcli.runtime import distributed
from starcli.training.batch_pieces import cut_batch
from starcli.training.exchange import Exchange
from starcli.training.run import TrainingRun
from starcli.training.seeds import generator
from starcli.training.train import PlainObjective


def summing(monkeypatch, ranks):
    """Let the threads of so many ranks sum what they begin to, each its first with the others' first and so on."""
    barrier, given, own = threading.Barrier(ranks, timeout=20), defaultdict(dict), threading.local()

    def begin_sum(piece):
        own.begun = getattr(own, "begun", 0) + 1
        mine = given[own.begun]
        mine[threading.get_ident()] = piece.clone()

        def wait():
            barrier.wait()
            piece.copy_(torch.stack([mine[key] for key in sorted(mine)]).sum(0))
            barrier.wait()

        return wait

    monkeypatch.setattr(distributed, "begin_sum", begin_sum)


def exchanged(monkeypatch, ranks):
    """What `Exchange.__call__` gives to each rank of (exchange, *arguments)."""
    for exchange, *_ in ranks:
        exchange.begin(1)
    summing(monkeypatch, len(ranks))
    with ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(lambda rank: rank[0](*rank[1:]), ranks))


def step(gradients, share, loss=0.0):
    return [gradients, torch.tensor(loss), torch.tensor(1), 0, share]


def test_a_gradient_that_a_rank_lacks_is_the_others_sum(monkeypatch):
    """None only where no rank has one: momentum and decay then leave the parameter alone, as in a single process."""
    exchanges = [Exchange([torch.zeros(2), torch.zeros(3)], []) for _ in range(2)]
    one, two = torch.ones(2), torch.ones(3)

    def both(first, second):
        given = [[None if each is None else each.clone() for each in mine] for mine in (first, second)]
        found = exchanged(monkeypatch, [(e, *step(g, 0.5)) for e, g in zip(exchanges, given, strict=True)])
        return [[None if each is None else each.tolist() for each in mine.gradients] for mine in found]

    assert both([one, two], [one, two]) == [[[2, 2], [2, 2, 2]]] * 2
    assert both([None, two], [3 * one, two]) == [[[3, 3], [2, 2, 2]]] * 2
    assert both([None, two], [None, 2 * two]) == [[None, [3, 3, 3]]] * 2
    assert both([None, None], [None, two]) == [[None, [1, 1, 1]]] * 2


def test_sums_of_loss_predictions_and_stops(monkeypatch):
    exchanges = [Exchange([torch.zeros(1)], []) for _ in range(2)]
    found = exchanged(
        monkeypatch,
        [
            (e, [None], torch.tensor(1.5), torch.tensor(3), stop, 0.5)
            for e, stop in zip(exchanges, (0, 15), strict=True)
        ],
    )
    assert [(float(each.loss), int(each.correct), each.stop) for each in found] == [(3, 6, True)] * 2


def test_running_statistics_are_those_of_the_batch(monkeypatch):
    """5 examples on 3 ranks are pieces of 3 and 2, and the third rank does the first one for nothing."""
    inputs = torch.randn(5, 4, generator=generator(0))
    pieces = [*cut_batch(5, 3), cut_batch(5, 3)[0]]
    shares = [pieces[0].weight, pieces[1].weight, 0.0]
    norms = [nn.BatchNorm1d(4) for _ in pieces]
    buffers = [[norm.running_mean, norm.running_var] for norm in norms]
    exchanges = [Exchange([torch.zeros(1)], each) for each in buffers]
    mean, variance = torch.zeros(4), torch.ones(4)
    for _ in range(3):
        for norm, piece in zip(norms, pieces, strict=True):
            norm(inputs[piece.start : piece.stop])
        exchanged(monkeypatch, [(e, *step([None], share)) for e, share in zip(exchanges, shares, strict=True)])
        mean = 0.9 * mean + 0.1 * (0.6 * inputs[:3].mean(0) + 0.4 * inputs[3:].mean(0))
        variance = 0.9 * variance + 0.1 * (0.6 * inputs[:3].var(0) + 0.4 * inputs[3:].var(0))
        for norm in norms:
            torch.testing.assert_close(norm.running_mean, mean)
            torch.testing.assert_close(norm.running_var, variance)
            assert torch.equal(norm.running_mean, norms[0].running_mean)


def test_what_no_rank_changed_stays_to_the_bit(monkeypatch):
    """Frozen weights, and the infinite entries of masks."""
    frozen = torch.cat([torch.randn(1000, generator=generator(0)), torch.tensor([-torch.inf])])
    buffers = [frozen.clone() for _ in range(3)]
    exchanges = [Exchange([torch.zeros(1)], [buffer]) for buffer in buffers]
    for _ in range(3):
        exchanged(monkeypatch, [(e, *step([None], share)) for e, share in zip(exchanges, (0.7, 0.3, 0.0), strict=True)])
    assert all(torch.equal(buffer, frozen) for buffer in buffers)


class Skipping(nn.Module):
    """A network with a layer that this rank's examples never reach."""

    def __init__(self):
        super().__init__()
        self.used, self.skipped = nn.Linear(64, 10), nn.Linear(2, 1, bias=False)

    def forward(self, x):
        return self.used(x.flatten(1))


class Workspace(Small):
    def network(self, seed=None):
        return FlatNetwork(Skipping())


@pytest.mark.parametrize("others", [0.0, 1.0])
def test_a_rank_without_a_gradient_takes_the_others_step(monkeypatch, others):
    base = small("mlp", limit=20)
    workspace = Workspace(base.name, base.arguments, base.dataset)
    recipe = Recipe(epochs=1, batch_size=20, lr=0.5, momentum=0.0, weight_decay=0.1, schedule="constant")
    flat = workspace.network()
    run = TrainingRun(
        PlainObjective(workspace, flat, recipe), workspace.dataset, recipe, 0, pieces=2, progress=Stopping()
    )
    monkeypatch.setattr(distributed, "_world", distributed._World(0, 2))
    monkeypatch.setattr(distributed, "maximum", lambda value: value)
    before = flat.network.skipped.weight.clone()

    def begin_sum(_):
        """The other rank's part: a gradient of 4 by the skipped layer."""
        exchange = run.exchange
        exchange.views[2].add_(4.0 * others)
        exchange.tail[exchange.TAIL + 2] += others
        return lambda: None

    monkeypatch.setattr(distributed, "begin_sum", begin_sum)
    run.run()
    rate = run.position.history[0]["lr"]
    expected = before - rate * (4.0 + 0.1 * before) if others else before
    torch.testing.assert_close(flat.network.skipped.weight, expected)


class Branching(nn.Module):
    """Three layers, the middle one for positive inputs alone."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        hidden = self.first(x)
        return self.last(self.middle(hidden) if x[0, 0] > 0 else hidden)


def branching(monkeypatch, signs):
    """Networks, inputs and exchanges of ranks whose first input has these signs; buckets of one layer."""
    monkeypatch.setattr(Exchange, "BUCKET", 40)  # bytes: at most a layer, more than a bias
    torch.manual_seed(0)
    network = Branching()
    networks = [copy.deepcopy(network) for _ in signs]
    inputs = [torch.rand(3, 4).add(0.1) * sign for sign in signs]
    exchanges = [Exchange([p.detach() for p in each.parameters()], []) for each in networks]
    return networks, inputs, exchanges


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, -1), (-1, 1, 1)])
def test_gradients_sent_early_have_the_sums_of_those_sent_at_the_end(monkeypatch, signs):
    networks, inputs, exchanges = branching(monkeypatch, signs)
    reference = copy.deepcopy(networks[0])
    for each in inputs:
        reference(each).square().sum().backward()
    summing(monkeypatch, len(signs))

    def rank(place):
        network, exchange, early = networks[place], exchanges[place], []
        parameters = list(network.parameters())
        with exchange.watching(parameters):
            for _ in range(2):
                for parameter in parameters:
                    parameter.grad = None
                exchange.begin(1)
                network(inputs[place]).square().sum().backward()
                early.append(len(exchange.sums))
                found = exchange([p.grad for p in parameters], torch.tensor(1.0), torch.tensor(2), 0, 1.0)
        return early, found

    with ThreadPoolExecutor(len(signs)) as pool:
        results = list(pool.map(rank, range(len(signs))))
    for sign, (early, found) in zip(signs, results, strict=True):
        assert [each.parts for each in exchanges[0].buckets] == [[5, 4], [3, 2], [1, 0]]
        assert early == [
            0,
            2 if sign > 0 else 1,
        ]  # the first step looks on; without the middle layer only the last one's
        assert (float(found.loss), int(found.correct)) == (len(signs), 2 * len(signs))
        for parameter, gradient in zip(reference.parameters(), found.gradients, strict=True):
            if parameter.grad is None:
                assert gradient is None
            else:
                torch.testing.assert_close(gradient, parameter.grad)


def steps_of(exchange, network, inputs, passes):
    """How many buckets are sent before the end of each step of so many passes, two of which are announced."""
    parameters, found = list(network.parameters()), []
    with exchange.watching(parameters):
        for count in passes:
            exchange.begin(2)
            for _ in range(count):
                network(inputs).sum().backward()
                found.append(len(exchange.sums))
            exchange([p.grad for p in parameters], torch.tensor(0.0), torch.tensor(0), 0, 1.0)
    return found


def test_nothing_is_sent_before_the_last_pass_of_a_step(monkeypatch):
    (network,), (inputs,), (exchange,) = branching(monkeypatch, (1,))
    assert steps_of(exchange, network, inputs, [2, 2]) == [0, 0, 0, 2]
    with pytest.raises(StarcliError, match="before they were whole"):
        steps_of(exchange, network, inputs, [3])


def test_where_a_pass_leaves_a_gradient_in_parts_nothing_is_sent_early(monkeypatch):
    (network,), (inputs,), (exchange,) = branching(monkeypatch, (1,))
    assert steps_of(exchange, network, inputs, [3, 3]) == [0] * 6
