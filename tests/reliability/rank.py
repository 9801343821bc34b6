"""A rank of a trial under torchrun: the program, whose exit status is left in a file for each rank.

torchrun --standalone --nproc-per-node 2 -m tests.reliability.rank STATUS WORDS...
"""

import os
import sys
from pathlib import Path

from starcli import distributed

from .trial import main

if __name__ == "__main__":
    note, *words = sys.argv[1:]
    status = main(words)
    Path(f"{note}.{os.environ['RANK']}").write_text(str(status))
    distributed.end(status)
