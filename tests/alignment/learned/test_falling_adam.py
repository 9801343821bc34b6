"""Adam whose rate falls: the steps of torch's, to the last bit, and what is kept of a stop."""

import math

import torch

from starcli.alignment.learned.falling_adam import FallingAdam

STEPS = 12


def test_steps_are_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((7,), (3, 4), (0,))]
    ours, theirs = [each.clone() for each in start], [each.clone() for each in start]
    mine, torchs = FallingAdam(ours, 0.02, steps=STEPS), torch.optim.Adam(theirs, 0.02)
    for step in range(STEPS):
        gradients = [torch.randn(each.shape, generator=generator) for each in start]
        if step == STEPS // 2:
            again = FallingAdam(ours, 0.02, steps=STEPS)
            again.resume(step, mine.state())
            mine = again
        mine.step(gradients)
        for each, gradient in zip(theirs, gradients, strict=True):
            each.grad = gradient
        torchs.param_groups[0]["lr"] = 0.02 * (1 + math.cos(math.pi * step / STEPS)) / 2
        torchs.step()
        assert all(map(torch.equal, ours, theirs))
