"""The library over the same code as the commands: the same bytes and numbers, models and data in any form."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.program import TRAIN, run_here
from support.tensors import same
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import starcli as sc
from starcli.library.notes import StarcliWarning

Data = dict[str, tuple[Tensor, Tensor]]

MLP = {"arch_args": {"depth": 2, "hidden_dim": 12}, "epochs": 3, "limit": 300}
"""What `TRAIN` says, in Python."""


def network() -> nn.Module:
    """A network of one hidden layer with BatchNorm."""
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


# -- the same as the commands ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_files_are_those_of_the_commands_to_the_byte(place: Path) -> None:
    run_here("train", *TRAIN, "--seeds", "0,1", "--keep", 2, "-o", "{seed}.safetensors")
    for seed in (0, 1):
        trained = sc.train("mlp", "digits", seed=seed, keep=[2], **MLP)
        sc.save(trained, f"mine{seed}.safetensors")
        sc.save(trained.kept[2], f"mine{seed}.kept.safetensors")
        assert Path(f"{seed}.safetensors").read_bytes() == Path(f"mine{seed}.safetensors").read_bytes()
        assert Path(f"epoch2/{seed}.safetensors").read_bytes() == Path(f"mine{seed}.kept.safetensors").read_bytes()
    zero, one = sc.load("0.safetensors", "1.safetensors")

    run_here("align", "0.safetensors", "1.safetensors", "--restarts", 3, "-o", "aligned.safetensors")
    sc.save(sc.align(zero, one, restarts=3), "mine.aligned.safetensors")
    assert Path("aligned.safetensors").read_bytes() == Path("mine.aligned.safetensors").read_bytes()

    run_here("permute", "0.safetensors", "--random", "--seed", 4, "-o", "permuted.safetensors")
    sc.save(sc.permute(zero, seed=4), "mine.permuted.safetensors")
    assert Path("permuted.safetensors").read_bytes() == Path("mine.permuted.safetensors").read_bytes()

    run_here(
        "interpolate", "0.safetensors", "1.safetensors", "--t", 0.3, "--align", "weight", "-o", "between.safetensors"
    )
    sc.save(sc.interpolate(zero, one, t=0.3, alignment="weight"), "mine.between.safetensors")
    assert Path("between.safetensors").read_bytes() == Path("mine.between.safetensors").read_bytes()

    run_here("star", "--sources", "0.safetensors", "1.safetensors", "--epochs", 2, "-o", "star.safetensors")
    star = sc.find_star([zero, one], epochs=2)
    sc.save(star, "mine.star.safetensors")
    assert Path("star.safetensors").read_bytes() == Path("mine.star.safetensors").read_bytes()
    assert len(star.history) == 2

    run_here("fuse", "--sources", "0.safetensors", "1.safetensors", "--epochs", 1, "-o", "fused.safetensors")
    sc.save(sc.fuse([zero, one], epochs=1), "mine.fused.safetensors")
    assert Path("fused.safetensors").read_bytes() == Path("mine.fused.safetensors").read_bytes()


def test_jointly_aligned_files_are_those_of_the_command_to_the_byte(solutions, place: Path) -> None:
    run_here("align", *solutions.some(0, 1, 2), "--joint", "--restarts", 2, "-o", "{name}.safetensors")
    for number, model in enumerate(sc.align_jointly(solutions[0], solutions.some(1, 2), restarts=2), 1):
        sc.save(model, f"mine{number}.safetensors")
        assert Path(f"{number}.safetensors").read_bytes() == Path(f"mine{number}.safetensors").read_bytes()


def test_files_of_what_acted_are_those_of_the_commands_to_the_byte(solutions, place: Path) -> None:
    words = ("--random", "--seed", 4, "--kinds", "all", "--permutation", "e.safetensors")
    run_here("permute", solutions[0], *words, "-o", "moved.safetensors")
    moved = sc.permute(solutions[0], seed=4, kinds="all")
    run_here("align", *solutions.some(0, 1), "-o", "aligned.safetensors", "--permutation", "p.safetensors")
    aligned = sc.align(*solutions.some(0, 1))
    for model, name, file in ((moved, "moved", "e"), (aligned, "aligned", "p")):
        sc.save(model, f"mine.{name}.safetensors")
        model.save_symmetry(f"mine.{file}.safetensors")
        for each in (name, file):
            assert Path(f"{each}.safetensors").read_bytes() == Path(f"mine.{each}.safetensors").read_bytes(), each

    by = ("--by", "p.safetensors", "e.safetensors", "--invert", "-o", "back.safetensors")
    run_here("permute", solutions[1], *by)
    sc.save(sc.permute(solutions[1], by=[aligned.symmetry, moved.symmetry], invert=True), "mine.back.safetensors")
    assert Path("back.safetensors").read_bytes() == Path("mine.back.safetensors").read_bytes()


# -- models and data in any form ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the fused model .* is hardly a solution")  # after two epochs
def test_modules_and_tensors_all_the_way(data: Data) -> None:
    models = [sc.train(network, data, seed=seed, epochs=8, batch_size=30, lr=0.05) for seed in range(3)]
    assert sc.evaluate(models[0])[0]["accuracy"] > 0.8
    assert models[0].metadata.architecture is None  # no name leads to it
    aligned = sc.align(models[0], models[1])
    assert aligned.to_dict()["distance_after"] <= aligned.to_dict()["distance_before"]
    inputs = data["test"][0]
    assert torch.allclose(aligned.module()(inputs), models[1].module()(inputs), atol=1e-5)
    star = sc.find_star(models[:2], held_out=models[2:], epochs=20)
    assert "held_out" in star.history[-1]
    report = sc.star_report(star, models[:2], models[2:], aligned_sources=star.aligned_sources, points=3)
    assert "star-source (training)" in report.groups
    assert sc.fuse(models, epochs=2).comparison[0]["model"] == "fused"
    fused = sc.fuse(models[:2], held_out=models[2:], eval_every=1, epochs=2)
    assert ["held_out" in row for row in fused.history] == [True, True]
    with pytest.raises(sc.StarcliError, match="method mean has no use for held_out"):
        sc.fuse(models[:2], method="mean", held_out=models[2:])


def test_every_form_of_a_model_is_the_same_model(data: Data, place: Path) -> None:
    model = sc.train(network, data, epochs=2, batch_size=30)
    module = model.module()
    torch.save(module.state_dict(), "weights.pt")
    path = sc.save(model, "model.safetensors")
    forms = [model, module, module.state_dict(), path, str(path), "weights.pt", sc.load(path)]
    rows = [sc.evaluate(form, arch=network, data=data)[0] for form in forms]
    assert len({row["nll"] for row in rows}) == 1
    assert sc.barrier(model, module, points=3).curves["train"].loss_barrier == 0


def test_the_network_of_a_file_computes_what_the_model_does(data: Data, place: Path) -> None:
    inputs = data["test"][0]
    own = sc.train(network, data, epochs=1, batch_size=30)
    named = sc.train("mlp", "digits", epochs=1, limit=60)
    torch.save({"epoch": 1, "state_dict": own.module().state_dict()}, "own.pt")
    for found in (
        sc.module(sc.save(own, "own.safetensors"), arch=network),
        sc.module("own.pt", arch=network, input_shape=inputs.shape[1:]),
        sc.module(own),
    ):
        assert not found.training
        assert torch.equal(found(inputs), own.module()(inputs))
    found = sc.module(sc.save(named, "named.safetensors"))
    scans = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found(scans), named.module()(scans))
    with pytest.raises(sc.StarcliError, match="give arch"):
        sc.module("own.safetensors")
    with pytest.raises(sc.StarcliError, match=r"input_shape=\(3, 224, 224\), without the batch"):
        sc.module("own.pt", arch="tests.library.test_library:network")


def test_every_form_of_data_is_the_same_data(data: Data) -> None:
    model = sc.train(network, data, epochs=2, batch_size=30)
    sets = {role: TensorDataset(*pair) for role, pair in data.items()}
    loaders = {role: DataLoader(each, batch_size=7, shuffle=True) for role, each in sets.items()}
    rows = [sc.evaluate(model, data=each)[0] for each in (data, sets, loaders)]
    assert len({row["nll"] for row in rows}) == 1
    assert rows[0]["data"] == rows[2]["data"]


def test_one_pair_is_trained_and_measured_on(data: Data) -> None:
    said = "no test part: test figures are those of the training examples"
    with pytest.warns(sc.StarcliWarning, match=said):
        model, other = (sc.train(network, data["train"], epochs=1, batch_size=30, seed=seed) for seed in (0, 1))
    assert model.metadata.metrics["train"] == model.metadata.metrics["test"]
    with pytest.warns(sc.StarcliWarning, match=said):
        sc.find_star([model, other], epochs=1)
    sc.evaluate(model.module(), data=data["test"])  # which is meant: no warning


def test_a_star_of_modules_says_by_which_recipe_it_is_trained(data: Data) -> None:
    """They do not say how they were trained; of a recipe that is named nothing has to be said."""
    sources = [sc.train(network, data, epochs=1, batch_size=30, seed=seed).module() for seed in (0, 1)]
    with pytest.warns(sc.StarcliWarning, match="the default recipe is used: batch size 128, optimizer sgd") as said:
        sc.find_star(sources, epochs=1, data=data)
    assert "epochs" not in str(said[0].message)  # which the call says
    sc.find_star(sources, recipe=sc.Recipe(epochs=1), data=data)


def test_a_module_is_no_solution_to_begin_from(data: Data) -> None:
    """Its weights do not count: the seed draws them."""
    given = network()
    before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    first, again = (sc.train(given, data, seed=1, epochs=1, batch_size=30) for _ in range(2))
    assert same(dict(first.tensors), dict(again.tensors))
    assert not same(dict(first.tensors), dict(sc.train(given, data, seed=2, epochs=1, batch_size=30).tensors))
    assert same(before, given.state_dict())


def test_alignment_needs_an_input_shape_alone() -> None:
    a, b = network(), network()
    aligned = sc.align(a, b, input_shape=(4,))
    x = torch.randn(5, 4)
    assert torch.allclose(aligned.module()(x), b.eval()(x), atol=1e-5)


def test_weights_alone_are_merged_as_they_are_unless_an_alignment_is_said() -> None:
    sources = [{"w": torch.tensor([1.0, 3.0])}, {"w": torch.tensor([2.0, 5.0])}]
    fused = sc.fuse(sources, method="linear", weights=[3, 1])
    assert fused.tensors["w"].tolist() == [1.25, 3.5]
    with pytest.raises(sc.StarcliError, match="its weights were merged without one"):
        fused.module()
    with pytest.raises(sc.StarcliError, match="nothing to measure"):
        _ = fused.comparison
    with pytest.raises(sc.StarcliError, match="alignment needs network and data"):
        sc.fuse(sources, method="linear", alignment="weight")


def test_uint8_images_are_scaled_and_floats_are_not() -> None:
    images, labels = torch.full((8, 1, 4, 4), 255, dtype=torch.uint8), torch.arange(8) % 2
    from starcli.data.in_memory import dataset_in_memory

    assert next(iter(dataset_in_memory((images, labels)).train.batches(8)))[0].unique().tolist() == [1.0]
    assert next(iter(dataset_in_memory((images.float(), labels)).train.batches(8)))[0].unique().tolist() == [255.0]


def test_the_process_of_the_caller_is_left_alone(data: Data) -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        sc.train(network, data, epochs=1, batch_size=30)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:.*hardly a solution", "ignore:.*it is no star")
def test_results_become_tables(data: Data) -> None:
    pandas = pytest.importorskip("pandas")
    models = [sc.train(network, data, seed=seed, epochs=2, batch_size=30) for seed in (0, 1)]
    assert isinstance(models[0].to_frame(), pandas.DataFrame)
    assert list(sc.barrier(*models, points=3, alignment=None).to_frame().columns) == ["split", "t", "loss", "accuracy"]
    evaluated = sc.evaluate(*models).to_frame()
    assert len(evaluated) == 2
    assert {"accuracy", "data.name", "data.fingerprint"} <= set(evaluated.columns)
    pairs = sc.all_pairs(models, alignment=None, points=3)
    assert pairs.to_frame().to_dict("records") == [
        {"a": "Sequential-0", "b": "Sequential-1", "split": split}
        | {name: getattr(curve, name) for name in ("loss_barrier", "accuracy_barrier")}
        for split, curve in pairs.barriers[0].curves.items()
    ]
    report = sc.star_report(models[0], models[1:], held_out=[sc.train(network, data, seed=2, epochs=1)], points=3)
    with pandas.option_context("display.width", 80, "display.max_columns", 0):
        heading = str(report.to_frame()).splitlines()[0]
    assert {"group", "split", "mean", "interval"} <= {*heading.split()}


# -- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda data: sc.evaluate(3, data=data), "model 0: an int is no file"),
        (lambda data: sc.evaluate([network()], data=data), r"several models are arguments of their own: \*models"),
        (lambda data: sc.train(network, data, optimizer="adam", momentum=0.9), "the keywords: settings that would"),
        (lambda data: sc.evaluate(network().state_dict(), data=data), "does not say what network it is"),
        (lambda data: sc.train(network, data, epoch=3), "did you mean epochs"),
        (lambda data: sc.train(network, (data["train"][0], data["train"][1] + 0.5)), "3 outputs to predict 1 column"),
        (
            lambda data: sc.evaluate(nn.Linear(4, 1), data=(data["train"][0], data["train"][1] % 2)),
            r'expected 2 logits\n  task="multi-label" takes 0 and 1 as a label of one output',
        ),
        (
            lambda data: sc.train(
                lambda: nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), (data["train"][0], data["train"][0][:, 0])
            ),
            r"expected 1 logits\n.* \(N, 1\): leave out squeeze",
        ),
        (lambda data: sc.train(network, {"test": data["test"]}), '"train" is missing'),
        (lambda data: sc.train(network, {"trian": data["test"]}), "unknown trian"),
        (lambda data: sc.align(network(), nn.Linear(4, 3), data=data), "do not fit the network"),
        (lambda data: sc.align(network(), network()), "an input shape"),
        (
            lambda data: sc.interpolate(network(), network(), t=0.5, weights=[1, 0], data=data),
            "t, weights and perturb, found 2",
        ),
        (lambda data: sc.interpolate(network(), network(), weights="ab", data=data), "expected a number for each"),
        (lambda data: sc.find_star([network()], data=data), "at least two"),
        (lambda data: sc.train(network, data, lr=-1.0), "lr"),
        (lambda data: sc.load("there is no such file.safetensors"), "cannot read"),
    ],
)
def test_errors_say_what_is_wrong(call, words: str, data: Data) -> None:
    with pytest.raises(sc.StarcliError, match=words):
        call(data)


def test_notes_become_warnings(solutions) -> None:
    tensors = sc.load(solutions[0]).tensors
    broken = {name: 30 * tensor if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    models = [solutions[0], solutions[1], broken]
    where = {"arch": "mlp", "arch_args": MLP["arch_args"], "data": "digits", "limit": 300, "val_fraction": 0.2}
    with pytest.warns(StarcliWarning, match="hardly a solution"):
        sc.find_star(models, epochs=1, **where)


def test_a_network_in_a_file_is_named_as_on_the_command_line(place: Path) -> None:
    (place / "net16.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    words = ("--arch", "net16.py:build", "--data", "digits", "--limit", 60, "--epochs", 1)
    assert run_here("train", *words, "-o", "0.safetensors").status == 0
    found = sc.train("net16.py:build", "digits", epochs=1, limit=60)
    assert sc.save(found, "mine.safetensors").read_bytes() == Path("0.safetensors").read_bytes()
    assert sc.evaluate("0.safetensors", arch=str(place / "net16.py:build"))[0]["nll"] > 0
    for typed, spelled in (("net16.py", "net16.py:build"), (".", "net16.py:NAME")):
        with pytest.raises(sc.StarcliError, match=spelled):
            sc.train(typed, "digits")


def test_nothing_is_written_over(solutions, place: Path) -> None:
    model = sc.load(solutions[0])
    sc.save(model, "a.safetensors")
    with pytest.raises(sc.StarcliError, match="exists"):
        sc.save(model, "a.safetensors")
    assert sc.save(model, "a.safetensors", force=True) == Path("a.safetensors")
    assert Path("a.safetensors").read_bytes() == Path(solutions[0]).read_bytes()


def test_importing_is_cheap_and_names_are_there() -> None:
    code = "import sys, starcli; assert not {'torch', 'numpy', 'pydantic'} & {*sys.modules}; print(*dir(starcli))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(sc.__all__) <= set(done.stdout.split())
    for name in sc.__all__:
        assert getattr(sc, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'align_all'"):
        sc.align_all  # noqa: B018


def test_who_guesses_the_function_of_a_command_is_told_its_name() -> None:
    from starcli.cli.main import app

    commands = [name for each in (app.registered_commands, app.registered_groups) for name in (c.name for c in each)]
    assert {"train", "star", "spec"} <= {*commands}
    for name in {*commands} - {*sc.__all__, "star"}:
        with pytest.raises(AttributeError, match=rf"no attribute '{name}': .*sc\.[a-z]"):
            getattr(sc, name)
    code = "import starcli as sc; sc.star('a.safetensors')"
    for before in ("", "import starcli.star; "):  # a folder of the package, once something has imported it
        done = subprocess.run([sys.executable, "-c", before + code], capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1].endswith("the command star is sc.find_star here"), done.stderr


def test_tables_print_their_first_numbers_and_notebooks_show_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"model": f"m{i}", "accuracy": i / 7, "data": {"name": "digits"}, "wide" * 30: 1} for i in range(25)]
    printed = repr(sc.ResultTable(rows)).splitlines()
    assert printed[:3] == ["ResultTable(25 rows)", " model  accuracy", "    m0         0"]
    assert printed[-1] == "and 5 more"
    assert repr(sc.ResultTable([])) == "ResultTable(0 rows)"
    pytest.importorskip("pandas")
    assert "<td>digits</td>" in sc.ResultTable(rows)._repr_html_()
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert sc.ResultTable(rows)._repr_html_() is None


def test_weights_are_numbers_of_any_kind(place: Path) -> None:
    with pytest.raises(sc.StarcliError, match="weights='ab': expected a number for each model"):
        sc.mean_adapter([place, place], weights="ab")


def test_results_print_in_a_line(solutions) -> None:
    a, b = solutions.some(0, 1)
    found = sc.describe(a, verify=True)
    assert repr(found) == f"Description('0.safetensors': model, {len(sc.load(a).tensors)} tensors, verified)"
    pairs = sc.all_pairs([a, b], alignment=None, points=3)
    barrier = pairs.barriers[0].curves["train"].loss_barrier
    assert repr(pairs.group).startswith(f"BarrierGroup(1 pair, mean barrier train {barrier:.4g}, test ")
    for result in (pairs, pairs.barriers[0], sc.align(a, b), sc.normal_form(a).normalised):
        assert "\n" not in repr(result)
