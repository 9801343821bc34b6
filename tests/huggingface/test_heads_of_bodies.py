"""Heads for tokens of bare models, and for classes of models with encoder and decoder, beside `transformers`."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from huggingface.conftest import Save, pretrained
from huggingface.test_new_heads import QUICK, train, with_tokenizer
from support.program import run_here

import starcli as sc


@pytest.mark.parametrize("kind", ["gpt2-bare", "llama-bare", "tied-bare", "bert-base", "bert-pretrained"])
def test_a_bare_model_gets_a_head_for_tokens(saved: Save, place: Path, kind: str) -> None:
    """The embeddings where the class ties them to the head, else a head of its own, drawn from the seed."""
    task = "next-token" if kind.endswith("-bare") else "masked-token"
    ran = train(saved(kind), "--data", "three.csv", "--task", task, "-o", "lm")
    assert ("lm_head.* drawn from the seed" in ran.err) == (kind == "llama-bare"), ran.err
    model, base = pretrained(Path("lm")), transformers.AutoModel.from_pretrained(saved(kind))
    body = model.base_model.state_dict()
    assert all(torch.equal(tensor, base.state_dict()[name]) for name, tensor in body.items())
    tied = torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)
    assert tied == (kind != "llama-bare")
    if kind == "bert-pretrained":
        whole = transformers.BertForPreTraining.from_pretrained(saved(kind)).state_dict()
        assert all(torch.equal(tensor, whole[name]) for name, tensor in model.state_dict().items())
    tokens = torch.randint(0, 256, (3, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(sc.module("lm")(tokens), model(tokens).logits)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("bert-base", "looks at the tokens that it is to predict"), ("vit-base", "has no head for next-token")],
)
def test_a_head_for_next_tokens_that_cannot_be(saved: Save, place: Path, kind: str, said: str) -> None:
    ran = run_here("train", "--init", saved(kind), *QUICK, "--data", "three.csv", "--task", "next-token", "-o", "lm")
    assert (ran.status, said in ran.err) == (1, True), ran.err


@pytest.mark.parametrize("kind", ["t5-base", "t5-generating", "bart-base"])
def test_encoders_with_decoders_read_a_text_at_its_end(saved: Save, place: Path, kind: str) -> None:
    with_tokenizer(Path(shutil.copytree(saved(kind), "base")))  # [SEP], number 3, ends each text
    ran = train("base", "--data", "three.csv", "--task", "classes", "-o", "begun")
    assert "classification_head.* drawn from the seed" in ran.err
    model, base = pretrained(Path("begun")), transformers.AutoModel.from_pretrained("base")
    mine, theirs = model.base_model.state_dict(), base.state_dict()
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())
    train("begun", "--data", "three.csv", "--lr", 0.05, "-o", "ft")
    texts = ["a b", "a b c d e f 7", "h", "c [SEP] 3 f a"]
    Path("new.csv").write_text("\n".join(["text", *texts]) + "\n")
    assert run_here("predict", "ft", "--data", "text:new.csv", "-o", "p.csv").status == 0
    with open("p.csv", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    pipe = transformers.pipeline("text-classification", model="ft", device="cpu", top_k=None)
    for row, said in zip(rows, pipe(texts), strict=True):
        found = {each["label"]: float(row[f"probability_{each['label']}"]) for each in said}
        assert found == pytest.approx({each["label"]: each["score"] for each in said}, abs=1e-5)
    assert run_here("permute", "ft", "--random", "-o", "permuted", "--data", "three.csv").status == 0
    tokens = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
    with torch.no_grad():
        expected = pretrained(Path("ft"))(tokens).logits
        torch.testing.assert_close(pretrained(Path("permuted"))(tokens).logits, expected, rtol=1e-4, atol=1e-4)
    Path("base/tokenizer.json").unlink()
    ran = run_here("train", "--init", "base", *QUICK, "--data", "three.csv", "-o", "bytes")
    assert (ran.status, "24 of 24 texts have no token 3, at which" in ran.err) == (1, True), ran.err


def test_a_decoder_has_the_embedding_that_its_model_shares(saved: Save, place: Path) -> None:
    """On disk it is `shared.weight` alone, and a class of the decoder has no such tensor."""
    ran = train(saved("bart-base"), "--data", "three.csv", "--task", "next-token", "-o", "lm")
    assert "drawn from the seed" not in ran.err
    model, base = pretrained(Path("lm")), transformers.AutoModel.from_pretrained(saved("bart-base"))
    found = model.state_dict()
    for name, tensor in base.decoder.state_dict().items():
        assert torch.equal(found[f"model.decoder.{name}"], tensor)
    assert torch.equal(model.get_output_embeddings().weight, base.shared.weight)


@pytest.mark.parametrize("kind", ["bert-base", "bart-base"])
def test_a_base_lacks_the_head_of_the_sources(saved: Save, place: Path, kind: str) -> None:
    """Each tensor of it was listed; what `train --keep 0` writes is a base."""
    with_tokenizer(Path(shutil.copytree(saved(kind), "base")))
    for seed in (0, 1):
        more = ("--keep", 0) if seed == 0 else ()
        train(
            "base", "--data", "three.csv", "--task", "classes", "--seed", seed, *more, "-o", f"{seed}/model.safetensors"
        )
    fuse = ("fuse", "--method", "ties", "--sources", "0", "1", "--base")
    for data in ((), ("--data", "three.csv")):
        ran = run_here(*fuse, "base", *data, "-o", "f")
        assert (ran.status, len(ran.err.splitlines())) == (1, 2), ran.err
        assert "lacks the head of 0, a B" in ran.err
        assert "--keep 0 of train, with --init base" in ran.err
    ran = run_here(*fuse, "0/epoch0", "--data", "three.csv", "-o", "f")
    assert ran.status == 0, ran.err
