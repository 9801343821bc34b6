"""Settings of a process that threads have in common, and come back after the last of them."""

from collections.abc import Callable
from threading import Barrier, Event, Thread

import pytest
import torch

from starcli.models.modes import plain_attention
from starcli.runtime.process_setting import ProcessSetting


def dtype() -> ProcessSetting[torch.dtype]:
    return ProcessSetting(torch.get_default_dtype, torch.set_default_dtype, torch.float64)


@pytest.mark.parametrize(
    ("setting", "get", "before", "meanwhile"),
    [
        (dtype(), torch.get_default_dtype, torch.float32, torch.float64),
        (plain_attention(), torch.backends.mha.get_fastpath_enabled, True, False),
    ],
    ids=["dtype", "attention"],
)
def test_it_holds_for_the_second_thread_while_the_first_one_ends(
    setting: ProcessSetting[object], get: Callable[[], object], before: object, meanwhile: object
) -> None:
    both, first, seen = Barrier(2), Event(), list[object]()

    def within(number: int) -> None:
        with setting:
            both.wait(10)
            if number:
                first.wait(10)
            seen.append(get())

    threads = [Thread(target=within, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    threads[0].join()
    first.set()
    threads[1].join()
    assert seen == [meanwhile] * 2
    assert get() == before


def test_it_comes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), dtype():
        _ = 1 / 0
    assert torch.get_default_dtype() == torch.float32
