"""States of a run: of the right one, of any size, and no code."""

from pathlib import Path

import pytest
import torch

from starcli.errors import StarcliError
from starcli.files import pickles
from starcli.files.state import StateFile


def test_state_survives_and_belongs_to_one_run(tmp_path: Path) -> None:
    target = tmp_path / "star.safetensors"
    state = StateFile(target, "run")
    assert state.load() is None
    state.save({"step": 3, "vector": torch.arange(4.0), "nested": {"list": [1, "a", None]}})
    loaded = state.load()
    assert loaded is not None
    assert loaded["step"] == 3
    assert torch.equal(loaded["vector"], torch.arange(4.0))
    assert state.path.suffix != ".safetensors"
    with pytest.raises(StarcliError, match="other settings"):
        StateFile(target, "another").load()
    assert StateFile(target, "another", force=True).load() is None
    state.path.write_bytes(state.path.read_bytes()[:100])
    with pytest.raises(StarcliError, match="no state of ours"):
        state.load()
    state.remove()
    assert state.load() is None


def test_a_state_with_the_history_of_a_thousand_networks_is_read_again(tmp_path: Path) -> None:
    """1.2 million numbers, as `train --stacked` keeps of 1,000 seeds in 300 epochs."""
    numbers = [n / 7 for n in range(1000)]
    columns = ("losses", "accuracies", "validation_loss", "validation_accuracy")
    history = [{"epoch": epoch, **dict.fromkeys(columns, numbers)} for epoch in range(300)]
    history[3] = {"epoch": 3, "loss": float("inf"), "held_out": [{"model": "é", "train_barrier": 0.1 + 0.2}]}
    groups = [{"betas": (0.9, 0.99), "params": [0, 1]}]
    kept = {"position": {"history": history}, "optimizer": {"state": {0: {"step": 1}}, "param_groups": groups}}
    state = StateFile(tmp_path / "0.safetensors", "run", facts={"a": 1})
    assert state.recorded_facts() is None
    state.save({**kept, "permutations": [None, {"g": torch.arange(3)}]})
    found = state.load()
    assert found is not None
    [none, index] = found.pop("permutations")
    assert found == kept
    assert type(found["optimizer"]["param_groups"][0]["betas"]) is tuple
    assert none is None
    assert torch.equal(index["g"], torch.arange(3))
    assert state.recorded_facts() == {"a": 1}


def test_a_state_of_very_many_tensors_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The permutations of hundreds of sources: the limit of the pickle grows with the members of the file."""
    monkeypatch.setattr(pickles, "MAXIMUM_PICKLE", 2**10)
    state = StateFile(tmp_path / "star.safetensors", "run")
    state.save({"permutations": [{f"layer{j}.inner": torch.arange(4) for j in range(10)} for _ in range(30)]})
    found = state.load()
    assert found is not None
    assert len(found["permutations"]) == 30


def test_json_in_a_state_that_unfolds_is_refused(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "0.safetensors", "run")
    content = {pickles.JSON: torch.zeros(1, dtype=torch.uint8).expand(10**12)}
    torch.save({"run_id": "run", "state": {"history": content}}, state.path)
    with pytest.raises(StarcliError, match="no state of ours"):
        state.load()


def test_the_state_of_a_run_that_diverged_is_in_no_other_ones_way(tmp_path: Path) -> None:
    own, other = (StateFile(tmp_path / "0.safetensors", name, facts={}) for name in ("run", "other"))
    own.mark_diverged()
    assert not own.path.exists()
    own.save({"step": 3})
    other.mark_diverged()  # of a run that it is not of, nothing is known
    with pytest.raises(StarcliError, match="belongs to a run with other settings"):
        other.load()
    own.mark_diverged()
    assert other.load() is None
    assert own.load() == {"step": 3}
    own.save({"step": 4})  # it went on after all
    with pytest.raises(StarcliError, match="belongs to a run with other settings"):
        other.load()
