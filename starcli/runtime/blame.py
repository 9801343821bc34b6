"""Whose fault an exception is: that of a network of the user's own, which this program calls, or ours."""

import sys
import sysconfig
import traceback
from functools import lru_cache
from pathlib import PurePath
from types import FrameType

from starcli.errors import StarcliError, first_line

_OURS = PurePath(__file__).parents[1]
INSTALLED = {"site-packages", "dist-packages"}
"""Directories of installed packages."""


@lru_cache(maxsize=1024)
def is_torchs(file: str) -> bool:
    """Whether a source file is one of torch's own, or stands for code that torch wrote for a graph."""
    place = getattr(sys.modules.get("torch"), "__file__", None)
    written = file.startswith("<eval_with_key>")
    return written or (place is not None and PurePath(file).is_relative_to(PurePath(place).parent))


def _is_ours(file: str) -> bool:
    return PurePath(file).is_relative_to(_OURS)


def _is_installed(file: str) -> bool:
    """Whether a source file is an installed package's, the standard library's, or none."""
    path = PurePath(file)
    standard = PurePath(sysconfig.get_paths()["stdlib"])
    return bool(INSTALLED & set(path.parts)) or path.is_relative_to(standard) or file.startswith("<")


def raised_at(error: BaseException) -> list[str]:
    """Where an exception was raised, as `at net.py:26: if h.sum() > 0:`; empty where nothing tells.

    It is the innermost line of the user's own, else of a library other than torch.
    """
    if isinstance(error, SyntaxError) and error.filename:  # code that was read, and did not run
        return [f"at {PurePath(error.filename).name}:{error.lineno}: {(error.text or '').strip()}"]
    frames = traceback.extract_tb(error.__traceback__)
    others = [each for each in frames if not is_torchs(each.filename) and not _is_ours(each.filename)]
    own = [each for each in others if not _is_installed(each.filename)]
    return [f"at {PurePath(each.filename).name}:{each.lineno}: {each.line}" for each in (own or others)[-1:]]


def network_error(error: BaseException) -> StarcliError | None:
    """Error for what a network of the user's own raised while this program called it; None for every other exception.

    Of all that was running, what this program called last tells: it is a module in its forward pass, a hook or another
    method, or the backward pass of an operator. Layers that a module of ours calls are ours, but for classes of others.
    """
    if not isinstance(error, Exception | SystemExit):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [number for number, frame in enumerate(frames) if _is_ours(frame.f_code.co_filename)]
    called = frames[ours[-1] + 1 if ours else 0 :]
    kinds = [kind for frame in called if (kind := _module_kind(frame))]
    backward = any(PurePath(frame.f_code.co_filename).parts[-2:] == ("autograd", "function.py") for frame in called)
    caller = _module_kind(frames[ours[-1]]) if ours else None
    if caller is not None and _package(caller) == _OWN_PACKAGE:
        kinds = kinds if any(_package(kind) not in (_OWN_PACKAGE, "torch") for kind in kinds) else []
    if not (kinds or backward):
        return None
    where = raised_at(error) if any(not is_torchs(frame.f_code.co_filename) for frame in called) else []
    within = [f"in {kinds[-1].__name__}"] if kinds and not where else []
    return StarcliError(
        f"the network raised {type(error).__name__}: {first_line(error)}",
        [*where, *within, "--traceback shows all of it"],
    )


_OWN_PACKAGE = __name__.partition(".")[0]


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _module_kind(frame: FrameType) -> type | None:
    """Class of the module whose method a frame is, by what the method calls `self`; None for other functions."""
    torch, code = sys.modules.get("torch"), frame.f_code
    if torch is None or not code.co_argcount:
        return None
    first = frame.f_locals.get(code.co_varnames[0])
    return type(first) if isinstance(first, torch.nn.Module) else None
