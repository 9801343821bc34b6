"""Directories of `transformers` as models: as its own library computes them, before and after every command."""

import json
import shutil
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import pytest
import torch
from huggingface.conftest import KINDS, pretrained
from support.program import run_here
from support.refused import refused
from support.tensors import same
from torch.nn.functional import cross_entropy

import starcli as sc
from starcli.data.dataset import open_data
from starcli.data.tokenizers import byte_tokens
from starcli.errors import StarcliError
from starcli.files.safetensors import read_tensors
from starcli.files.write import write_tensors
from starcli.fusion.merge_files import merges_of_files
from starcli.huggingface.companions import weights_in
from starcli.huggingface.directory import Directory
from starcli.merging.merge import Merge
from starcli.models.build import build_network
from starcli.models.huggingface import from_disk, least_arguments
from starcli.workspace.directory_notes import notes_of_directory

TOKENS = torch.randint(0, 256, (3, 12), generator=torch.Generator().manual_seed(0))


def inputs_of(kind: str) -> dict[str, torch.Tensor]:
    if kind == "vit":
        return {"pixel_values": torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))}
    return {"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS)}


def logits(path: Path, kind: str) -> torch.Tensor:
    with torch.no_grad():
        return pretrained(path)(**inputs_of(kind)).logits


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_computes_what_its_library_does(saved, kind):
    model = sc.load(saved(kind))
    architecture = model.metadata.architecture
    name = architecture.name.removeprefix("hf:")
    arguments = least_arguments(name, architecture.arguments)
    network = build_network(architecture.name, **arguments).eval()
    network.load_state_dict(from_disk(name, arguments, model.tensors))
    own = inputs_of(kind)
    with torch.no_grad():
        found = network(own.get("pixel_values", own.get("input_ids")))
    torch.testing.assert_close(found, logits(saved(kind), kind))


def test_padding_changes_nothing(saved):
    for kind in ("bert", "gpt2", "llama"):
        model = sc.load(saved(kind))
        network = build_network(model.metadata.architecture.name, **model.metadata.architecture.arguments).eval()
        padded = torch.cat([TOKENS, torch.full((3, 5), -1)], dim=1)
        with torch.no_grad():
            short, long = network(TOKENS), network(padded)
        torch.testing.assert_close(long if kind == "bert" else long[:, :12], short)


@pytest.mark.parametrize("kind", KINDS)
def test_an_aligned_directory_is_the_same_function_for_both_programs(saved, kind, tmp_path):
    a, b, out = saved(kind, 0), saved(kind, 1), tmp_path / "out"
    [row] = run_here("align", a, b, "-o", out).rows
    assert row["moved"] > 0
    torch.testing.assert_close(logits(out, kind), logits(b, kind), rtol=1e-4, atol=1e-4)
    weights = f"model.safetensors{'.index.json' * (kind == 'sharded')}"
    assert {"config.json", "tokenizer_config.json", weights} <= {path.name for path in out.iterdir()}
    assert sc.load(out).tensors.keys() == sc.load(b).tensors.keys()  # the same names, tied ones once
    [row] = run_here("convert", out, "-o", tmp_path / "file.safetensors").rows
    assert kind == "mixtral" or row["tensors"] >= len(sc.load(b).tensors)  # its class stacks what files have apart


def test_losses_of_classes_are_those_of_the_library(saved, texts):
    rows = [
        run_here("eval", saved("bert"), "--data", f"text:{texts}", "--split", split).rows[0]
        for split in ("train", "test")
    ]
    counts = [sum(row["reliability"]["count"]) for row in rows]
    model, losses = pretrained(saved("bert")), []
    for line in texts.read_text().splitlines()[1:]:
        text, label = line.split(",")
        with torch.no_grad():
            found = model(input_ids=torch.tensor(byte_tokens([text]))).logits
        losses.append(float(cross_entropy(found, torch.tensor(["xyz".index(label)]))))
    total = sum(count * row["nll"] for count, row in zip(counts, rows, strict=True))
    assert (sum(counts), total) == (30, pytest.approx(sum(losses), rel=1e-5))


def test_losses_of_next_tokens_are_those_of_the_library(saved, texts):
    ends = saved("gpt2", 0), saved("gpt2", 1)
    row = run_here("barrier", *ends, "--data", f"text:{texts}", "--points", 3, "--align", "none").rows[0]
    texts_alone = [line.split(",")[0] for line in texts.read_text().splitlines()[1:]]
    for path, place in zip(ends, (0, -1), strict=True):
        model, sums, count = pretrained(path), 0.0, 0
        for [tokens] in (byte_tokens([text]) for text in texts_alone):
            with torch.no_grad():
                loss = model(input_ids=torch.tensor([tokens]), labels=torch.tensor([tokens])).loss
            sums, count = sums + float(loss) * (len(tokens) - 1), count + len(tokens) - 1
        tokens_in = {"train": 0, "test": 0}
        found = [row[split]["loss"][place] for split in tokens_in]
        assert min(found) - 1e-4 <= sums / count <= max(found) + 1e-4


def test_a_plain_file_knows_its_network_and_a_directory_can_be_named_for_one(saved, tmp_path):
    file, bare = tmp_path / "x.safetensors", tmp_path / "bare.safetensors"
    run_here("convert", saved("vit"), "-o", file)
    run_here("convert", saved("vit"), "--plain", "-o", bare)
    losses = [
        run_here("eval", *words, "--data", "digits", "--limit", 40).rows[0]["nll"]
        for words in ((saved("vit"),), (file,), (bare, "--arch", f"hf:{saved('vit')}"))
    ]
    assert losses[0] == losses[1] == losses[2]
    assert "alone/model.safetensors makes a directory" in run_here("convert", file, "-o", tmp_path / "alone").err
    assert "makes a directory" not in run_here("convert", file, "-o", tmp_path / "back" / "model.safetensors").err
    torch.testing.assert_close(logits(tmp_path / "back", "vit"), logits(saved("vit"), "vit"))


def test_old_names_are_mapped_and_the_type_is_kept(saved, tmp_path):
    """As `from_pretrained` does: gamma and beta of norms, and the prefix of the base model."""
    place = tmp_path / "old"
    place.mkdir()
    place.joinpath("config.json").write_bytes(saved("bert").joinpath("config.json").read_bytes())
    tensors = read_tensors(saved("bert") / "model.safetensors")[1]
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor.bfloat16()
        for name, tensor in tensors.items()
    }
    write_tensors(place / "model.safetensors", old, {"format": "pt"})
    run_here("align", saved("bert", 1), place, "-o", tmp_path / "new")
    written = sc.load(tmp_path / "new").tensors
    assert written.keys() == tensors.keys()
    assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}
    assert pretrained(tmp_path / "new").dtype == torch.bfloat16


def test_the_library_saves_directories_too(saved, tmp_path):
    aligned = sc.align(saved("gpt2", 0), saved("gpt2", 1))
    sc.save(aligned, tmp_path / "out")
    torch.testing.assert_close(logits(tmp_path / "out", "gpt2"), logits(saved("gpt2", 1), "gpt2"), rtol=1e-4, atol=1e-4)


def test_what_a_directory_says_of_images_is_taken(saved, tmp_path):
    place = tmp_path / "vit"
    place.mkdir()
    for file in saved("vit").iterdir():
        place.joinpath(file.name).write_bytes(file.read_bytes())
    said = {"image_mean": [0.25], "image_std": [2.0], "do_normalize": True}
    place.joinpath("preprocessor_config.json").write_text(json.dumps(said))
    words = "--data", "digits", "--limit", 40
    taken = run_here("eval", place, *words).rows[0]["nll"]
    assert taken == run_here("eval", saved("vit"), *words, "--normalise", "0.25:2").rows[0]["nll"]
    assert taken != run_here("eval", place, *words, "--normalise", "data").rows[0]["nll"]


@pytest.mark.parametrize("said", [{"interpolation": "bicubic", "crop_pct": 0.95}, {}], ids=len)
def test_how_images_are_resized_is_noted_where_a_directory_says_it(tmp_path, said):
    from PIL import Image

    for part, label in product(("train", "test"), "ab"):
        folder = tmp_path / "imgs" / part / label
        folder.mkdir(parents=True)
        Image.new("RGB", (80, 80)).save(folder / "0.png")
    directory = Directory(tmp_path, {"architecture": "resnet10t", "pretrained_cfg": {"mean": [0.5], **said}})
    notes = notes_of_directory(directory, open_data(f"folder:{tmp_path / 'imgs'}"))
    words = 'resized bilinearly to 91 x 91 and cut to 80 x 80, and {} says interpolation "bicubic", crop_pct 0.95:'
    assert [words.format(tmp_path) in note for note in notes] == [True] * bool(said)
    assert notes_of_directory(directory, open_data("digits")) == ()


@pytest.mark.parametrize("kind", ["gpt2", "vit"])
def test_one_model_that_records_data_says_them_for_all(saved, texts, tmp_path, kind):
    """Task, size and normalisation, wherever it stands in the line."""
    data = ("--data", f"text:{texts}") if kind == "gpt2" else ("--data", "digits", "--limit", 40)
    said = () if kind == "gpt2" else ("--normalise", "0.25:2")
    a, b = saved(kind, 0), saved(kind, 1)
    assert run_here("align", a, b, *data, *said, "-o", tmp_path / "c").status == 0
    told = run_here("eval", tmp_path / "c", a, *data)
    ran = run_here("eval", a, tmp_path / "c", *data)
    assert ran.status == 0, ran.err
    assert [row["nll"] for row in ran.rows] == [row["nll"] for row in reversed(told.rows)]


def changed(saved, tmp_path: Path, **keys: object) -> Path:
    """A directory with other words in its config."""
    place = tmp_path / "changed"
    place.mkdir()
    for file in saved("bert").iterdir():
        place.joinpath(file.name).write_bytes(file.read_bytes())
    config = json.loads(place.joinpath("config.json").read_text())
    place.joinpath("config.json").write_text(json.dumps({**config, **keys}))
    return place


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"architectures": ["MyBertForSequenceClassification"], "auto_map": {"AutoModel": "m.X"}}, "has no such class"),
        ({"architectures": ["BertForQuestionAnswering"]}, "names BertForQuestionAnswering"),
        ({"num_labels": 4, "id2label": dict.fromkeys("0123", "x")}, "the network has"),
        ({"num_hidden_layers": 2}, "missing"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"id2label": {"bad": "x"}}, "config.json: id2label is not"),
        ({"id2label": [1]}, "config.json: id2label is not"),
        ({"image_size": "large"}, "config.json: image_size is not"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(saved, tmp_path, keys, said):
    place = changed(saved, tmp_path, **keys)
    with pytest.raises(StarcliError, match=said):
        sc.evaluate(place, data=(TOKENS, torch.tensor([0, 1, 2])))


@pytest.mark.parametrize(
    "keys", [{"problem_type": "multi_label_classification"}, {"id2label": {"0": "LABEL_0"}}], ids=str
)
def test_numbers_and_several_labels_are_never_judged_as_classes(saved, texts, tmp_path, keys):
    for place in (changed(saved, tmp_path, **keys), saved("bert")):
        words = () if place.name == "changed" else ("--task", "regression")
        ran = run_here("eval", place, "--data", f"text:{texts}", *words)
        assert (ran.status, "'x' is no number" in ran.err) == (1, True), ran.err


def test_what_was_written_merges_with_what_was_given(saved, texts, tmp_path):
    """One says all of its config, the other what is not default; one that knows data asks the others for none."""
    a, b = saved("bert", 0), saved("bert", 1)
    for number, words in enumerate([(), ("--data", texts)]):
        aligned, out = tmp_path / f"aligned{number}", tmp_path / f"merged{number}"
        assert run_here("align", a, b, *words, "-o", aligned).status == 0
        ran = run_here("fuse", "--method", "linear", "--sources", a, aligned, "--weights", 0.25, 0.75, "-o", out)
        assert ran.status == 0, ran.err
        assert ("says no data: all are merged as they are" in ran.err) == bool(words)
        first, second, merged = (read_tensors(place / "model.safetensors")[1] for place in (a, aligned, out))
        for name in merged:
            torch.testing.assert_close(merged[name], 0.25 * first[name] + 0.75 * second[name])
        as_they_are = pytest.warns(sc.StarcliWarning, match="says no data: all are merged as they are")
        with as_they_are if words else nullcontext():
            in_python = sc.fuse([a, aligned], method="linear", weights=[0.25, 0.75])
            turned = sc.fuse([aligned, a], method="linear", weights=[0.75, 0.25])
        assert same(in_python.tensors, merged)
        assert turned.metadata.data == in_python.metadata.data == sc.load(aligned).metadata.data


def test_quantised_weights_are_not_merged(saved, tmp_path):
    place = changed(saved, tmp_path, quantization_config={"quant_method": "fp8"})
    with pytest.raises(StarcliError, match="changed: its weights are quantised, which cannot be merged"):
        merges_of_files(Merge("linear"), [sc.load(place)] * 2, [0], base=False)


def test_language_models_for_texts_of_other_lengths_go_together_where_no_tensor_has_one(saved, texts, tmp_path):
    """Rotary positions have no weights; GPT-2's are a matrix, which is one of another network."""

    def longer(kind: str, key: str, **more: object) -> Path:
        place = tmp_path / kind
        shutil.copytree(saved(kind, 1), place, dirs_exist_ok=True)
        config = json.loads(place.joinpath("config.json").read_text())
        place.joinpath("config.json").write_text(json.dumps({**config, key: 64, **more}))
        return place

    llama, gpt = longer("llama", "max_position_embeddings"), longer("gpt2", "n_positions")
    for words in (("align",), ("fuse", "--method", "linear", "--sources")):
        assert run_here(*words, saved("llama"), llama, "-o", tmp_path / words[0]).status == 0
    line = ("--align", "none", "--points", 3, "--data", f"text:{texts}")
    measured = [
        run_here("barrier", saved("llama"), each, *line).rows[0]["train"] for each in (llama, saved("llama", 1))
    ]
    assert measured[0] == measured[1]
    refused(run_here("barrier", saved("gpt2"), gpt, *line), "transformer.wpe.weight", "another shape")
    dynamic = {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}
    scaled = [tmp_path / "scaled", longer("llama", "max_position_embeddings", **dynamic)]
    shutil.copytree(scaled[1], scaled[0])
    changes = json.loads(scaled[0].joinpath("config.json").read_text()) | {"max_position_embeddings": 32}
    scaled[0].joinpath("config.json").write_text(json.dumps(changes))
    refused(run_here("align", *scaled, "-o", tmp_path / "x"), "max_position_embeddings: 64 in llama, 32 in scaled")


def test_no_model_is_written_into_the_directory_of_another(saved, tmp_path):
    sharded, whole = saved("sharded"), tmp_path / "whole"
    shutil.copytree(saved("bert", 1), whole)
    with pytest.raises(StarcliError, match="whole: is an input"):
        weights_in(whole, [sharded, whole])
    whole.joinpath("model.safetensors").rename(whole / "pytorch_model.bin")
    with pytest.raises(StarcliError, match=r"pytorch_model\.bin: exists, and this model is model\.safetensors\.index"):
        weights_in(whole, [sharded, saved("bert")])
    whole.joinpath("pytorch_model.bin").unlink()
    assert weights_in(whole, [saved("bert")]) == whole / "model.safetensors"  # as a run leaves it that was stopped
    whole.joinpath("tokenizer_config.json").write_text('{"other": 1}')
    with pytest.raises(StarcliError, match=r"tokenizer_config.json: is of another model"):
        weights_in(whole, [saved("bert")])


@pytest.mark.parametrize(("old", "new"), [("bert", "sharded"), ("sharded", "bert")])
def test_a_directory_whose_model_is_replaced_is_loaded_as_the_new_one(saved, tmp_path, old, new):
    """Shards beside an older model.safetensors are never seen by `from_pretrained`; nor is the old tokenizer taken."""
    out, mine = tmp_path / "out", saved(new, 1)
    shutil.copytree(saved(old), out)
    for name in ("added_tokens.json", "vocab.txt", "README.md"):
        out.joinpath(name).write_text("{}")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    weights = f"model.safetensors{'.index.json' * (new == 'sharded')}"
    for place in (out, out / weights):
        if place == out or new == "bert":  # an index is no name of a file to write
            refused(run_here("convert", mine, "-o", place), f"in place of {weights}, or beside it; --force replaces it")
    with pytest.raises(StarcliError, match="force=True replaces it"):
        sc.save(sc.load(mine), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert run_here("convert", mine, "-o", out, "--force").status == 0
    assert same(pretrained(out).state_dict(), pretrained(mine).state_dict())
    assert same(sc.load(out).tensors, sc.load(mine).tensors)
    names = [{path.name for path in place.iterdir() if "-of-" not in path.name} for place in (out, mine)]
    assert names[0] == names[1] | {"README.md"}  # shards are those of one set, of any number
    assert len({path.name.rpartition("-of-")[2] for path in out.glob("*-of-*")}) == (new == "sharded")
    assert run_here("convert", mine, "-o", out).err.startswith(f"note: {out / weights}: finished already")


def test_a_model_in_shards_takes_the_place_of_one_file(saved, tmp_path):
    """Bare and with what it says of itself; a file is never replaced by its own shards."""
    for number, words in enumerate(([], ["--plain"])):
        out = tmp_path / str(number)
        shutil.copytree(saved("bert"), out)
        line = ["convert", saved("bert", 1), "-o", out, "--shard-size", "12kB", *words]
        refused(run_here(*line), f"{out / 'model.safetensors'}: exists, and would be loaded in place of")
        assert run_here(*line, "--force").status == 0
        assert same(pretrained(out).state_dict(), pretrained(saved("bert", 1)).state_dict())
        line = ["convert", out, "-o", out / "model.safetensors", *words, "--force"]
        refused(run_here(*line), "is an input, and would be loaded in place of model.safetensors, or beside it")


def test_classes_in_another_order_are_never_taken_for_each_other(saved, texts, tmp_path):
    place = changed(saved, tmp_path, id2label={"0": "z", "1": "y", "2": "x"})
    row = run_here("eval", place, "--data", f"text:{texts}").rows[0]
    usual = run_here("eval", saved("bert"), "--data", f"text:{texts}").rows[0]
    assert row["nll"] != pytest.approx(usual["nll"], rel=1e-3)
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(
        "\n".join(
            line if number == 0 else f"{line[:-1]}{'zyx'.index(line[-1])}"
            for number, line in enumerate(texts.read_text().splitlines())
        )
    )
    assert run_here("eval", place, "--data", f"text:{numbers}").rows[0]["nll"] == pytest.approx(row["nll"])


@pytest.mark.parametrize(("kind", "key"), [("BertForMaskedLM", "num_hidden_layers"), ("GPT2LMHeadModel", "n_layer")])
def test_a_config_of_endless_layers_is_refused_before_any_is_built(kind: str, key: str) -> None:
    with pytest.raises(StarcliError, match="1,000,000,000 layers, at most 10,000 are built"):
        build_network(f"hf:{kind}", **{key: 10**9})
