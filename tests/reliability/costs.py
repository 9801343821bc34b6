"""What a case costs in a process that runs thousands of them: the processor's time, and memory at its highest."""

import os
import time

SECONDS, MEMORY = 2.0, 200 * 2**20
"""What a hostile file may cost beyond importing torch, and beyond its own size."""

AGAIN = 1_000
"""After so many cases the measure begins anew: what each leaves behind counts as well, but not for ever."""


class Costs:
    """Measures one case after the other; the kernel keeps the peak of resident memory, and forgets it when asked to."""

    def __init__(self) -> None:
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        self._cases = 0
        self._forget()
        self.begin()

    def begin(self) -> None:
        """A case begins."""
        self._cases += 1
        if self._cases % AGAIN == 0:
            self._forget()
        self._began = time.process_time()

    def defects(self, size: int) -> list[str]:
        """What was too much for a case of `size` bytes, which ends here."""
        seconds, memory = time.process_time() - self._began, self._read(b"VmHWM:") - self._base
        found = [f"took {seconds:.1f} s"] if seconds > SECONDS else []
        if memory > MEMORY + size:
            found.append(f"took {memory >> 20} MB")
            self._forget()
        return found

    def close(self) -> None:
        """No case follows."""
        os.close(self._status)

    def _forget(self) -> None:
        with open("/proc/self/clear_refs", "w") as handle:
            handle.write("5")
        self._base = self._read(b"VmRSS:")

    def _read(self, name: bytes) -> int:
        text = os.pread(self._status, 4096, 0)
        return int(text[text.index(name) + len(name) :].split(maxsplit=1)[0]) * 1024
