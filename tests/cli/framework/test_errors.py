"""The boundary of errors: one line for what went wrong outside, a traceback and status 70 for our own bugs."""

import pytest
import torch
from support.program import run_here

from starcli.__main__ import console_script
from starcli.cli import main as program
from starcli.cli.commands import eval as eval_module
from starcli.cli.framework import signals


@pytest.fixture
def broken(monkeypatch):
    """`eval` fails with the exception given."""

    def install(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(eval_module, "read_groups", fail)

    return install


def test_our_bug_is_status_70_with_a_traceback(broken):
    broken(ZeroDivisionError("oh"))
    ran = run_here("eval", "-")
    assert ran.status == 70
    assert "Traceback" in ran.err
    assert "ZeroDivisionError: oh" in ran.err
    assert "bug in starcli" in ran.err
    assert ran.out == ""


def refusal_of_the_allocator():
    """What this version of torch says of memory that there is not."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    return caught.value


NO_MEMORY_OF_A_GPU = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),  # of its context
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
)


@pytest.mark.parametrize("error", [MemoryError(), refusal_of_the_allocator(), *NO_MEMORY_OF_A_GPU])
def test_out_of_memory_is_one_line(error, broken):
    broken(error)
    ran = run_here("eval", "-")
    assert ran.status == 1
    assert ran.err.startswith("starcli: out of memory\n")
    assert ("a GPU's memory" in ran.err) == (error in NO_MEMORY_OF_A_GPU)
    assert "Traceback" not in ran.err


def test_a_gpu_that_cannot_be_used_is_no_bug(broken):
    broken(RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors"))
    ran = run_here("eval", "-")
    assert ran.status == 1
    said = "starcli: the GPU cannot be used: CUDA error: no kernel image is available for execution on the device\n"
    assert ran.err == f"{said}  --device cpu works without one\n"


def test_an_error_of_our_own_on_a_gpu_stays_one(broken):
    broken(RuntimeError("CUDA error: device-side assert triggered"))
    assert run_here("eval", "-").status == 70


def test_what_the_system_refuses_is_one_line(broken):
    broken(OSError(28, "No space left on device", "x.safetensors"))
    ran = run_here("eval", "-")
    assert ran.status == 1
    assert ran.err == "starcli: x.safetensors: No space left on device\n"


def test_a_signal_while_compiled_code_is_imported_is_an_interruption(broken):
    """Python makes an ImportError of whatever is raised there."""
    error = ImportError("initialization failed")
    error.__cause__ = signals.Leave(2)
    broken(error)
    ran = run_here("eval", "-")
    assert (ran.status, ran.err) == (130, "starcli: interrupted\n")


def test_traceback_on_demand(place):
    for words in (("--traceback", "eval", "nowhere"), ("eval", "nowhere", "--traceback")):
        ran = run_here(*words)
        assert ran.status == 1
        assert "Traceback" in ran.err
    assert "Traceback" not in run_here("eval", "nowhere").err  # it does not stay on


def test_a_closed_pipe_is_no_error(broken):
    broken(BrokenPipeError())
    ran = run_here("eval", "-")
    assert ran.status == 0
    assert ran.err == ""


def test_an_option_that_ends_with_what_was_typed_is_meant():
    assert run_here("align", "a", "b", "--steps", 3).err.startswith(
        "starcli: no such option --steps; did you mean --align-steps?"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "--epochs", "two"), "--epochs': expected a whole number, found 'two'"),
        (("train", "--epochs", "-1"), "--epochs': expected at least 1, found "),
        (("train", "--lr", "1e-3x"), "--lr': expected a number, found '1e-3x'"),
        (("interpolate", "a", "b", "--t", "0,25"), "--t': expected a number, found '0,25'"),
        (("interpolate", "a", "b", "--t"), "--t': expected a number, found '-o'"),
        (("train", "--seed", str(2**63)), f"--seed': expected at most 9,223,372,036,854,775,807, found '{2**63}'"),
        (("train", "--split-seed", "9" * 30), "--split-seed': expected at most 9,223,372,036,854,775,807"),
    ],
)
def test_a_wrong_number_is_shown_beside_what_was_expected(words, said):
    """It was "Input should be a valid number, unable to parse string as a number"."""
    ran = run_here(*words, "-o", "x.safetensors")
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err


def test_a_signal_before_the_command_begins_is_one_line(monkeypatch, capsys):
    """It ended in a traceback of typer's."""

    def pressed(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "app", pressed)
    with pytest.raises(SystemExit) as ended:
        console_script()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "starcli: interrupted\n"


def test_a_wrong_number_in_a_recipe_is_shown_so_too(place):
    (place / "r.yaml").write_text("epochs: two\nmomentum: 2\nbetas: [0.9]\n")
    ran = run_here("train", "--recipe", "r.yaml", "--arch", "mlp", "--data", "digits", "-o", "x.safetensors")
    assert (ran.status, ran.out) == (1, "")
    for line in (
        "epochs: expected a whole number, found 'two'",
        "momentum: expected a number below 1, found 2",
        "betas.1: expected a value more, found [0.9]",
    ):
        assert f"\n  {line}\n" in ran.err
