"""Multilayer perceptrons."""

from typing import Annotated

from torch import Tensor, nn

from starcli.models.arguments import Activation, Count, Depth, OneOf, Width, activation_module


class MLP(nn.Module):
    """Multilayer perceptron: `depth` hidden layers of `hidden_dim` units, then a linear head."""

    def __init__(
        self,
        input_size: int,
        hidden_dim: int,
        depth: int,
        num_classes: int,
        batch_norm: str,
        bias: bool,
        activation: str,
    ) -> None:
        """Arguments as of `mlp`."""
        super().__init__()
        self.fc1 = nn.Linear(input_size, hidden_dim, bias=bias)
        if batch_norm == "all":
            self.bn1 = nn.BatchNorm1d(hidden_dim)
        inner = batch_norm != "none"
        self.hidden_layers = nn.ModuleList(
            nn.Sequential(
                nn.Linear(hidden_dim, hidden_dim, bias=bias),
                nn.BatchNorm1d(hidden_dim) if inner else nn.Identity(),
                activation_module(activation),
            )
            for _ in range(depth - 1)
        )
        self.fc2 = nn.Linear(hidden_dim, num_classes, bias=bias)
        self.activation = activation_module(activation)
        self.first_norm = batch_norm == "all"

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (B, ...), flattened to (B, input_size), -> logits (B, num_classes)."""
        x = self.fc1(x.flatten(1))
        x = self.activation(self.bn1(x) if self.first_norm else x)
        for layer in self.hidden_layers:
            x = layer(x)
        out: Tensor = self.fc2(x)
        return out


def mlp(
    *,
    hidden_dim: Width = 64,
    depth: Depth = 1,
    batch_norm: Annotated[str, OneOf(("none", "inner", "all"))] = "inner",
    bias: bool = True,
    activation: Activation = "relu",
    input_size: Count = 784,
    num_classes: Count = 10,
) -> nn.Module:
    """Multilayer perceptron with `depth` hidden layers of `hidden_dim` units.

    batch_norm: `inner` normalises every hidden layer but the first (the convention of the published MNIST checkpoints,
        where one hidden layer has none), `all` the first one too, `none` no layer.
    """
    return MLP(input_size, hidden_dim, depth, num_classes, batch_norm, bias, activation)
