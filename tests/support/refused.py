"""What every refusal of wrong input must look like."""


def refused(ran, *words):
    """The summary line has the words; status 1; stdout is empty; no traceback."""
    assert ran.status == 1, (ran.status, ran.err)
    assert ran.stdout == b""
    assert "Traceback" not in ran.err
    summary, *details = [line for line in ran.err.splitlines() if not line.startswith("note: ")]
    assert summary.startswith("starcli: ")
    assert all(line.startswith("  ") for line in details)
    for word in words:
        assert word in ran.err
    return ran
