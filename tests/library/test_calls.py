"""What holds for every function of the library: plain values are checked, and the caller's process stays as it was."""

import copy
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import numpy as np
import pytest
import torch
from support.tensors import same
from torch import Tensor, nn

import starcli as sc
from starcli.library.calls import library_call
from starcli.library.python_words import in_python
from starcli.symmetry.proof.evaluation import precision

Data = dict[str, tuple[Tensor, Tensor]]

ONE_EPOCH = sc.Recipe(epochs=1)
"""Of searches from modules, which do not say how they were trained."""


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture(scope="module")
def pair(data: Data) -> list[nn.Module]:
    return [sc.train(network, data, epochs=2, batch_size=30, seed=seed).module() for seed in (0, 1)]


CALLS: dict[str, Callable[..., Any]] = {
    "align": lambda a, b, **k: sc.align(a, b, **k),
    "permute": lambda a, b, **k: sc.permute(a, seed=1, **k),
    "normal_form": lambda a, b, **k: sc.normal_form(a, **k),
    "barrier": lambda a, b, **k: sc.barrier(a, b, points=3, alignment="weight", **k),
    "all_pairs": lambda a, b, **k: sc.all_pairs([a, b], alignment=None, points=3, **k),
    "star_report": lambda a, b, **k: sc.star_report(a, [a, b], [b], points=3, **k),
    "interpolate": lambda a, b, **k: sc.interpolate(a, b, t=0.5, alignment=None, **k),
    "evaluate": lambda a, b, **k: sc.evaluate(a, b, **k),
    "recalibrate": lambda a, b, **k: sc.evaluate(a, recalibrate=True, **k),
    "bma": lambda a, b, **k: sc.bma(a, [a, b], samples=2, repeats=1, **k),
    "find_star": lambda a, b, **k: sc.find_star([a, b], recipe=ONE_EPOCH, **k),
    "fuse": lambda a, b, **k: sc.fuse([a, b], recipe=ONE_EPOCH, **k).comparison,
    "train": lambda a, b, data, **k: sc.train(a, data, epochs=1, **k),
    "derive_kinds": lambda a, b, data: sc.derive_kinds(a, (data["train"][0][:2],)),
}


def settings() -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "products": torch.get_float32_matmul_precision(),
        "gradients": torch.is_grad_enabled(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
        "place": Path.cwd(),
    }


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore:.* is the same solution as")  # of two models, which stand for all roles
@pytest.mark.filterwarnings("ignore:.*no gradient, and drawn from the seed")  # a layer is frozen on purpose
def test_process_and_modules_are_left_alone(name: str, pair: list[nn.Module], data: Data) -> None:
    a, b = (copy.deepcopy(module) for module in pair)
    a.train()
    a[1].eval()
    a[0].weight.requires_grad_(False)
    modes, gradients = [m.training for m in a.modules()], [p.requires_grad for p in a.parameters()]
    weights = {key: tensor.clone() for key, tensor in a.state_dict().items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = settings()
        CALLS[name](a, b, data=data)
        assert settings() == before
    finally:
        torch.set_num_threads(threads)
    assert modes == [m.training for m in a.modules()]
    assert gradients == [p.requires_grad for p in a.parameters()]
    assert same(weights, a.state_dict())


def test_products_that_the_caller_lets_torch_round_are_exact(data: Data) -> None:
    """`medium` lets a CPU take products in bfloat16, or in another order (oneDNN), which changed weights before."""
    expected = sc.train("mlp", data, epochs=1, seed=0).sha256
    for word in ("medium", "high"):
        torch.set_float32_matmul_precision(word)
        try:
            assert sc.train("mlp", data, epochs=1, seed=0).sha256 == expected
            assert torch.get_float32_matmul_precision() == word
        finally:
            torch.set_float32_matmul_precision("highest")


def test_what_the_caller_has_set_changes_no_result(pair: list[nn.Module], data: Data) -> None:
    def found() -> tuple[str, int]:
        kinds = sc.derive_kinds(nn.Sequential(pair[0][0], *pair[0][2:]), (data["train"][0][:2],))
        return sc.find_star(pair, data=data, recipe=ONE_EPOCH).sha256, kinds.continuous_dimension

    expected = found()
    assert expected[1] == 8  # a scale of each hidden unit
    for context in (torch.no_grad(), torch.inference_mode(), torch.device("meta"), torch.autocast("cpu")):
        with context:
            assert found() == expected
    torch.set_default_dtype(torch.float64)
    try:
        assert found() == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_calls_of_several_threads_leave_the_default_dtype_alone() -> None:
    """The first call ends before the second does, which then has seen another dtype than the caller set."""
    entered, first, seen = Barrier(2), Event(), []

    @library_call
    def call(seed: int) -> None:
        entered.wait(10)
        if seed:
            first.wait(10)
        seen.append(torch.get_default_dtype())

    torch.set_default_dtype(torch.float64)
    try:
        threads = [Thread(target=call, kwargs={"seed": seed}) for seed in (0, 1)]
        for thread in threads:
            thread.start()
        threads[0].join()
        first.set()
        threads[1].join()
        assert seen == [torch.float32] * 2
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_trainings_of_several_threads_are_each_as_alone() -> None:
    """Dropout draws from torch's generator, which is one for all threads; so do the weights at the beginning.

    Networks of ours: a network that is traced meanwhile by torch.export is called in place of those of other threads.
    """
    part = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    images = {"train": part, "test": (part[0] + 1, part[1])}
    transformer = {"depth": 1, "dim": 16, "heads": 2, "dropout": 0.5}

    def trained(seed: int) -> str:
        arch, arguments = ("vit", transformer) if seed else ("mlp", {"hidden_dim": 8})
        return sc.train(arch, images, epochs=4, batch_size=4, seed=seed, arch_args=arguments).tensors_sha256

    alone, before = [trained(seed) for seed in range(3)], torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(trained, range(3))) == alone
    assert torch.equal(torch.get_rng_state(), before)


def test_a_training_beside_a_proof_is_as_alone(data: Data) -> None:
    """A proof in float64 makes that the type of new tensors, of all threads."""
    alone = sc.train(network, data, epochs=2).tensors_sha256
    with ThreadPoolExecutor(1) as pool:
        with precision(torch.float64):
            beside = pool.submit(lambda: sc.train(network, data, epochs=2).tensors_sha256)
            wait([beside], timeout=0.3)
        assert beside.result() == alone
    assert torch.get_default_dtype() == torch.float32


def test_generators_of_gpus_are_left_alone(pair: list[nn.Module], data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    sc.train(network, data, epochs=1)
    sc.barrier(*pair, data=data, points=3, alignment=None)
    assert not seeded


def test_numbers_of_numpy_are_numbers(pair: list[nn.Module], data: Data) -> None:
    assert sc.train(network, data, epochs=1, seed=np.int64(3)).metadata.seed == 3
    found = sc.interpolate(*pair, data=data, t=np.float32(0.5), alignment=None)
    assert sc.save(found, "middle.safetensors").exists()
    assert sc.align(*pair, data=data, restarts=np.int64(2)).metadata.aligned_to.restarts == 2
    shares: tuple[Any, ...] = ([0.25, 0.75], np.array([0.25, 0.75], "f4"), torch.tensor([0.25, 0.75]))
    wanted, *others = (sc.interpolate(*pair, data=data, weights=each, alignment=None) for each in shares)
    assert all(same(wanted.tensors, each.tensors) for each in others)


def test_iterables_of_models(pair: list[nn.Module], data: Data) -> None:
    assert sc.find_star(iter(pair), data=data, recipe=ONE_EPOCH).metadata.kind == "star"
    assert len(sc.all_pairs(iter(pair), data=data, alignment=None, points=3).names) == 2


@pytest.mark.parametrize(
    ("name", "keywords", "words"),
    [
        ("evaluate", {"precision": "fp16"}, "unknown precision 'fp16'"),
        ("evaluate", {"threads": 0}, "threads=0: expected an integer from 1 up"),
        ("evaluate", {"device": torch.device("meta")}, "device meta: there is none here"),
        ("evaluate", {"split": "tset"}, "did you mean test"),
        ("evaluate", {"dta": 1}, "did you mean data"),
        ("evaluate", {"limit": 10}, "limit goes with data by name"),
        ("evaluate", {"val_fraction": 0.5}, "val_fraction goes with data by name"),
        ("align", {"seed": -1}, "seed=-1: expected an integer from 0 up"),
        ("align", {"seed": 2**63}, f"seed={2**63}: expected an integer of at most 9,223,372,036,854,775,807"),
        ("align", {"seed": None}, "seed=None"),
        ("align", {"restarts": 1.5}, "restarts=1.5"),
        ("align", {"method": "wieght"}, "did you mean weight"),
        ("barrier", {"statistics": "own"}, "own-ends"),
        ("train", {"seed": 2**70}, "expected an integer"),
        ("train", {"recipe": {"epochs": 1}}, "recipe: a dict"),
        ("train", {"epochs": 0}, "the keywords: not settings that training can have\n.*epochs"),
    ],
    ids=map(str, range(16)),
)
def test_wrong_values_are_refused(
    name: str, keywords: dict[str, Any], words: str, pair: list[nn.Module], data: Data
) -> None:
    call = {
        "evaluate": lambda **k: sc.evaluate(*pair, data=data, **k),
        "align": lambda **k: sc.align(*pair, data=data, **k),
        "barrier": lambda **k: sc.barrier(*pair, data=data, points=3, **k),
        "train": lambda **k: sc.train(network, data, **k),
    }[name]
    with pytest.raises(sc.StarcliError, match=words):
        call(**keywords)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a, b: sc.find_star(a), "sources: expected a list of models, found a Sequential"),
        (lambda a, b: sc.find_star([]), "sources needs at least two models, found none"),
        (lambda a, b: sc.find_star("a.safetensors"), "sources: expected a list"),
        (lambda a, b: sc.all_pairs(a, alignment=None), "models: expected a list"),
        (lambda a, b: sc.bma(a, b), "sources: expected a list"),
        (lambda a, b: sc.evaluate(), "no model is given"),
        (lambda a, b: sc.interpolate(a, b, t=0.5, alignment=True, input_shape=(4,)), "alignment: a bool"),
        (lambda a, b: sc.barrier(a, b, points="3"), "points='3'"),
        (lambda a, b: sc.interpolate(a, b, t="x"), "t='x': expected a number"),
        (lambda a, b: sc.interpolate(a, b, t=1e39), r"^t 1e\+39: expected numbers that a 32-bit float"),
        (lambda a, b: sc.interpolate(a, b, curve=[a]), "^curve takes points at t between two models"),
        (lambda a, b: sc.permute(a, by={"x": 1}, input_shape=(4,)), "by: a dict"),
        (lambda a, b: sc.align(a, b, input_shape=4), "sizes without the batch"),
        (lambda a, b: sc.align(a, b, input_shape=(4,), input_dtype="int8"), "float32 or int64"),
        (lambda a, b: sc.load(["a.safetensors"]), "a list is no path"),
        (lambda a, b: sc.save(a, None), "a NoneType is no path"),
        (lambda a, b: sc.describe(a), "a Sequential is no path"),
        (lambda a, b: sc.align_jointly([a, b]), "align_jointly: missing a required argument: 'models'"),
        (lambda a, b: sc.align(a, b, a), "align: too many positional arguments"),
        (lambda a, b: sc.report(), "report: missing a required argument"),
        (lambda a, b: sc.derive_kinds(a), "derive_kinds: missing a required argument: 'example_inputs'"),
        (lambda a, b: sc.derive_and_prove(a, (torch.zeros(2, 9),)), "alignment=None, do without"),
        (lambda a, b: sc.report([None]), "a NoneType is no path"),
        (lambda a, b: sc.describe_adapter(None), "a NoneType is no path"),
        (lambda a, b: sc.mean_adapter(None), "adapters: expected a list"),
        (lambda a, b: sc.bma(a, [b]), "sources needs at least two models, found one"),
        (lambda a, b: sc.permute(a, invert="no"), "invert='no': expected True or False"),
        (lambda a, b: sc.surface(a, radius=None), "radius=None: expected a number"),
        (lambda a, b: sc.plot(None, "a.png", width=3), "width=3: expected text"),
        (lambda a, b: sc.load("a.safetensors", ignore="head.*"), "expected a list of patterns"),
        (lambda a, b: sc.train("mlp", "digits", arch_args=[1]), "arch_args: a list"),
        (lambda a, b: sc.align(a.state_dict(), b.state_dict()), "give arch$"),
    ],
    ids=map(str, range(32)),
)
def test_wrong_arguments_are_refused(call: Callable[..., Any], words: str, pair: list[nn.Module]) -> None:
    with pytest.raises(sc.StarcliError, match=words):
        call(*pair)


def test_messages_speak_of_keywords() -> None:
    """Words of real messages of the command line."""
    assert in_python("a: exists; --force overwrites it") == "a: exists; force=True overwrites it"
    assert in_python("say --download to fetch it, or --data-dir for where it is") == (
        "say download=True to fetch it, or data_dir for where it is"
    )
    assert in_python("and --align none, do without") == "and alignment=None, do without"
    assert in_python("a file named x--y, and a - b") == "a file named x--y, and a - b"
    assert in_python("--normalise none leaves them in [0, 1]") == 'normalise="none" leaves them in [0, 1]'
    line = "starcli convert 'my runs/x.pt' --ignore 'loss.*' proto --plain -o x.safetensors"
    assert in_python(f"what follows: {line}") == 'what follows: sc.load("my runs/x.pt", ignore=["loss.*", "proto"])'
    assert (
        in_python("a; starcli convert a/b --base BASE -o OUT applies it") == 'a; sc.load("a/b", base=BASE) applies it'
    )


def test_errors_say_what_to_do_in_python(pair: list[nn.Module], tmp_path: Path) -> None:
    """They named command lines."""
    torch.save({"a": {"w": torch.ones(3)}, "b": {"w": torch.ones(3)}}, tmp_path / "two.pt")
    with pytest.raises(sc.StarcliError, match=r"data is needed.*\n.*data=\(inputs, labels\) names them") as missing:
        sc.evaluate(pair[0])
    with pytest.raises(sc.StarcliError, match=r"two\.pt: several state dicts lie there") as several:
        sc.load(tmp_path / "two.pt")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(sc.StarcliError, match="holds an adapter") as adapter:
        sc.load(tmp_path)
    (call,) = [line.partition("the first one: ")[2] for line in several.value.problems if "first one" in line]
    assert list(eval(call).tensors) == ["w"]
    assert "starcli" not in f"{missing.value}{several.value}{adapter.value}"


def test_a_model_is_one_line_and_compared_as_an_object(pair: list[nn.Module], data: Data) -> None:
    aligned = sc.align(*pair, data=data)
    assert repr(aligned) == "AlignedModel('Sequential 1': model, 9 tensors of 100 numbers)"
    assert aligned != copy.deepcopy(aligned)
    assert aligned in {aligned}


def test_reports_and_symmetries_are_one_line(pair: list[nn.Module], data: Data) -> None:
    pairs = sc.all_pairs(pair, data=data, alignment=None, points=3)
    [barrier] = [curve.loss_barrier for curve in pairs.barriers[0].curves.values()][:1]
    assert repr(pairs).startswith(f"PairsReport(1 pair of 2 models, mean barrier train {barrier:.4g}, test ")
    star = sc.find_star(pair, data=data, recipe=ONE_EPOCH)
    held_out = sc.train(network, data, epochs=1, seed=2)
    report = sc.star_report(star, pair, [held_out], data=data, points=3, alignment=None)
    source = report.groups["star-source"].summaries["train"].mean
    assert f"; star-source: train {source:.4g}, test " in repr(report)
    moved = sc.permute(pair[0], seed=1, data=data, kinds="all").symmetry
    assert repr(moved.permutation) == f"Permutation({moved.permutation.moved()} of 8 units move, in 1 of 1 group)"
    assert repr(moved) == f"Element({moved.permutation!r}, scales of units.0, signs of units.0)"
    assert repr(moved.kinds) == "Kinds(units.0: scaled; continuous dimension 8)"
    assert repr(moved.kinds.spec) == "Resolved(1 group, 9 tensors)"


def test_describe_takes_a_path_as_words(pair: list[nn.Module], data: Data) -> None:
    star = sc.find_star(pair, data=data, recipe=ONE_EPOCH)
    assert sc.describe(str(sc.save(star, "star.safetensors"))).metadata.kind == "star"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a: sc.align(a, a, restart=3), "unknown keyword 'restart'; did you mean restarts?"),
        (lambda a: sc.barrier(a, a, align="none"), "unknown keyword 'align'; did you mean alignment?"),
        (lambda a: sc.permute(a, random=True), "unknown keyword 'random'; there is arch, .* by, .* seed, "),
        (lambda a: sc.evaluate(a, recalibrat=True), "did you mean recalibrate?"),
        (lambda a: sc.bma(a, [a], sample=3), "did you mean samples"),
        (lambda a: sc.predict(a, temperatur=1.0), "did you mean temperature?"),
        (lambda a: sc.find_star([a, a], epoch=1), "did you mean epochs?"),
        (lambda a: sc.fuse([a, a], devise="cpu"), "did you mean device?"),
        (lambda a: sc.train(a, "digits", learning_rate=1.0), "unknown keyword 'learning_rate'"),
        (lambda a: sc.train(a, "digits", arch="mlp"), "unknown keyword 'arch'"),
        (lambda a: sc.align(a, a, alignment="weight"), "unknown keyword 'alignment'; did you mean method?"),
        (lambda a: sc.evaluate(a, steps=3), "unknown keyword 'steps'; there is arch, "),
        (lambda a: sc.derive_kinds(a, (torch.zeros(2, 4),), reason=True), "did you mean reasons?"),
    ],
    ids=map(str, range(13)),
)
def test_unknown_keywords_name_the_nearest_of_the_functions_own(call: Any, words: str) -> None:
    with pytest.raises(sc.StarcliError, match=words.replace("?", r"\?")):
        call(network())


@pytest.mark.parametrize(
    ("call", "said", "example"),
    [
        (
            lambda a: sc.align(a, a, method="straight-through", steps=20),
            "steps is a setting",
            ("method", sc.Alignment("straight-through", steps=20)),
        ),
        (
            lambda a: sc.align(a, a, select="midpoint", ends=3),
            "select and ends are settings",
            ("method", sc.Alignment("weight", select="midpoint", ends=3)),
        ),
        (
            lambda a: sc.selftest(a, align_examples="noise"),
            "align_examples is a setting",
            ("method", sc.Alignment("activation", examples="noise")),
        ),
        (
            lambda a: sc.barrier(a, a, alignment="sinkhorn", gains="correlation"),
            "gains is a setting",
            ("alignment", sc.Alignment("sinkhorn", gains="correlation")),
        ),
        (
            lambda a: sc.fuse([a, a], alignment="weight", share=1.0),  # which weight has not
            "share is a setting",
            ("alignment", sc.Alignment("activation", share=1.0)),
        ),
        (
            lambda a: sc.bma(a, [a], ends=3),
            "ends is a setting",
            ("alignment", sc.Alignment("activation", select="midpoint", ends=3)),
        ),
        (
            lambda a: sc.barrier(a, a, restarts=9),
            "restarts is a setting",
            ("alignment", sc.Alignment("activation", restarts=9)),
        ),
    ],
    ids=map(str, range(7)),
)
def test_settings_of_the_alignment_are_shown_their_place(
    call: Any, said: str, example: tuple[str, sc.Alignment]
) -> None:
    with pytest.raises(sc.StarcliError) as refused:
        call(network())
    words, line = str(refused.value).split(": ")
    assert words == f"{said} of sc.Alignment"
    place, value = line.split("=", 1)
    assert (place, eval(value)) == example


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": 3}, "method: expected the name of a method, found 3"),
        ({"restarts": "3"}, "restarts: expected a whole number, found '3'"),
        ({"restarts": 1.5}, "restarts: expected a whole number, found 1.5"),
        ({"seed": None}, "seed: expected a whole number, found None"),
        ({"seed": -1}, "seed is at least 0, found -1"),
        ({"method": "activation", "share": "1"}, "share: expected a number, found '1'"),
        ({"select": "midpoint", "ends": "3"}, "ends: expected a whole number, found '3'"),
    ],
    ids=map(str, range(7)),
)
def test_settings_of_a_wrong_type_are_our_errors(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(sc.StarcliError, match=words):
        sc.Alignment(**settings)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a: sc.fuse([a, a], method=3), "unknown method '3'; there is .*star"),
        (lambda a: sc.fuse([a, a], method=["star"]), "unknown method "),
        (lambda a: sc.find_star([a, a], sampling=3), "unknown sampling '3'; there is .*uniform"),
    ],
    ids=map(str, range(3)),
)
def test_names_of_a_wrong_type_are_our_errors(call: Any, words: str) -> None:
    with pytest.raises(sc.StarcliError, match=words):
        call(network())
