"""Outputs that are links: the link stays, what it leads to is replaced, and both names share a lock and a state."""

from pathlib import Path

import pytest

from starcli.errors import StarcliError
from starcli.files.links import behind_links
from starcli.files.lock import lock
from starcli.files.state import StateFile
from starcli.files.write import check_output, write_atomically


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A link by way of another one, to a file that is not there yet, in a directory that is not there either."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "latest").symlink_to("other")
    (tmp_path / "here" / "other").symlink_to("../disk/run")
    return tmp_path / "here" / "latest"


def test_what_a_link_leads_to_is_written(link: Path, tmp_path: Path) -> None:
    check_output(link)
    for content in (b"first", b"second"):
        write_atomically(link, content)
        assert (tmp_path / "disk" / "run").read_bytes() == content
    assert (link.is_symlink(), (link.parent / "other").is_symlink()) == (True, True)
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["run"]
    with pytest.raises(StarcliError, match="latest: exists"):
        check_output(link)


def test_a_file_is_held_by_whichever_name(link: Path, tmp_path: Path) -> None:
    with lock(link), pytest.raises(StarcliError, match="is being written by"), lock(tmp_path / "disk" / "run"):
        pass
    assert not list((tmp_path / "disk").iterdir())


def test_a_state_is_found_by_whichever_name(link: Path, tmp_path: Path) -> None:
    StateFile(link, "run").save({"step": 3})
    found = StateFile(tmp_path / "disk" / "run", "run")
    assert found.load() == {"step": 3}
    found.remove()
    assert StateFile(link, "run").load() is None


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for refused in (lambda: check_output(tmp_path / "a"), lambda: write_atomically(tmp_path / "a", b"new")):
        with pytest.raises(StarcliError, match="a: is a link that leads back to itself"):
            refused()
    assert behind_links(tmp_path / "c") == tmp_path / "c"
