"""The session of a command: what is said where it is stopped."""

from collections.abc import Callable

import pytest

from starcli.cli.framework.progress_bars import Bars
from starcli.cli.options.common import Common, CommonCached, CommonPlanned
from starcli.files.cache import CacheKind, hash_json, recall, remember
from starcli.runtime.progress import HOW_TO_GO_ON, Interrupted

KEY = hash_json("of this test")


def stopped(common: Common, work: Callable[[Bars], object]) -> str:
    """What is said where a command is stopped after some work."""

    def run() -> None:
        with common.session() as (watch, _):
            work(watch)
            raise Interrupted(2)

    with pytest.raises(Interrupted) as caught:
        run()
    assert caught.value.signal == 2
    return str(caught.value)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("common", "kind", "said"),
    [
        (CommonCached(), "barriers", HOW_TO_GO_ON),
        (CommonCached(), "lessons", HOW_TO_GO_ON),
        (CommonCached(), "proofs", ""),
        (CommonCached(no_cache=True), "barriers", ""),
        (CommonPlanned(dry_run=True), "barriers", ""),
        (Common(), "barriers", ""),
    ],
)
def test_a_stopped_line_is_typed_again_where_something_was_kept(common: Common, kind: CacheKind, said: str) -> None:
    assert stopped(common, lambda _: remember(kind, KEY, 1)) == said
    assert stopped(common, lambda _: None) == ""


def test_what_an_earlier_run_kept_counts_too() -> None:
    remember("barriers", KEY, 1)
    assert stopped(CommonCached(), lambda _: recall("barriers", KEY)) == HOW_TO_GO_ON


def test_a_finished_file_counts_too() -> None:
    assert stopped(CommonCached(no_cache=True), lambda watch: setattr(watch, "kept", True)) == HOW_TO_GO_ON
