"""Star runs that were stopped end as if they never were."""

import pytest
from support.stars import OPTIONS, RECIPE, search_star, stopped_run
from support.tensors import same
from support.training import Memory, Stopping

from starcli.runtime.progress import Interrupted


@pytest.fixture(scope="module", params=OPTIONS, ids=str)
def options(request):
    return request.param


@pytest.fixture(scope="module")
def whole(mlp, mlps, options):
    """The star of a search that was never stopped."""
    return search_star(mlp, mlps[:3], RECIPE, 1, **options)


@pytest.mark.parametrize("pauses", [[1], [4, 2], [3], [5], [1, 7]], ids=str)
def test_a_stopped_star_ends_as_if_never_stopped(mlp, mlps, options, whole, pauses):
    pieces = stopped_run(pauses, mlp, mlps[:3], RECIPE, 1, **options)
    assert same(whole.tensors, pieces.tensors)
    assert whole.metrics == pieces.metrics
    assert list(whole.history) == list(pieces.history)
    assert all(same(whole.aligned(n), pieces.aligned(n)) for n in range(3))


def test_a_stopped_star_with_batch_norm(resnet, resnets):
    whole = search_star(resnet, resnets, RECIPE, 1)
    pieces = stopped_run([2, 2, 3], resnet, resnets, RECIPE, 1)
    assert same(whole.tensors, pieces.tensors)


def test_a_stop_during_alignment_changes_no_permutation(mlp, mlps):
    state, watcher = Memory(), Stopping()
    watcher.stop_signal = 15
    with pytest.raises(Interrupted) as caught:
        search_star(mlp, mlps, RECIPE, 0, state=state, progress=watcher)
    assert caught.value.signal == 15
    assert state.load()["objective"]["aligned_epoch"] == -1
    assert same(search_star(mlp, mlps, RECIPE, 0).tensors, search_star(mlp, mlps, RECIPE, 0, state=state).tensors)
