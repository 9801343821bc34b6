"""The cache: computed once, no error where it cannot be written, left alone where that is asked for, cleared."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest

from starcli.files.cache import (
    CacheKind,
    cache_directory,
    cached,
    hash_json,
    no_cache,
    recall,
    remember,
    using_cache,
)
from starcli.files.cache_contents import cache_contents, clear_cache

KEY = hash_json("key")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "starcli"


def test_cache_computes_once_and_survives_a_read_only_home(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compute() -> dict[str, int]:
        calls.append(1)
        return {"a": 1}

    assert cached("specs", KEY, compute) == {"a": 1}
    assert cached("specs", KEY, compute) == {"a": 1}
    assert len(calls) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert cached("specs", KEY, compute) == {"a": 1}
    assert len(calls) == 2


def test_dictionaries_keep_the_order_of_their_keys() -> None:
    """Columns of results have it: a line that is typed again shows what it showed before."""
    remember("averages", KEY, [{"rmse": 1.0, "mae": {"b": 1, "a": 2}}])
    assert str(recall("averages", KEY)) == "[{'rmse': 1.0, 'mae': {'b': 1, 'a': 2}}]"


def test_without_the_cache_nothing_is_read_and_nothing_kept(place: Path) -> None:
    with no_cache():
        remember("barriers", KEY, 1)
    assert not place.exists()
    remember("barriers", KEY, 1)
    with no_cache():
        assert recall("barriers", KEY) is None
        assert cached("barriers", KEY, lambda: 2) == 2
    assert recall("barriers", KEY) == 1


def test_without_the_cache_threads_are_without_it_too(place: Path) -> None:
    """Those that are begun within the block, and those that were there before and are handed work in it."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(remember, "barriers", KEY, 1).result()
        with no_cache():
            assert pool.submit(recall, "barriers", KEY).result() is None
            pool.submit(remember, "barriers", hash_json("other"), 1).result()
            with ThreadPoolExecutor(1) as begun:
                assert begun.submit(recall, "barriers", KEY).result() is None
            with using_cache(), no_cache():
                pass
            assert pool.submit(recall, "barriers", KEY).result() is None
        assert pool.submit(recall, "barriers", KEY).result() == 1
    assert len(list(place.rglob("*.json"))) == 1


def test_a_relative_place_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG Base Directory Specification says of all its variables."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for said in ("cache", "./cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", said)
        assert cache_directory() == tmp_path / ".cache" / "starcli"


def test_what_was_found_is_counted_and_proofs_are_no_measurements() -> None:
    remember("barriers", KEY, 1)
    remember("proofs", KEY, 1)
    with using_cache() as use:
        recall("barriers", KEY)
        recall("barriers", hash_json("other"))
        recall("proofs", KEY)
        with using_cache() as inner:
            recall("barriers", KEY)
    assert use.counts() == (1, 2)
    assert inner.counts() == (1, 1)


def test_an_entry_that_was_damaged_or_moved_counts_as_none(place: Path) -> None:
    """Each bit turned, each length cut, and entries of another kind or key: all are computed anew."""
    remember("specs", KEY, {"loss": [0.5]})
    [entry] = place.rglob("*.json")
    sound = entry.read_bytes()
    remember("proofs", KEY, {"loss": [0.5]})
    remember("specs", hash_json("other"), {"loss": [0.5]})
    bits = (
        bytes([*sound[:at], sound[at] ^ 1 << bit, *sound[at + 1 :]]) for at in range(len(sound)) for bit in range(8)
    )
    cuts = (sound[:length] for length in range(len(sound)))
    moved = [path.read_bytes() for path in place.rglob("*.json") if path != entry]
    assert len(moved) == 2
    for content in (*bits, *cuts, *moved, sound + b" ", b"[" * 100_000, b"{}", b'{"loss": [0.5]}'):
        entry.write_bytes(content)
        assert recall("specs", KEY) is None
    entry.write_bytes(sound)
    assert recall("specs", KEY) == {"loss": [0.5]}


def test_a_new_generation_does_not_find_what_was_kept_before(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("specs", KEY, 1)
    with monkeypatch.context() as later:
        later.setattr("starcli.files.cache.GENERATION", "another")
        assert recall("specs", KEY) is None
        remember("specs", KEY, 2)
    assert recall("specs", KEY) == 1


def test_only_our_own_files_are_counted_and_removed(place: Path) -> None:
    for kind in get_args(CacheKind):
        remember(kind, KEY, [1, 2])
    entries = {path for path in place.rglob("*.json") if path.parent.name != "bma"}
    mine = [place / "notes.txt", place / "barriers" / "mine.json", place / "other" / f"{KEY}.json"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    outside = place.parent / "elsewhere"
    (place / "bma").rename(outside)
    (place / "bma").symlink_to(outside)
    kinds = [kind for kind in get_args(CacheKind) if kind != "bma"]
    found = {each.kind: (each.files, each.bytes) for each in cache_contents()}
    assert found == {path.parent.name: (1, path.stat().st_size) for path in sorted(entries)}
    assert list(found) == kinds
    assert [each.kind for each in clear_cache()] == kinds
    assert cache_contents() == []
    assert all(path.read_text() == "mine" for path in mine)
    assert len(list(outside.glob("*.json"))) == 1


def test_an_empty_cache_leaves_no_directory_and_a_dead_process_no_rubbish(place: Path) -> None:
    remember("specs", KEY, 1)
    entry = place / "specs" / f"{KEY}.json"
    rubbish = entry.with_name(f".{entry.name}.{'0' * 8}-1.part")
    rubbish.mkdir()
    clear_cache()
    assert rubbish.exists()  # of another machine, from where it may live
    rubbish.rmdir()
    clear_cache()
    assert not place.exists()
    assert clear_cache() == []


def test_writers_go_on_while_the_cache_is_cleared(place: Path) -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(200):
            assert cached("barriers", hash_json(number), lambda number=number: number + 1) == number + 1
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        clear_cache()
    writer.join()
    clear_cache()
    assert not os.path.exists(place)
