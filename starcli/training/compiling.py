"""Training steps through `torch.compile`, and a measurement of whether that pays.

Compiling takes tens of seconds and buys a fifth of a convolutional network's step on a CPU, nothing of a small MLP's
(measured): it has to be asked for. Its sums are taken in another order, so a compiled run is one of its own; whether it
pays is reported, and never decided by a clock, since the same command must write the same bytes.
"""

import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError, first_line
from starcli.runtime.arithmetic import only_warns
from starcli.runtime.global_generator import generator_borrowed
from starcli.runtime.progress import Progress
from starcli.training.seeds import generators_restored

REPEATS = 3
"""Passes of which the fastest counts."""


class CompiledForward:
    """Compiled forward pass of a network; its first call times both versions and reports whether compiling pays."""

    def __init__(self, network: nn.Module, steps: int, progress: Progress) -> None:
        """`steps` is the number of steps in the whole run, over which the time to compile must come back."""
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that there is no CUDA
        if only_warns():  # tells the compiler, too, which is not loaded for that elsewhere
            torch.use_deterministic_algorithms(True, warn_only=True)
        self.network, self.steps, self.progress = network, steps, progress
        self.compiled: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)
        self.checked = False

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs of the compiled network."""
        if not self.checked:
            self.checked = True
            self._check(inputs)
        return self.compiled(inputs)

    def _check(self, inputs: Tensor) -> None:
        """Time both versions; buffers and generators are restored, gradients are not touched."""
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        try:
            # the step's dropout has been seeded already
            with generator_borrowed(), generators_restored(inputs.device):
                plain = self._seconds(self.network, inputs)
                compiling = self._seconds(self.compiled, inputs, repeats=1, warm=False)
                compiled = self._seconds(self.compiled, inputs)
        except Exception as error:  # a missing C++ compiler, an operator that cannot be compiled: of many types
            raise StarcliError("--compile: the network cannot be compiled here", [first_line(error)[:300]]) from error
        with torch.no_grad():
            for name, buffer in self.network.named_buffers():
                buffer.copy_(buffers[name])
        saved = plain - compiled
        figures = (
            f"a step takes {1e3 * compiled:.1f} ms instead of {1e3 * plain:.1f}, after {compiling:.0f} s to compile"
        )
        if saved <= 0:
            verdict = "it does not pay"
        elif compiling > saved * self.steps:
            verdict = f"it would pay from {compiling / saved:,.0f} steps on, this run has {self.steps:,}"
        else:
            verdict = f"it pays: about {saved * self.steps - compiling:.0f} s less"
        self.progress.note(f"compiled: {figures}; {verdict}")

    def _seconds(
        self, forward: Callable[[Tensor], Tensor], inputs: Tensor, *, repeats: int = REPEATS, warm: bool = True
    ) -> float:
        """Seconds of the fastest of some passes forward and backward."""
        found = []
        parameters = [each for each in self.network.parameters() if each.requires_grad]
        for _ in range(repeats + warm):
            begin = time.perf_counter()
            torch.autograd.grad(forward(inputs).float().sum(), parameters, allow_unused=True)
            if inputs.device.type == "cuda":
                torch.cuda.synchronize(inputs.device)
            found.append(time.perf_counter() - begin)
        return min(found[warm:])
