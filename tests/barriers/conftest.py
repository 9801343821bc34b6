"""Five untrained networks and what measures them."""

import pytest
from support.barriers import Model

from starcli.evaluation.evaluator import Evaluator
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    return new_workspace(Choices(arch="resnet", arch_args={"width": 4}, data="digits", limit=120, device="cpu"))


@pytest.fixture(scope="session")
def models(workspace: Workspace) -> list[Model]:
    return [workspace.network(seed=seed).state() for seed in range(5)]


@pytest.fixture(scope="session")
def evaluator(workspace: Workspace) -> Evaluator:
    return Evaluator(workspace)
