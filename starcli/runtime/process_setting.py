"""A setting of the whole process that several threads need: the first of them sets it, the last puts it back."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

_Value = TypeVar("_Value")


class ProcessSetting(Generic[_Value]):
    """Context in which a setting has one value for all threads; what it was comes back once all are out of it.

    >>> found = ["theirs"]
    >>> setting = ProcessSetting(lambda: found[0], lambda value: found.__setitem__(0, value), "ours")
    >>> with setting, setting:
    ...     found
    ['ours']
    >>> found
    ['theirs']
    """

    def __init__(
        self,
        get: Callable[[], _Value],
        put: Callable[[_Value], object],
        value: _Value | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        """value: what it is meanwhile; None leaves that open. lock: held while it is read and set."""
        self._get, self._put, self._value, self._lock = get, put, value, lock or threading.RLock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._get()
                if self._value is not None:
                    self._put(self._value)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._put(self._before)
