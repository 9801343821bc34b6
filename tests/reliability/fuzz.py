"""Mutated files against every reader: 100,000 cases each, from a fixed seed, in one process that must survive them."""

import random
from pathlib import Path

from .targets import ENOUGH, Feeder, Target

TOKENS = (b"{", b"}", b"[", b"]", b'"', b":", b",", b"(", b")", b"+", b"|", b"_", b"*", b".", b"-1", b"0", b"1",
          b"9" * 20, b"null", b"true", b"NaN", b"1e999", b"\\ud800", b"\0", b"\n", b" ", b"\xff", b"{l}", b"{0:9}",
          b"{l-1}", b"!!x", b"&a", b"*a", b"within", b"size", b"F32", b"F64", b"I64", b"data_offsets", b"shape",
          b"spec", b"groups")  # fmt: skip


def mutated(seeds: list[bytes], draws: random.Random) -> bytes:
    """One of the seeds with a few bytes changed, cut, doubled, or words of the formats put in."""
    content = bytearray(draws.choice(seeds))
    for _ in range(draws.choice((1, 1, 1, 2, 3, 6))):
        at = draws.randrange(len(content) + 1)
        match draws.randrange(6):
            case 0 if at < len(content):
                content[at] ^= 1 << draws.randrange(8)
            case 1 if at < len(content):
                content[at] = draws.randrange(256)
            case 2:
                content[at:at] = draws.choice(TOKENS)
            case 3:
                del content[at : at + draws.choice((1, 2, 8, 64))]
            case 4:
                end = at + draws.randrange(1, 40)
                content[at:at] = content[at:end] * draws.choice((1, 2, 9))
            case 5:
                other = draws.choice(seeds)
                begin = draws.randrange(len(other) + 1)
                content[at : at + 20] = other[begin : begin + 20]
    return bytes(content)


def run(target: Target, count: int, place: Path, keep: Path, seed: int = 0) -> list[str]:
    """`count` cases, as far as the target has `every` one of them; what went wrong."""
    draws, feeder = random.Random(f"{target.name} {seed}"), Feeder(target, place, keep)
    while feeder.cases < count // target.every and len(feeder.defects) < ENOUGH:
        feeder.feed(mutated(target.seeds, draws))
    feeder.costs.close()
    return feeder.defects
