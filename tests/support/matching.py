"""Small specs of every kind of group, and models for them."""

import torch
from torch import Tensor

from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.permutation import Permutation

MLP = """
format: 1
tensors:
  fc{l}.weight: [h.{l}, "h.{l-1}"]
  fc{l}.bias: [h.{l}]
  fc1.weight: [h.1]
  last.weight: [_, h.3]
  last.bias: []
"""

RESIDUAL = """
format: 1
tensors:
  stem.weight: [stream]
  stem.norm.*: [stream]
  block{b}.up.weight: [inner.{b}, stream]
  block{b}.norm.*: [inner.{b}]
  block{b}.down.weight: [stream, inner.{b}]
  head.weight: [_, (stream 4)]
"""

CONCATENATED = """
format: 1
tensors:
  a.weight: [a]
  b.weight: [b, a]
  c.weight: [c, a+b]
  head.weight: [_, a+b+c]
"""

ATTENTION = """
format: 1
groups:
  head: {size: 3}
  qk: {within: head}
  vo: {within: head}
tensors:
  embed.weight: [_, stream]
  qkv.weight: [(head qk) + (head qk) + (head vo), stream]
  qkv.bias: [(head qk) + (head qk) + (head vo)]
  out.weight: [stream, (head vo)]
  up.weight: [hidden, stream]
  down.weight: [stream, hidden]
"""

GROUPED_QUERY = """
format: 1
groups:
  kv: {size: 3}
  rep: {size: 2, within: kv}
  qk: {within: kv}
  vo: {within: kv}
tensors:
  q.weight: [(kv rep qk), stream]
  k.weight: [(kv qk), stream]
  v.weight: [(kv vo), stream]
  o.weight: [stream, (kv rep vo)]
  head.weight: [_, stream]
"""

GROUPED_CONVOLUTION = """
format: 1
groups:
  g: {size: 4}
  out: {within: g}
  in: {within: g}
tensors:
  conv1.weight: [(g in), stream]
  bn1.*: [(g in)]
  conv2.weight: [(g out), in]
  conv3.weight: [stream, (g out)]
  head.weight: [_, stream]
"""

TIED = """
format: 1
tensors:
  encoder.weight: [hidden, _]
  decoder.weight: [hidden, _]
  recurrent.weight: [hidden, hidden]
  bias: [hidden]
tied: [[encoder.weight, decoder.weight]]
"""

SHUFFLED = """
format: 1
tensors:
  a.weight: [a]
  b.weight: [b]
  c.weight: [c, a|b]
  d.weight: [_, c]
"""

CASES: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "mlp": (
        MLP,
        {
            "fc1.weight": (17, 12),
            "fc1.bias": (17,),
            "fc2.weight": (23, 17),
            "fc2.bias": (23,),
            "fc3.weight": (9, 23),
            "fc3.bias": (9,),
            "last.weight": (5, 9),
            "last.bias": (5,),
        },
    ),
    "residual": (
        RESIDUAL,
        {
            "stem.weight": (16, 3, 3, 3),
            "stem.norm.weight": (16,),
            "stem.norm.running_mean": (16,),
            "head.weight": (10, 64),
            **{
                f"block{b}.{name}": shape
                for b in range(3)
                for name, shape in {
                    "up.weight": (24, 16, 3, 3),
                    "norm.weight": (24,),
                    "norm.running_var": (24,),
                    "down.weight": (16, 24, 3, 3),
                }.items()
            },
        },
    ),
    "concatenated": (
        CONCATENATED,
        {"a.weight": (8, 5), "b.weight": (6, 8, 3, 3), "c.weight": (7, 14, 3, 3), "head.weight": (4, 21)},
    ),
    "attention": (
        ATTENTION,
        {
            "embed.weight": (20, 18),
            "qkv.weight": (54, 18),
            "qkv.bias": (54,),
            "out.weight": (18, 18),
            "up.weight": (30, 18),
            "down.weight": (18, 30),
        },
    ),
    "grouped query": (
        GROUPED_QUERY,
        {
            "q.weight": (24, 16),
            "k.weight": (12, 16),
            "v.weight": (15, 16),
            "o.weight": (16, 30),
            "head.weight": (30, 16),
        },
    ),
    "grouped convolution": (
        GROUPED_CONVOLUTION,
        {
            "conv1.weight": (20, 16, 1, 1),
            "bn1.weight": (20,),
            "conv2.weight": (24, 5, 3, 3),
            "conv3.weight": (16, 24, 1, 1),
            "head.weight": (30, 16),
        },
    ),
    "tied": (
        TIED,
        {"encoder.weight": (14, 40), "decoder.weight": (14, 40), "recurrent.weight": (14, 14), "bias": (14,)},
    ),
    "shuffled": (
        SHUFFLED,
        {"a.weight": (9, 7), "b.weight": (9, 7), "c.weight": (12, 18), "d.weight": (6, 12)},
    ),
}


def case(name: str) -> Resolved:
    text, shapes = CASES[name]
    return resolve_spec(parse(text), shapes)


def draw(spec: Resolved, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in spec.shapes.items()}
    for names in spec.tied:
        for name in names[1:]:
            tensors[name] = tensors[names[0]]
    return tensors


def shuffled(spec: Resolved, tensors: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    return Permutation.random(spec, torch.Generator().manual_seed(seed)).apply(tensors)


def inner_product(spec: Resolved, a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The objective, written independently of the code under test."""
    return sum(float((a[name].double() * b[name].double()).sum()) for name in spec.learnable())
