"""Random small networks from a grammar of layers: whatever is derived is proved, and permuting keeps the function."""

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from starcli.symmetry.derive.derive import derive, derive_and_prove
from starcli.symmetry.permutation import Permutation

torch.set_num_threads(1)

WIDTHS = st.sampled_from([4, 6, 8])


class Residual(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, inner, 3, padding=1), nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.gelu(self.a(x)))


class Dense(nn.Module):
    """What is made is put behind what was there."""

    def __init__(self, width: int, more: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, more, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.tanh(self.conv(x))], 1)


class Excited(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 3, 1), nn.Conv2d(3, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(F.silu(self.down(x.mean((2, 3), keepdim=True)))))


class Attended(nn.Module):
    """Two heads over positions, on a stream of an even width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(flat).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return (flat + self.out(seen)).transpose(1, 2).unflatten(2, x.shape[2:])


class Swapped(nn.Module):
    """A channel shuffle of two groups."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    width = draw(WIDTHS)
    layers: list[nn.Module] = [nn.Conv2d(2, width, 3, padding=1)]
    kinds = [
        "conv",
        "grouped",
        "depthwise",
        "norm",
        "groups",
        "act",
        "residual",
        "dense",
        "excited",
        "attended",
        "swapped",
        "glu",
    ]
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)):
        match kind:
            case "conv" | "grouped":
                out = draw(WIDTHS)
                layers.append(nn.Conv2d(width, out, 1, groups=2 if kind == "grouped" else 1))
                width = out
            case "depthwise":
                layers.append(nn.Conv2d(width, width, 3, padding=1, groups=width))
            case "norm":
                layers.append(nn.BatchNorm2d(width))
            case "groups":
                layers.append(nn.GroupNorm(2, width))
            case "act":
                layers.append(nn.GELU())
            case "residual":
                layers.append(Residual(width, draw(st.integers(2, 5))))
            case "dense":
                layers.append(Dense(width, 4))
                width += 4
            case "excited":
                layers.append(Excited(width))
            case "attended":
                layers.append(Attended(width))
            case "swapped":
                layers.append(Swapped())
            case "glu":
                layers += [nn.Conv2d(width, 2 * width, 1), nn.GLU(1)]
    if draw(st.booleans()):
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * 9, 3))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate),
)
@given(networks(), st.integers(0, 2**31))
def test_derive_prove_permute(network, seed):
    generator = torch.Generator().manual_seed(seed)
    example = (torch.rand(2, 2, 3, 3, generator=generator),)
    derived = derive_and_prove(network, example, seed=seed)
    assert not derived.notes
    assert not derived.rejected
    assert derived.resolved.groups
    network = network.double().eval()
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5, generator=generator)
        x = torch.rand(2, 2, 3, 3, generator=generator, dtype=torch.float64)
        before = network(x)
        permutation = Permutation.random(derived.resolved, generator)
        network.load_state_dict(permutation.apply(network.state_dict()))
        torch.testing.assert_close(network(x), before, rtol=1e-9, atol=1e-9)


@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate),
)
@given(networks())
def test_deriving_twice_gives_the_same(network):
    example = (torch.rand(2, 2, 3, 3),)
    assert derive(network, example) == derive(network, example)
