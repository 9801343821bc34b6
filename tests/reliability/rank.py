"""A rank of a trial under torchrun: the program, whose exit status is left in a file for each rank.

torchrun --standalone --nproc-per-node 2 -m tests.reliability.rank STATUS WORDS...
"""

import os
import sys
from pathlib import Path
from unittest import mock

from starcli.runtime import distributed

from .trial import main

if __name__ == "__main__":
    note, *words = sys.argv[1:]
    leave = distributed.end_process

    def end(status: int) -> None:
        """Write down how the rank ends, then end it."""
        Path(f"{note}.{os.environ['RANK']}").write_text(str(status))
        leave(status)

    with mock.patch.object(distributed, "end_process", end):
        end(main(words))
