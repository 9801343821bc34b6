"""Optimisers of torch that do not load its compiler."""

import inspect
from collections.abc import Callable
from functools import cache

import torch
from torch.optim import Optimizer


@cache
def without_compiler(optimizer: type[Optimizer]) -> Callable[..., Optimizer]:
    """The same class of torch.optim, with methods that torch's compiler has not marked.

    The marks load the compiler where a method is called first, which takes about a second.

    >>> parameter = torch.ones(2, requires_grad=True)
    >>> (3 * parameter).sum().backward()
    >>> without_compiler(torch.optim.SGD)([parameter], lr=0.1).step()
    >>> parameter.detach()
    tensor([0.7000, 0.7000])
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in names}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), methods)
