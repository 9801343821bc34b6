"""starcli inspect: what a checkpoint records, its ancestors, and whether its bytes are those of its hash."""

from support.program import run_here

from starcli.checkpoints.checkpoint import read_metadata


def test_inspect(star, solutions):
    [row] = run_here("inspect", star).rows
    assert row["kind"] == "star"
    assert row["architecture"]["name"] == "mlp"
    assert row["weights_sha256"] == read_metadata(star)[1].weights_sha256
    assert row["proved"] is True
    tree = run_here("inspect", star, "--lineage", tty=True).out
    for number in range(3):
        assert f"{number}.safetensors" in tree


def test_inspect_verifies(solutions, place):
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors")
    assert run_here("inspect", "b.safetensors", "--verify").status == 0
    content = bytearray((place / "b.safetensors").read_bytes())
    content[-1] ^= 1
    (place / "b.safetensors").write_bytes(bytes(content))
    ran = run_here("inspect", "b.safetensors", "--verify")
    assert ran.status == 1
    assert "b.safetensors" in ran.err


def test_what_records_no_hash_is_not_verified(solutions, place):
    run_here("convert", solutions[0], "--plain", "-o", "plain.safetensors")
    ran = run_here("inspect", "plain.safetensors", "--verify")
    assert ran.status == 0
    assert ran.rows[0]["verified"] is None
    assert "records no hash" in ran.err
    whole = run_here("inspect", solutions[0], "--verify")
    assert whole.rows[0]["verified"] is True
    assert whole.err == ""
    assert run_here("inspect", "plain.safetensors").err == ""
