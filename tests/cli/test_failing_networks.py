"""Networks of the user's own that raise: one line that says so, with their own file and line, and exit status 1."""

import pytest
from support.program import run_here

pytestmark = pytest.mark.usefixtures("own_cache")

FAILING = """
import sys
import torch
from torch import nn

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(64, 6), nn.Linear(6, 10)

    def forward(self, x):
        return self.head(self.layer(x.flatten(1)).relu())

class InTraining(Base):
    def forward(self, x):
        if self.training:
            raise ValueError("not ready to train")  # here
        return super().forward(x)

class OtherBatches(Base):
    def forward(self, x):
        if len(x) % 50 and len(x) > 2:
            return super().forward(x.view(50, 64))  # here
        return super().forward(x)

class Op(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        raise KeyError("gradient")  # here

class InBackward(Base):
    def forward(self, x):
        return Op.apply(super().forward(x))

class InHook(Base):
    def __init__(self):
        super().__init__()
        self._register_load_state_dict_pre_hook(self.refuse)

    def refuse(self, *arguments):
        raise RuntimeError("an old file")  # here

class InTrain(Base):
    def train(self, mode=True):
        if mode:
            raise NotImplementedError  # here
        return super().train(mode)

class InBuild(Base):
    def __init__(self):
        super().__init__()
        self.layer.wieght  # here

class Exits(Base):
    def forward(self, x):
        if self.training:
            sys.exit(3)  # here
        return super().forward(x)

class NoState(Base):
    def state_dict(net, *arguments, **keywords):
        raise ValueError("no state")  # here

class TupleInTraining(Base):
    def forward(self, x):
        y = super().forward(x)
        return (y, y) if self.training else y

class FewerInTraining(Base):
    def forward(self, x):
        return super().forward(x)[:, : 5 if self.training else 10]

class Detached(Base):
    def forward(self, x):
        return super().forward(x).detach()

class First(Base):
    def forward(self, x):
        return super().forward(x[:64])

def norm():
    one = nn.Sequential(nn.Unflatten(1, (6, 1)), nn.InstanceNorm1d(6, track_running_stats=True), nn.Flatten())
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), one, nn.Linear(6, 10))
"""
LINES = [line for line in FAILING.splitlines() if "# here" in line]
DIGITS = ("--data", "digits", "--limit", 220, "--epochs", 1)


@pytest.fixture
def failing(place):
    (place / "failing.py").write_text(FAILING)
    return place


def said(ran):
    """The lines on stderr but for notes, after checks that it is an error of the user's."""
    assert ran.status == 1, ran.err
    assert "Traceback" not in ran.err
    assert "bug in starcli" not in ran.err
    return ran.err[ran.err.rindex("starcli: ") :].splitlines()


def number_of(text):
    return 1 + FAILING.splitlines().index(next(line for line in LINES if text in line))


@pytest.mark.parametrize(
    ("name", "what", "text"),
    [
        ("InTraining", "ValueError: not ready to train", "not ready"),
        ("InBackward", "KeyError: 'gradient'", "KeyError"),
        ("OtherBatches", "RuntimeError: shape '[50, 64]' is invalid for input of size 1280", "view(50, 64)"),
        ("Exits", "SystemExit: 3", "sys.exit"),
        ("NoState", "ValueError: no state", "no state"),
        ("InTrain", "NotImplementedError: NotImplementedError", "raise NotImplementedError"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--stacked"]])
def test_training(failing, name, what, text, more):
    ran = run_here("train", "--arch", f"failing:{name}", *DIGITS, "--batch-size", 100, "-o", "x.safetensors", *more)
    lines = said(ran)
    assert lines[0] == f"starcli: the network raised {what}"
    assert lines[1].startswith(f"  at failing.py:{number_of(text)}: ")
    assert lines[2:] == ["  --traceback shows all of it"]
    assert not (failing / "x.safetensors").exists()


def test_the_traceback_is_there_when_it_is_asked_for(failing):
    words = ("train", "--arch", "failing:InTraining", *DIGITS, "-o", "x.safetensors", "--traceback")
    ran = run_here(*words)
    assert ran.status == 1
    assert 'raise ValueError("not ready to train")' in ran.err
    assert "Traceback" in ran.err


def test_where_no_line_of_the_users_own_tells_the_layer_does(failing):
    ran = run_here("train", "--arch", "failing:norm", *DIGITS, "-o", "x.safetensors")
    [summary, where, _] = said(ran)
    assert summary.startswith("starcli: the network raised ValueError: Expected more than 1 spatial element")
    assert where == "  in InstanceNorm1d"


def test_building(failing):
    lines = said(run_here("train", "--arch", "failing:InBuild", *DIGITS, "-o", "x.safetensors"))
    assert lines[0] == "starcli: architecture failing:InBuild cannot be built"
    assert lines[2].startswith(f"  at failing.py:{number_of('wieght')}: ")


def test_a_hook_that_refuses_a_file(failing):
    ran = run_here("train", "--arch", "failing:Base", *DIGITS, "-o", "x.safetensors")
    assert ran.status == 0, ran.err
    lines = said(run_here("eval", "x.safetensors", "--arch", "failing:InHook", "--data", "digits"))
    assert any("an old file" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("TupleInTraining", "the network returns a tuple in training, expected one tensor of logits"),
        ("FewerInTraining", "5) in training, expected one tensor of logits"),
        ("Detached", "the network's outputs in training have no gradient"),
        ("First", "64, 10) in training, expected one tensor of logits"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--stacked"]])
def test_what_cannot_be_learned_from_is_said(failing, name, what, more):
    words = ("train", "--arch", f"failing:{name}", *DIGITS, "--batch-size", 100, "-o", "x.safetensors", *more)
    assert what in said(run_here(*words))[0]


def test_outputs_of_another_number_are_no_logits_in_evaluation_either(failing):
    trained = run_here("train", "--arch", "failing:First", *DIGITS, "--batch-size", 50, "-o", "x.safetensors")
    assert "64, 10) in evaluation, expected one tensor of logits" in said(trained)[0]
