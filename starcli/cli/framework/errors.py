"""Error boundary: the one place where exceptions become text on stderr and an exit status.

Which status means what: docs/contracts.md, Streams and exit codes. A traceback is shown for bugs only, or with
`--traceback`.
"""

import contextlib
import errno
import signal
import sys
import traceback
from collections.abc import Callable
from typing import TextIO, TypeVar

import typer

from starcli.cli.framework import signals
from starcli.errors import OUR_BUG, WRONG_INPUT, StarcliError, expected_and_found, first_line, suggestion
from starcli.runtime import distributed
from starcli.runtime.blame import network_error
from starcli.runtime.progress import Interrupted
from starcli.runtime.stdout import to_nothing

_Result = TypeVar("_Result")

THE_SYSTEM = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT,
    errno.EMFILE, errno.ENFILE, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG,
}  # fmt: skip
"""Errors of the system that a correct program can meet: no bugs of ours."""

NO_MEMORY = (
    "DefaultCPUAllocator", "can't allocate memory", "not enough memory",
    "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
)  # fmt: skip
"""What torch says where there is no memory left: on the CPU; on a GPU outside of its own allocator."""

UNUSABLE_GPU = (
    "no kernel image is available for execution on the device",  # a card that this torch was not compiled for
    "busy or unavailable",  # another process has it alone
    "uncorrectable ECC error",
    "driver version is insufficient",
    "unsupported display driver / cuda driver combination",
)
"""Errors of CUDA that a correct program can meet, in the words of its runtime (cudaGetErrorString)."""

_traceback = False


def show_traceback(value: bool) -> bool:
    """Callback of `--traceback`: print one whatever goes wrong."""
    global _traceback
    _traceback = _traceback or value
    return value


def guard(run: Callable[[], _Result], *, last: bool = True) -> _Result:
    """Return the result of `run`; print whatever it raises, and end the program with the error's exit status.

    `last` is false where a command is still to follow, for which `--traceback` was said.
    """
    global _traceback
    try:
        with signals.handling_signals():
            result = run()
            sys.stdout.flush()  # here, where a full disk or a closed pipe can still be said
        _traceback = _traceback and not last
        return result
    except (typer.Exit, typer.Abort):
        _traceback = False
        raise
    except BaseException as error:
        if _traceback and not isinstance(error, BrokenPipeError):
            traceback.print_exc()
        status, _traceback = _status(error), False
        if status:
            distributed.let_rank_0_end_first()
        raise typer.Exit(status) from None


def _status(error: BaseException) -> int:
    """Print `error` by `say` and return its exit status."""
    match error:
        case StarcliError():
            say(error.summary, *error.problems)
            return error.exit_status
        case typer.TyperException():
            return _wrong_words(error)
        case Interrupted():
            return _interrupted(error.signal, str(error))
        case signals.Leave():
            return _interrupted(error.signal)
        case _ if leave := _leave_behind(error):
            return _status(leave)
        case KeyboardInterrupt():
            return _interrupted(signal.SIGINT)
        case BrokenPipeError():
            silence()
            return 0
        case OSError() if error.errno in THE_SYSTEM:
            without_name = "the working directory" if error.errno == errno.ENOENT else "stdout"
            say(f"{error.filename or without_name}: {error.strerror}")
            silence()
            return WRONG_INPUT
        case _ if _is_out_of_memory(error):
            say("out of memory", "a smaller --batch-size or --limit needs less", *_of_a_gpu(error))
            return WRONG_INPUT
        case RuntimeError() if any(words in str(error) for words in UNUSABLE_GPU):
            say(f"the GPU cannot be used: {first_line(error)}", "--device cpu works without one")
            return WRONG_INPUT
    if fault := network_error(error):
        say(fault.summary, *fault.problems)
        return WRONG_INPUT
    if not _traceback:
        traceback.print_exception(error)
    say(f"this is a bug in starcli: {type(error).__name__}: {error}", "please report it with the lines above")
    return OUR_BUG


def _interrupted(signum: int, how_to_go_on: str = "") -> int:
    """Print that a signal ended the command, and return its exit status."""
    say("interrupted" + (f": {how_to_go_on}" if how_to_go_on else ""))
    return 128 + signum


def _leave_behind(error: BaseException) -> signals.Leave | None:
    """The signal that an error comes from: one that arrives while compiled code is being imported is ImportError."""
    found = error.__cause__
    while found is not None and not isinstance(found, signals.Leave):
        found = found.__cause__
    return found


def _wrong_words(error: typer.TyperException) -> int:
    """Print an error of the command line (unknown option or command, value of the wrong type) and where help is."""
    message = error.format_message()
    if found := _wrong_value(error):
        message = message.replace(str(error), found)
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoSuchOption" and context is not None:
        known = [name for parameter in context.command.get_params(context) for name in parameter.opts]
        name = str(getattr(error, "option_name", ""))
        # without the dashes, which all have in common and which make all look alike
        typed, words = name.lstrip("-"), [option[2:] for option in known if option.startswith("--")]
        longer = [word for word in words if word.endswith(f"-{typed}")]  # --align-steps, where --steps was typed
        nearest = suggestion(typed, longer or words, 0 if longer else 0.65)
        nearest = nearest.replace("mean ", "mean --").replace(" or ", " or --")
        message = f"no such option {name}" + (nearest if "mean" in nearest else "")
    message = message.replace("Got unexpected extra argument(s)", "No place for these words:")
    hints = () if context is None else (f"{context.command_path} --help shows what there is",)
    say(message[:1].lower() + message[1:].rstrip("."), *hints)
    return error.exit_code


def _wrong_value(error: typer.TyperException) -> str | None:
    """What was expected and what was found, of a value that pydantic refused; None of other errors."""
    problems = getattr(error.__cause__, "errors", None)
    return expected_and_found(problems()[0]) if callable(problems) else None


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that memory is exhausted."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # others than a GPU's allocator have no exception class of their own; a test provokes the words of the CPU's anew
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def _of_a_gpu(error: BaseException) -> list[str]:
    """A hint for who has no memory left on a GPU."""
    on_gpu = type(error).__name__ == "OutOfMemoryError" or str(error).startswith(("CUDA", "cuDNN"))
    return ["it was a GPU's memory: --precision bf16 needs less, and nvidia-smi shows who else has some"] * on_gpu


def say(summary: str, *problems: str) -> None:
    """Print one line on stderr, then one indented line for each problem. Of several ranks the first prints.

    A stderr that is closed is no error.
    """
    if not distributed.is_speaker():
        return
    with contextlib.suppress(OSError):
        print("\n".join([f"starcli: {summary}", *(f"  {problem}" for problem in problems)]), file=sys.stderr)


def silence() -> None:
    """Redirect a broken stdout or stderr to nothing, so that the interpreter's own last flush cannot fail again."""
    for stream in (sys.stdout, sys.stderr):
        if _broken(stream):
            to_nothing(stream)


def _broken(stream: TextIO) -> bool:
    """Whether a stream can no longer be flushed."""
    try:
        stream.flush()
    except (OSError, ValueError):
        return True
    return False
