"""Files from strangers, of every kind that is read: refused in one error, quickly, and nothing of them is run."""

import time
import warnings
from pathlib import Path

import pytest
from reliability import hostile

from starcli.errors import StarcliError

SLOW = ("100 MB", "unfolds", "bomb", "100,000", "million", "300,000", "20,000 tensors", "blocks", "products", "50,000",
        "1,900", "ranges multiplied", "4 MB", "4 GB")  # fmt: skip
CASES = [(kind, case) for kind, case in hostile.cases() if not any(word in case.name for word in SLOW)]


@pytest.mark.parametrize(("kind", "case"), CASES, ids=[f"{kind}: {case.name}" for kind, case in CASES])
def test_a_hostile_file_is_refused_and_leaves_nothing(kind: str, case: hostile.Case, tmp_path: Path) -> None:
    path = case.make(tmp_path)
    before, began = sorted(tmp_path.rglob("*")), time.process_time()
    refused: StarcliError | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders remark on damage
        try:
            case.read(path)
        except StarcliError as error:
            refused = error
    assert refused or case.harmless
    if refused:
        assert all(line.isprintable() for line in (refused.summary, *refused.problems))
        assert len(str(refused)) < 250_000
    assert time.process_time() - began < 4  # 2 s on a machine that does nothing else
    assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    for content in list(hostile.checkpoints.truncations())[::7]:
        path.write_bytes(content)
        with pytest.raises(StarcliError):
            hostile.read_checkpoint(path)
