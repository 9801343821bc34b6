"""Two-layer networks x -> sum_k outer_k act(inner_k . x) with one logit, many at once, in float64.

All is over stacks of networks: trained together, and on the lines from one of them to many others.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, softplus

from starcli.alignment.matching.linear_assignment import assign

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"identity": lambda values: values, "elu": elu}
TRIED_UP_TO = 4
"""Up to this width all permutations are tried."""
PROBES = 64
"""On so many of the points the middles of lines are compared while units are swapped."""
T = torch.linspace(0, 1, 11, dtype=torch.float64)
"""Points of a line."""


@dataclass(frozen=True)
class Data:
    """Points (N, 2) of two classes, and their signs (N,), -1 or 1."""

    points: Tensor
    signs: Tensor

    def loss(self, logits: Tensor) -> Tensor:
        """Mean binary cross-entropy in nats (...) of logits (..., N)."""
        return softplus(-self.signs * logits).mean(dim=-1)

    def curvature(self, logits: Tensor) -> Tensor:
        """Largest eigenvalue (...) of the mean of s (1 - s) x x^T, s = sigmoid(logit), of logits (..., N).

        It is that of the second derivative of the loss by the weights of a linear map x -> logit.
        """
        weights = torch.sigmoid(logits) * torch.sigmoid(-logits) / len(self.points)
        return torch.linalg.eigvalsh((self.points.T * weights[..., None, :]) @ self.points)[..., -1]


@dataclass(frozen=True)
class Networks:
    """A stack of networks: inner weights (..., m, 2), outer weights (..., m)."""

    inner: Tensor
    outer: Tensor
    activation: str

    def __getitem__(self, chosen: int | slice) -> "Networks":
        """One network, or a stack of some."""
        return Networks(self.inner[chosen], self.outer[chosen], self.activation)

    def logits(self, points: Tensor) -> Tensor:
        """Logits (..., N) of points (N, 2)."""
        if self.activation == "identity":
            return (self.outer[..., None, :] @ self.inner).squeeze(-2) @ points.T
        hidden = ACTIVATIONS[self.activation](self.inner @ points.T)
        return (self.outer[..., None, :] @ hidden).squeeze(-2)

    def permuted(self, permutations: Tensor) -> "Networks":
        """The same functions, unit permutations[..., k] in place k."""
        inner = self.inner.take_along_dim(permutations[..., None], dim=-2)
        return Networks(inner, self.outer.take_along_dim(permutations, dim=-1), self.activation)

    def gradients(self, data: Data) -> tuple[Tensor, Tensor]:
        """Gradients of each network's own loss by its inner and its outer weights."""
        weights = self.inner.detach().requires_grad_(), self.outer.detach().requires_grad_()
        loss = data.loss(Networks(*weights, self.activation).logits(data.points)).sum()
        inner, outer = torch.autograd.grad(loss, weights)
        return inner, outer


def initial(count: int, width: int, activation: str, draws: torch.Generator) -> Networks:
    """Networks as torch begins its linear layers: uniform up to 1 / sqrt(the number of inputs)."""

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=draws, dtype=torch.float64) - 1

    return Networks(uniform(count, width, 2) / math.sqrt(2), uniform(count, width) / math.sqrt(width), activation)


def modules(networks: Networks) -> list[nn.Module]:
    """The networks for the program, in float32.

    Two logits, -z / 2 and z / 2, whose cross-entropy is the binary one of z.
    """
    built = []
    for inner, outer in zip(networks.inner.float(), networks.outer.float(), strict=True):
        middle: nn.Module = nn.ELU() if networks.activation == "elu" else nn.Identity()
        layers = nn.Linear(2, len(outer), bias=False), middle, nn.Linear(len(outer), 2, bias=False)
        network = nn.Sequential(*layers)
        network.load_state_dict({"0.weight": inner, "2.weight": torch.stack([-outer, outer]) / 2})
        built.append(network)
    return built


def train(networks: Networks, data: Data, steps: int, rate: float = 0.2, momentum: float = 0.9) -> Networks:
    """Gradient descent on all points with momentum; the rate falls to 0 by a cosine."""
    weights = networks.inner, networks.outer
    motion = [torch.zeros_like(each) for each in weights]
    for step in range(steps):
        now = rate * (1 + math.cos(math.pi * step / steps)) / 2
        slopes = Networks(*weights, networks.activation).gradients(data)
        motion = [momentum * before + slope for before, slope in zip(motion, slopes, strict=True)]
        weights = weights[0] - now * motion[0], weights[1] - now * motion[1]
    return Networks(*weights, networks.activation)


def descended(networks: Networks, data: Data, iterations: int) -> Networks:
    """Networks after L-BFGS, each by itself, which ends where no entry of the gradient exceeds 1e-9."""
    from scipy.optimize import minimize

    sizes = [networks.inner[0].numel(), networks.outer[0].numel()]
    limits = {"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 0, "gtol": 1e-9, "maxcor": 50}

    def unpacked(vectors: Tensor) -> Networks:
        inner, outer = vectors.split(sizes, dim=-1)
        return Networks(inner.unflatten(-1, networks.inner.shape[1:]), outer, networks.activation)

    def objective(vector: Any) -> tuple[float, Any]:
        now = unpacked(torch.from_numpy(vector))
        slope = torch.cat([each.flatten() for each in now.gradients(data)])
        return data.loss(now.logits(data.points)).item(), slope.numpy()

    starts = torch.cat([networks.inner.flatten(1), networks.outer], dim=1).numpy()
    ends = [minimize(objective, start, jac=True, method="L-BFGS-B", options=limits).x for start in starts]
    return unpacked(torch.stack([*map(torch.from_numpy, ends)]))


def barriers(one: Networks, others: Networks, data: Data) -> Tensor:
    """Loss barriers (...) on the lines from one network to each of a stack, as they are."""
    losses = []
    for t in T:  # one at a time: faster than all in one large tensor
        inner, outer = torch.lerp(one.inner, others.inner, t), torch.lerp(one.outer, others.outer, t)
        losses.append(data.loss(Networks(inner, outer, one.activation).logits(data.points)))
    rises = [each - torch.lerp(losses[0], losses[-1], t) for each, t in zip(losses, T, strict=True)]
    return torch.stack(rises).amax(dim=0)


def weight_matching(one: Networks, others: Networks) -> Tensor:
    """Permutations (k, m) that bring the weights of each of k networks nearest to those of one."""
    gains = one.inner @ others.inner.mT + one.outer[:, None] * others.outer[:, None]
    return torch.stack([torch.from_numpy(assign(each.numpy())) for each in gains])


def winning_barriers(one: Networks, others: Networks, matched: Tensor, data: Data) -> Tensor:
    """The least barriers (k,) that permutations leave, between one network and each of k.

    All are tried up to m = 4. Above, units are swapped from `matched` on, which bounds the least from above.
    """
    width = matched.shape[-1]
    found = barriers(one, others.permuted(matched), data)
    tried = itertools.permutations(range(width)) if width <= TRIED_UP_TO else [swapped(one, others, matched, data)]
    for each in tried:
        permutation = torch.as_tensor(each).expand_as(matched)
        found = torch.minimum(found, barriers(one, others.permuted(permutation), data))
    return found


def swapped(one: Networks, others: Networks, start: Tensor, data: Data) -> Tensor:
    """Permutations (k, m) after swaps of two units, each time the one that helps most, until none does.

    The network half way is a sum over its units, logits z = sum_k h[k, p[k]] with h[k, l](x) =
    (a_k + b_l) act((u_k + v_l) . x / 2) / 2, so that a swap replaces two terms. What falls is the loss half way above
    its ends, to second order where both compute nearly the same: the mean over points of c (z - y)^2, where y is the
    mean of the ends' logits and c = s (1 - s), s = sigmoid(y), the curvature of the loss there.
    """
    points = data.points[:PROBES]
    ends = (one.logits(points) + others.logits(points)) / 2  # (k, P)
    weights = (torch.sigmoid(ends) * torch.sigmoid(-ends)).sqrt()[:, None, None]
    inner, outer = (one.inner[:, None] + others.inner[:, None]) / 2, (one.outer[:, None] + others.outer[:, None]) / 2
    hidden = ACTIVATIONS[one.activation](inner @ points.T)
    terms = weights * outer[..., None] * hidden  # (k, m, m, P)
    places, (rows, columns) = torch.arange(start.shape[-1]), torch.triu_indices(start.shape[-1], start.shape[-1], 1)
    found, active = start.clone(), torch.arange(len(start))
    while len(active):
        table, p, each = terms[active], found[active], torch.arange(len(active))[:, None]
        own = table[each, places, p]
        rest = own.sum(dim=1) - (weights[:, 0, 0] * ends)[active]
        change = table[each, rows, p[:, columns]] + table[each, columns, p[:, rows]] - own[:, rows] - own[:, columns]
        after, best = (rest[:, None] + change).square().sum(dim=-1).min(dim=1)
        helps = after < rest.square().sum(dim=-1) * (1 - 1e-9)
        i, j = rows[best[helps]], columns[best[helps]]
        active, p = active[helps], p[helps]
        found[active, i], found[active, j] = p[torch.arange(len(active)), j], p[torch.arange(len(active)), i]
    return found


def worst_barriers(networks: Networks, data: Data) -> dict[str, Tensor]:
    """The largest barrier (n,) of each network to all others: by weight matching, and with winning permutations."""
    count = len(networks.outer)
    found = {name: torch.zeros(count, count, dtype=torch.float64) for name in ("matching", "winning")}
    for number in range(count - 1):
        one, others = networks[number], networks[number + 1 :]
        matched = weight_matching(one, others)
        by_name = {
            "matching": barriers(one, others.permuted(matched), data),
            "winning": winning_barriers(one, others, matched, data),
        }
        for name, values in by_name.items():
            found[name][number, number + 1 :] = found[name][number + 1 :, number] = values
    return {name: values.amax(dim=1) for name, values in found.items()}
