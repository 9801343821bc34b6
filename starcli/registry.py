"""Registries: the names that users type, and the objects that they stand for.

Each table maps a name to an `Entry`. The object behind it is imported only by `resolve`, so that `--help`, completion
and error messages need no torch. To add a choice (an architecture, an optimiser, a data set), add a line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from starcli.errors import unknown


@dataclass(frozen=True)
class Entry:
    """Choice by name: where its object is (`module:attribute`) and one line of help."""

    target: str
    help: str


ARCHITECTURES: Mapping[str, Entry] = {
    "mlp": Entry("starcli.models.mlp:mlp", "fully connected, any depth and width"),
    "vgg11": Entry("starcli.models.vgg:vgg11", "VGG-11 for small images"),
    "vgg19": Entry("starcli.models.vgg:vgg19", "VGG-19 for small images"),
    "vgg11-bn": Entry("starcli.models.vgg:vgg11_bn", "VGG-11 with batch normalisation"),
    "vgg19-bn": Entry("starcli.models.vgg:vgg19_bn", "VGG-19 with batch normalisation"),
    "resnet18-cifar": Entry("starcli.models.resnet:resnet18_cifar", "ResNet-18 for small images, base width 64"),
    "resnet": Entry("starcli.models.resnet:resnet", "small ResNet, n blocks a stage"),
    "wrn": Entry("starcli.models.wrn:wrn", "Wide ResNet by depth and widening factor"),
    "densenet40-12": Entry("starcli.models.densenet:densenet40_12", "DenseNet-40, growth rate 12"),
    "resnet18": Entry("starcli.models.torchvision:resnet18", "torchvision's ResNet-18"),
    "resnet50": Entry("starcli.models.torchvision:resnet50", "torchvision's ResNet-50"),
    "vit": Entry("starcli.models.vit:vit", "minimal vision transformer"),
}
"""`--arch`: functions of keyword arguments that build a network."""

ACTIVATIONS: Mapping[str, Entry] = {
    "relu": Entry("torch.nn:ReLU", "max(x, 0)"),
    "elu": Entry("torch.nn:ELU", "x above 0, exp(x) - 1 below"),
    "silu": Entry("torch.nn:SiLU", "x sigmoid(x), also called swish"),
    "tanh": Entry("torch.nn:Tanh", "hyperbolic tangent"),
    "gelu": Entry("torch.nn:GELU", "x Phi(x)"),
    "identity": Entry("torch.nn:Identity", "none: a linear network"),
}
"""`--arch-arg activation=NAME`: modules without arguments."""

DATASETS: Mapping[str, Entry] = {
    "digits": Entry("starcli.data.digits:load_digits", "1,797 scans of digits, 8x8, inside the package"),
    "mnist": Entry("starcli.data.public:load_mnist", "MNIST, through torchvision"),
    "fashion-mnist": Entry("starcli.data.public:load_fashion_mnist", "Fashion-MNIST, through torchvision"),
    "cifar10": Entry("starcli.data.public:load_cifar10", "CIFAR-10, through torchvision"),
    "cifar100": Entry("starcli.data.public:load_cifar100", "CIFAR-100, through torchvision"),
    "gaussians": Entry(
        "starcli.data.gaussians:load_gaussians", "two Gaussian classes in the plane, the paper's theory data"
    ),
    "idx": Entry("starcli.data.idx:load_idx", "idx:DIR, files of MNIST's format, gzipped or not"),
    "folder": Entry("starcli.data.folder:load_folder", "folder:DIR, an image folder a class, under train and val"),
    "arrays": Entry("starcli.data.arrays:load_arrays", "FILE.npz or FILE.safetensors with images and labels"),
}
"""`--data`: functions from `data.loading.Request` to `data.loading.Loaded`."""

OPTIMIZERS: Mapping[str, Entry] = {
    "sgd": Entry("torch.optim:SGD", "stochastic gradient descent with momentum"),
    "adam": Entry("torch.optim:Adam", "Adam"),
    "adamw": Entry("torch.optim:AdamW", "Adam with decoupled weight decay"),
}
"""`--optimizer`: optimisers of torch; `training.optimizer.build_optimizer` passes them the recipe's options."""

SCHEDULES: Mapping[str, Entry] = {
    "cosine": Entry("starcli.training.schedule:cosine_rate", "half a cosine down to 0"),
    "step": Entry("starcli.training.schedule:step_rate", "times gamma at each milestone"),
    "constant": Entry("starcli.training.schedule:constant_rate", "the same rate throughout"),
}
"""`--schedule`: functions (position in epochs, recipe) -> share of the learning rate."""

METHODS: Mapping[str, Entry] = {
    "weight": Entry(
        "starcli.alignment.matching.weight_matching:WEIGHT",
        "weight matching: maximise the inner product of the weights",
    ),
}
"""`--align`: values of `MatchMethod`."""

SAMPLINGS: Mapping[str, Entry] = {
    "uniform": Entry("starcli.star.sampling:uniform_t", "t from Unif[0, 1]"),
    "beta": Entry("starcli.star.sampling:beta_t", "t from Beta(2, 2)"),
    "constant": Entry("starcli.star.sampling:constant_t", "t = 0.5"),
}
"""`--sampling`: functions that draw t, the point of a star step between star and source."""


def lookup(table: Mapping[str, Entry], kind: str, name: str) -> Entry:
    """Return the entry of `name` in `table`. Raises StarcliError, with the nearest names, for an unknown one."""
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]


def resolve(table: Mapping[str, Entry], kind: str, name: str) -> Any:
    """Import and return the object that `name` stands for. `kind` is the word for it in errors.

    >>> resolve(SCHEDULES, "schedule", "constant").__name__
    'constant_rate'
    """
    module, attribute = lookup(table, kind, name).target.split(":")
    return getattr(import_module(module), attribute)
