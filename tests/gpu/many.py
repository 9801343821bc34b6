"""Many small networks: stacked, against one after the other."""

from starcli.data.dataset import open_data
from starcli.recipes.recipe import Recipe
from starcli.training.stacked import train_stacked
from starcli.training.train import train_network

from .lab import Lab


def run(lab: Lab) -> None:
    """100 perceptrons and 50 ResNets of the digits."""
    dataset = open_data("digits", limit=100 if lab.quick else None)
    recipe = Recipe(epochs=1 if lab.quick else 3, batch_size=32 if lab.quick else 128, lr=0.02)
    for name, count in (("mlp", 100), ("resnet", 50)):
        count, alone = (3, 1) if lab.quick else (count, 4)
        workspace = lab.workspace("fp32", arch=name, dataset=dataset, **({"width": 8} if name == "resnet" else {}))
        train_network(workspace, recipe, 0)
        one = lab.seconds(lambda w=workspace, n=alone: [train_network(w, recipe, seed) for seed in range(n)]) / alone
        stacked = lab.seconds(lambda w=workspace, n=count: train_stacked(w, recipe, range(n)))
        lab.row(f"{count} networks ({name}) stacked", seconds=stacked)
        lab.row(f"{count} networks ({name}) one after the other over stacked", ratio=one * count / stacked)
