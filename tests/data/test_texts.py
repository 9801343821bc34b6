"""Texts and tokens: tables and arrays become padded rows, next tokens are shifted, and wrong ones are told."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from support.data import refused

from starcli.data.dataset import Dataset, open_data
from starcli.data.in_memory import dataset_in_memory
from starcli.data.repeats import repeats_notes
from starcli.data.text_options import TextOptions
from starcli.data.tokenizers import refuse_other_tokenizer
from starcli.data.tokens import NO_TOKEN, are_next_tokens, given_next_tokens, next_tokens, token_rows
from starcli.errors import StarcliError

PACKAGES = Path(__file__).with_name("packages.csv")
NEXT = TextOptions(task="next-token")
RNG = np.random.RandomState(0)


def texts_of(data: Dataset) -> list[str]:
    """The texts of the training part, without the tokens at their ends."""
    rows = data.train.raw.tolist()  # type: ignore[attr-defined]
    return [bytes(token for token in row if 0 <= token < 256).decode() for row in rows]


def test_long_texts_keep_the_order_of_their_tokens() -> None:
    """Padded before or behind: longer than any sort by insertion."""
    ids, mask = np.arange(600).reshape(3, 200), np.zeros((3, 200), dtype=np.int64)
    mask[0, :150], mask[1, 70:], mask[2, 40:160] = 1, 1, 1
    found = token_rows(ids, mask, "x")
    for row, (start, stop) in enumerate([(0, 150), (70, 200), (40, 160)]):
        assert found[row].tolist() == [*range(200 * row + start, 200 * row + stop), *[NO_TOKEN] * (200 - stop + start)]


def test_descriptions_of_packages_are_bytes_with_sections_as_classes() -> None:
    data = open_data(f"text:{PACKAGES}", texts=TextOptions(length=90))
    lines = PACKAGES.read_text().splitlines()[1:]
    assert (data.name, data.vocab_size, data.input_shape, data.task) == ("text", 257, (90,), "classes")
    assert data.class_names == tuple(sorted({line.rpartition(",")[2] for line in lines}))
    assert len(data.train) + len(data.test) == len(lines) == 300
    for text, label, row in zip(texts_of(data), data.train.labels, data.train.index, strict=True):
        line = lines[int(row)]
        assert line.rpartition(",")[2] == data.class_names[label]
        assert line.rpartition(",")[0].strip('"').replace('""', '"') == text
    inputs, labels = next(iter(data.train.batches(7, order=torch.arange(9, 20))))
    assert inputs.dtype == labels.dtype == torch.int64
    assert torch.equal(inputs, data.train.raw[9:16])  # type: ignore[attr-defined]


def test_a_file_without_labels_is_for_next_tokens(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("text\nab\nc\n\u00e9\n")
    data = open_data(f"text:{tmp_path / 't.tsv'}")
    assert data.task == "next-token"
    assert data.num_classes == data.vocab_size == 257
    rows = {tuple(row) for part in (data.train, data.test) for row in part.raw.tolist()}  # type: ignore[attr-defined]
    assert rows == {(256, 97, 98, 256), (256, 99, 256, -1), (256, 0xC3, 0xA9, 256)}
    assert data.train.targets.tolist() == [x for row in data.train.raw.tolist() for x in row[1:] if x >= 0]  # type: ignore[attr-defined]


FORMS: dict[str, Callable[[list[tuple[str, int]]], str]] = {
    "csv": lambda rows: "said,kind\n" + "".join(f'"{text}",{label}\n' for text, label in rows),
    "tsv": lambda rows: "said\tkind\n" + "".join(f"{text}\t{label}\n" for text, label in rows),
    "jsonl": lambda rows: "".join(json.dumps({"said": text, "kind": label}) + "\n" for text, label in rows),
}


@pytest.mark.parametrize("suffix", FORMS)
def test_tables(tmp_path: Path, suffix: str) -> None:
    rows = [("ten, of them", 10), ("nine", 9), ("ten", 10), ("nine again", 9), ("ten too", 10)]
    (tmp_path / f"t.{suffix}").write_text(FORMS[suffix](rows))
    data = open_data(str(tmp_path / f"t.{suffix}"), texts=TextOptions("said", "kind"))
    assert data.class_names == ("9", "10")  # by their size
    found = dict(zip(texts_of(data), data.train.labels.tolist(), strict=True))
    assert found.items() <= {(text, int(label == 10)) for text, label in rows}


def test_parquet(tmp_path: Path) -> None:
    if pytest.importorskip("pandas") and not _has("pyarrow"):
        (tmp_path / "t.parquet").write_bytes(b"PAR1")
        refused(lambda: open_data(f"text:{tmp_path / 't.parquet'}"), "needs the package pyarrow")
        return
    import pandas

    pandas.DataFrame({"text": ["a", "b", "c"], "label": ["x", "y", "x"]}).to_parquet(tmp_path / "t.parquet")
    assert open_data(f"text:{tmp_path / 't.parquet'}").class_names == ("x", "y")


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def test_tokenizer_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\nhello world,a\nworld,b\nhello,a\n")
    where = tmp_path / "tokenizer.json"
    asked = TextOptions(tokenizer=where)
    refused(lambda: open_data(f"text:{tmp_path / 't.csv'}", texts=asked), "no such file")
    where.write_text("{}")
    if not _has("tokenizers"):
        refused(lambda: open_data(f"text:{tmp_path / 't.csv'}", texts=asked), "needs the package tokenizers")
        return
    refused(lambda: open_data(f"text:{tmp_path / 't.csv'}", texts=asked), "cannot be read")
    import tokenizers

    words = tokenizers.models.WordLevel({"[UNK]": 0, "hello": 1, "world": 2, "spare": 3}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(words)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(where))
    data = open_data(f"text:{tmp_path / 't.csv'}", texts=asked)
    assert (data.vocab_size, data.input_shape) == (4, (2,))
    rows = [row for part in (data.train, data.test) for row in part.raw.tolist()]  # type: ignore[attr-defined]
    assert sorted(rows) == [[1, -1], [1, 2], [2, -1]]


def test_a_tokenizer_that_panics_is_refused(tmp_path: Path) -> None:
    """Its own language has errors that are no Exception of Python's: here for a token that it puts around texts."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "[CLS]": 1}, unk_token="[UNK]"))
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 1)])
    said = json.loads(made.to_str())
    said["post_processor"]["single"][0]["SpecialToken"]["id"] = "[SEP]"
    (tmp_path / "tokenizer.json").write_text(json.dumps(said))
    (tmp_path / "t.csv").write_text("text,label\na,0\nb,1\n")
    asked = TextOptions(tokenizer=tmp_path / "tokenizer.json")
    refused(lambda: open_data(f"text:{tmp_path / 't.csv'}", texts=asked), "cannot make tokens of these texts")


def test_long_texts_keep_the_tokens_that_a_tokenizer_puts_around_them(tmp_path: Path) -> None:
    """As transformers cuts them, and its classifiers were trained: before the last token is put behind."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, **{word: number for number, word in enumerate("abcd", 3)}}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.save(str(tmp_path / "tokenizer.json"))
    texts = ["a b c d", "a", "d c b", "b a"]
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"{text},x\n{text},y\n" for text in texts))
    own = transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[UNK]")
    told = own(texts, truncation=True, max_length=4, padding="max_length", return_tensors="np")
    asked = TextOptions(tokenizer=tmp_path / "tokenizer.json", length=4)
    data = open_data(f"text:{tmp_path / 't.csv'}", texts=asked)
    assert any("4 of 8 texts are longer than 4" in note for note in data.notes)
    rows = {tuple(row) for part in (data.train, data.test) for row in part.raw.tolist()}  # type: ignore[attr-defined]
    assert rows == set(map(tuple, np.where(told["attention_mask"], told["input_ids"], -1).tolist()))
    refused(lambda: open_data(f"text:{tmp_path / 't.csv'}", texts=replace(asked, length=2)), "puts 2 tokens around")


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text("{}")
    other.write_text("{ }")
    own = hashlib.sha256(b"{}").hexdigest()
    refuse_other_tokenizer(one, own)
    refuse_other_tokenizer(None, None)
    refused(lambda: refuse_other_tokenizer(other, own), "other.json: has SHA-256", f"has SHA-256 {own[:12]}; give that")
    refused(
        lambda: refuse_other_tokenizer(None, own),
        f"--tokenizer is needed: the model's tokenizer file has SHA-256 {own[:12]}",
    )
    refused(lambda: refuse_other_tokenizer(one, None), "trained on bytes; leave out --tokenizer")


def test_long_texts_are_cut_and_that_is_said() -> None:
    data = open_data(f"text:{PACKAGES}", texts=TextOptions(length=5))
    assert data.input_shape == (5,)
    assert any("longer than 5 tokens" in note for note in data.notes)
    assert {len(text) for text in texts_of(data)} == {4}  # the first token is none of the text


@pytest.mark.parametrize(
    ("contents", "options", "words"),
    [
        ("", {}, "is empty"),
        ("text,label\n", {}, "no rows"),
        ("text,label\na,x\n", {}, "at least 2"),
        ("words,label\na,x\nb,y\n", {}, "no column 'text'"),
        ("words,label\na,x\nb,y\n", {}, "its columns are words, label"),
        ("text;label\na;x\nb;y\n", {}, "with ';' in it: a .csv has commas"),
        ("text\na\nb\n", {"label_column": "kind"}, "no column 'kind'"),
        ("text\na\nb\n", {"task": "classes"}, "no column 'label'"),
        ("text,label\na,x\nb,x,z\n", {}, "more columns than the heading"),
        ("text,text\na,x\nb,x\n", {}, "two columns of one name"),
        ("text,label\na,x\nb\n", {}, "row 2: label: nothing"),
        ("text,label\na,x\nb,x\nc,x\n", {}, "only one class"),
        ("text,label\na,x\nb,y\n", {"task": "translate"}, "unknown task 'translate'"),
        ("text,label\na,x\nb,y\n", {"task": "next-token", "label_column": "label"}, "--label-column has no effect"),
        ("text,label\na,x\nb,y\n", {"length": 1}, "--length 1"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, contents: str, options: dict[str, Any], words: str) -> None:
    (tmp_path / "t.csv").write_text(contents)
    refused(lambda: open_data(f"text:{tmp_path / 't.csv'}", texts=TextOptions(**options)), words)


@pytest.mark.parametrize("option", [{"length": 8}, {"text_column": "x"}, {"tokenizer": Path("x")}, {"task": "classes"}])
def test_options_without_effect_are_refused(option: dict[str, Any]) -> None:
    refused(lambda: open_data("digits", texts=TextOptions(**option)), "has no effect on digits")


def test_rows_with_padding_on_either_side() -> None:
    ids = RNG.randint(0, 50, size=(20, 9))
    for side in (1, -1):
        mask = np.stack([(np.arange(9) < n)[::side] for n in RNG.randint(2, 10, size=20)]).astype(np.int64)
        rows = token_rows(ids, mask, "x")
        for row, text, here in zip(rows, ids, mask, strict=True):
            expected = text[here == 1]
            assert row[: len(expected)].tolist() == expected.tolist()
            assert (row[len(expected) :] == NO_TOKEN).all()
        following = next_tokens(rows, "x")
        assert following[following >= 0].tolist() == [x for row in rows for x in row[1:] if x >= 0]


@pytest.mark.parametrize(
    ("ids", "mask", "words"),
    [
        (np.zeros((2, 3)), None, "expected integers (N, length)"),
        (np.zeros((2, 3, 1), int), None, "expected integers (N, length)"),
        (np.full((2, 3), -2), None, "token -2"),
        (np.full((2, 3), 10**7), None, "token 10000000"),
        (np.ones((2, 3), int), np.ones((2, 2), int), "attention mask"),
        (np.ones((2, 3), int), np.array([[1, 1, 1], [1, 0, 1]]), "several pieces in row 2"),
        (np.ones((2, 3), int), np.array([[0, 0, 0], [1, 0, 0]]), "no text in row 1"),
    ],
)
def test_numbers_that_are_no_tokens(ids: np.ndarray, mask: np.ndarray | None, words: str) -> None:
    refused(lambda: token_rows(ids, mask, "x"), words)


IDS = RNG.randint(0, 30, size=(40, 6))
MASK = (np.arange(6) < RNG.randint(2, 7, size=(40, 1))).astype(np.int64)
KINDS = np.arange(40) % 3


@pytest.mark.parametrize("save", [np.savez, lambda path, **arrays: save_file(arrays, path)])
def test_arrays(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / ("x.npz" if save is np.savez else "x.safetensors")
    save(path, input_ids=IDS, attention_mask=MASK, labels=KINDS)
    data = open_data(str(path))
    assert (data.name, data.num_classes, data.vocab_size, data.input_shape) == (
        "arrays",
        3,
        IDS[MASK == 1].max() + 1,
        (6,),
    )
    assert torch.equal(data.train.raw, torch.from_numpy(token_rows(IDS, MASK, "x"))[data.train.index])  # type: ignore[attr-defined]
    assert data.train.labels.tolist() == KINDS[data.train.index].tolist()
    next_ones = open_data(str(path), texts=NEXT)
    assert next_ones.num_classes == next_ones.vocab_size
    assert sum(len(part.targets) for part in (next_ones.train, next_ones.test)) == MASK.sum() - 40
    assert next_ones.fingerprint != data.fingerprint


def test_parts_of_arrays_and_no_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_input_ids=IDS[:30], test_input_ids=IDS[30:], val_input_ids=IDS[:5])
    data = open_data(str(tmp_path / "x.npz"))
    assert data.task == "next-token"
    assert [len(part) for part in (data.train, data.test, data.validation or [])] == [30, 10, 5]
    assert data.test.targets.tolist() == IDS[30:, 1:].flatten().tolist()
    refused(lambda: open_data(str(tmp_path / "x.npz"), texts=TextOptions(task="classes")), "input_ids without labels")
    np.savez(tmp_path / "i.npz", images=np.zeros((4, 2, 2), np.uint8), labels=np.array([0, 1, 0, 1]))
    refused(lambda: open_data(str(tmp_path / "i.npz"), texts=NEXT), "no input_ids")
    refused(lambda: open_data(str(tmp_path / "x.npz"), normalise="data"), "--normalise is for images")


def test_a_mask_that_belongs_to_nothing_is_refused(tmp_path: Path) -> None:
    for names in ({"train_input_ids": IDS, "attention_mask": MASK}, {"input_ids": IDS, "train_attention_mask": MASK}):
        np.savez(tmp_path / "x.npz", **names)
        mask = next(name for name in names if "mask" in name)
        refused(lambda: open_data(str(tmp_path / "x.npz")), f"{mask} belongs to none of the input_ids")
    np.savez(tmp_path / "x.npz", train_input_ids=IDS, Train_Attention_Mask=MASK)
    data = open_data(str(tmp_path / "x.npz"))
    assert sum(len(part.targets) for part in (data.train, data.test)) == MASK.sum() - 40


def test_a_limit_and_a_validation_part_of_next_tokens(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", input_ids=IDS)
    data = open_data(str(tmp_path / "x.npz"), limit=20, val_fraction=0.25)
    assert (len(data.train), len(data.split("validation")), len(data.test)) == (15, 5, 8)


def test_tokens_in_memory() -> None:
    tokens = torch.from_numpy(IDS)
    data = dataset_in_memory((tokens.int(), torch.from_numpy(KINDS)))
    assert (data.vocab_size, data.num_classes, data.task) == (30, 3, "classes")
    following = dataset_in_memory({"train": (tokens, None), "test": (tokens[:4], None)})
    assert (following.vocab_size, following.num_classes, following.task) == (30, 30, "next-token")
    assert following.test.targets.tolist() == IDS[:4, 1:].flatten().tolist()
    refused(lambda: dataset_in_memory((torch.rand(4, 3), None)), "are no tokens")
    mixed = {"train": (tokens, None), "test": (tokens, torch.from_numpy(KINDS))}
    refused(lambda: dataset_in_memory(mixed), "some parts have labels")


@pytest.mark.parametrize(
    ("words", "labels"),
    [(["1", "2", "2"], [0, 1, 1]), (["0", "2", "2"], [0, 2, 2]), (["3", "1", "2"], [2, 0, 1])],
)
def test_labels_of_a_model_with_numbers_for_names_are_these_where_they_can_be(
    tmp_path: Path, words: list[str], labels: list[int]
) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"ab,{word}\n" for word in [*words, *words]))
    data = open_data(f"text:{tmp_path / 't.csv'}", texts=TextOptions(named=("1", "2", "3")))
    assert data.class_names == ("1", "2", "3")
    found = torch.cat([data.train.labels, data.test.labels])[torch.cat([data.train.index, data.test.index]).argsort()]
    assert found.tolist() == [*labels, *labels]


def test_next_tokens_that_are_given_for_texts_of_one_token_or_for_none() -> None:
    """What follows the only token of a text is in no input; alone, such labels might be classes as well."""
    one, after = np.array([[4], [2]]), np.array([[7], [0]])
    assert given_next_tokens(one, after, "x").tolist() == after.tolist()
    assert not are_next_tokens(one, after)
    with pytest.raises(StarcliError, match="x: in some texts no token is to be predicted"):
        given_next_tokens(one, np.array([[7], [-100]]), "x")


def write_parts(folder: Path, **parts: str) -> None:
    """A folder of tables, `train="text,label..."` as train.csv."""
    folder.mkdir()
    for name, rows in parts.items():
        (folder / f"{name}.csv").write_text(f"text,label\n{rows}")


def test_a_folder_of_tables_has_its_own_parts(tmp_path: Path) -> None:
    write_parts(tmp_path / "all", train="abcd,10\nef,9\ng,10\n", dev="h,9\n", test="ijklm,10\n")
    for name in (f"text:{tmp_path / 'all'}", str(tmp_path / "all")):
        data = open_data(name)
        assert data.class_names == ("9", "10")
        assert texts_of(data) == ["abcd", "ef", "g"]
        assert data.input_shape == (7,)  # the longest of all parts
        assert data.test.raw.tolist() == [[256, *b"ijklm", 256]]  # type: ignore[attr-defined]
        found = (data.train.labels.tolist(), data.split("validation").labels.tolist(), data.test.labels.tolist())
        assert found == ([1, 0, 1], [0], [1])
        assert not data.notes


def test_what_is_no_utf_8_says_how_it_is_converted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("text,label\nmañana,x\nb,y\n".encode("latin-1"))
    refused(lambda: open_data(f"text:{tmp_path / 't.csv'}"), "t.csv: is no text in UTF-8", "iconv -f latin1 -t utf-8")


def test_a_folder_without_a_test_part_says_what_its_table_would_be_called(tmp_path: Path) -> None:
    write_parts(tmp_path / "all", train="".join(f"text {n},{n % 2}\n" for n in range(20)))
    assert any("call it test.csv, alone in a folder" in note for note in open_data(f"text:{tmp_path / 'all'}").notes)


def test_a_test_table_alone_is_measured_as_a_whole(tmp_path: Path) -> None:
    write_parts(tmp_path / "new", test="ab,good\ncd,bad\nef,good\n")
    data = open_data(f"text:{tmp_path / 'new'}", texts=TextOptions(classes=("bad", "fair", "good")))
    assert data.test.labels.tolist() == [2, 0, 2]
    assert any("no training part in it: test.csv stands for it too" in note for note in data.notes)
    held_back = open_data(f"text:{tmp_path / 'new'}", val_fraction=0.5)
    assert held_back.validation is None
    refused(lambda: held_back.split("validation"), "of a test part that is alone nothing is held back; --train-data")
    assert len(held_back.train) == len(held_back.test) == 3
    assert not repeats_notes(held_back, "test")
    next_tokens_of = open_data(f"text:{tmp_path / 'new'}", texts=NEXT)
    assert len(next_tokens_of.test) == 3


def test_folders_of_tables_that_say_too_little_are_refused(tmp_path: Path) -> None:
    write_parts(tmp_path / "twice", train="a,1\n", training="b,2\n")
    refused(lambda: open_data(f"text:{tmp_path / 'twice'}"), "both train.csv and training.csv are there")
    write_parts(tmp_path / "untrained", val="a,1\n")
    refused(lambda: open_data(f"text:{tmp_path / 'untrained'}"), "beside val.csv")
    write_parts(tmp_path / "other", rows="a,1\n")
    refused(lambda: open_data(f"text:{tmp_path / 'other'}"), "without tables of texts")
    write_parts(tmp_path / "unlabelled", train="a,1\nb,2\n")
    (tmp_path / "unlabelled" / "test.csv").write_text("text\nab\n")
    refused(lambda: open_data(f"text:{tmp_path / 'unlabelled'}"), "test.csv: no column 'label'")
    write_parts(tmp_path / "empty", train="a,1\nb,2\n", test="a,1\nb, \n")
    refused(lambda: open_data(f"text:{tmp_path / 'empty'}"), "test.csv: column 'label': nothing in row 2")
