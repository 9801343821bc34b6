"""starcli spec: list, show, check, derive, explain, diff."""

import json
from itertools import product

import pytest
import torch
from PIL import Image
from support.program import run_here
from support.refused import refused

from starcli.symmetry.archspec.library import shipped_specs, spec_dir
from starcli.symmetry.archspec.spec import parse

KEYS = {
    "arch", "groups", "tensors", "parameters", "log10_symmetries", "movable", "frozen", "worst_difference", "proved",
    "undecided",
}  # fmt: skip
MLP = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=5", "input_size=6")


def test_list_and_show():
    names = [row["name"] for row in run_here("spec", "list").rows]
    assert names == shipped_specs()
    for name in ("mlp", "vit"):
        ran = run_here("spec", "show", name)
        assert ran.status == 0
        assert ran.out == (spec_dir() / f"{name}.yaml").read_text()


def test_show_of_a_checkpoint_reads_back(solutions, place):
    (place / "shown.yaml").write_text(run_here("spec", "show", solutions[0]).out)
    network = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--input", "1,64")
    assert run_here("spec", "diff", "shown.yaml", solutions[0], *network).status == 0


def test_check():
    [row] = run_here("spec", "check", *MLP).rows
    assert set(row) >= KEYS
    assert row["proved"] is True
    assert row["undecided"] == []
    assert row["worst_difference"] < 1e-9
    assert row["log10_symmetries"] == pytest.approx(2 * 2.0791812460476247)  # (5!)^2
    assert set(row["frozen"][0]) == {"tensor", "axis", "reason"}


def test_check_names_what_is_wrong(place):
    (place / "w.yaml").write_text(
        run_here("spec", "show", "mlp").out.replace('["unit.{l+1}", "unit.{l}"]', '["unit.{l+1}"]')
    )
    ran = run_here("spec", "check", "w.yaml", *MLP)
    assert ran.status == 1
    assert ran.rows[0]["proved"] is False
    assert "unit.0" in ran.err
    assert "not proved" in ran.err


def test_derive_check_diff(place):
    ran = run_here("spec", "derive", *MLP, "-o", "d.yaml")
    assert ran.status == 0, ran.err
    [row] = ran.rows
    assert set(row) >= KEYS
    assert row["output"] == "d.yaml"
    [checked] = run_here("spec", "check", "d.yaml", *MLP).rows
    assert checked["sha256"] == row["sha256"]
    assert run_here("spec", "diff", "mlp", "d.yaml", *MLP).out == ""
    assert "d.yaml: finished already" in run_here("spec", "derive", *MLP, "-o", "d.yaml").err
    (place / "d.yaml").write_text((place / "d.yaml").read_text() + "# mine\n")
    refused(run_here("spec", "derive", *MLP, "-o", "d.yaml"), "d.yaml: exists; --force overwrites it")
    assert run_here("spec", "derive", *MLP, "-o", "d.yaml", "--force").status == 0


def test_derive_to_stdout():
    ran = run_here("spec", "derive", *MLP, "-o", "-")
    parse(ran.out)
    assert json.loads(ran.err)["type"] == "spec_derive"


def test_diff_says_what_differs(place):
    text = "format: 1\ntensors:\n  fc1.*: [a]\n  bn{i}.*: [a]\n  hidden_layers.{l}.0.weight: [_, a]\n"
    (place / "less.yaml").write_text(
        text + "  hidden_layers.{l}.0.bias: []\n  hidden_layers.{l}.1.*: []\n  fc2.*: []\n"
    )
    ran = run_here("spec", "diff", "mlp", "less.yaml", *MLP)
    assert ran.status == 1
    assert ran.rows
    assert all({"first", "second", "difference"} <= set(row) for row in ran.rows)


def test_explain(solutions):
    rows = run_here("spec", "explain", solutions[0]).rows
    groups = [row for row in rows if row["type"] == "group"]
    assert [(row["group"], row["size"], row["verdict"]) for row in groups] == [
        ("unit.0", 12, "proved"), ("unit.1", 12, "proved"),
    ]  # fmt: skip
    assert [(row["kind"], row["dimension"], row["broken_by"]) for row in groups] == [
        ("scaled", 12, {"orthogonal": "relu in activation"}),
        ("scaled", 12, {"orthogonal": "batch_norm in hidden_layers.0.1"}),
    ]
    assert (rows[0]["type"], rows[0]["continuous_dimension"]) == ("symmetries", 24)
    fixed = {(row["tensor"], row["axis"]): row["reason"] for row in rows if row["type"] == "frozen"}
    assert "input" in fixed["fc1.weight", 1]
    assert "output" in fixed["fc2.weight", 0]


@pytest.fixture
def mine(place):
    """A network of one's own, mine:build."""
    (place / "mine.py").write_text(
        "from torch import nn\n"
        "def build(width=3):\n"
        "    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))\n"
    )


def test_a_fixed_axis_of_a_tied_tensor_has_the_reason_that_was_found_under_its_other_name(place):
    (place / "tied.py").write_text(
        "from torch import nn\n"
        "class Tied(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.table, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)\n"
        "        self.head.weight = self.table.weight\n"
        "    def forward(self, tokens):\n"
        "        return self.head(self.table(tokens).tanh())\n"
    )
    rows = run_here("spec", "explain", "--arch", "tied.py:Tied", "--input", "1,3", "--input-dtype", "int64").rows
    fixed = [(row["axis"], row["reason"]) for row in rows if row["type"] == "frozen"]
    assert [axis for axis, _ in fixed] == [0]
    assert "look-up" in fixed[0][1] or "output" in fixed[0][1]


@pytest.mark.usefixtures("mine")
def test_a_network_of_ones_own():
    words = ("--arch", "mine:build", "--arch-arg", "width=6", "--input", "1,4")
    [row] = run_here("spec", "derive", *words, "-o", "mine.yaml").rows
    assert row["groups"] == 1
    assert row["log10_symmetries"] == pytest.approx(2.857332496431268)  # 6!
    assert run_here("spec", "check", "mine.yaml", *words).rows[0]["proved"]


def test_a_type_of_inputs_that_there_is_not_is_a_wrong_word():
    ran = run_here("spec", "derive", *MLP, "--input-dtype", "complex")
    assert ran.status == 2
    assert "--input-dtype" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "nothing.yaml", *MLP], "nothing.yaml"),
        (["derive", "--arch", "no_such_module:build", "--input", "1,3"], "no_such_module"),
        (["derive", "--arch", "torchvision:resnet19"], "resnet18"),
        (["derive", "--arch", "mine:build"], "--input"),
        (["derive", *MLP, "-o", "/dev/null/where.yaml"], "/dev/null: is no directory"),
    ],
)
@pytest.mark.usefixtures("mine")
def test_wrong_words(words, message):
    ran = run_here("spec", *words)
    assert ran.status == 1
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_explain_for_people_has_whole_names_and_alike_groups_in_one(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    small = ("depth=3", "dim=8", "mlp_dim=16", "heads=2", "image_size=8", "patch_size=4")
    out = run_here("spec", "explain", "--arch", "vit", "--arch-arg", *small, "--format", "table").out
    paragraphs = [paragraph.splitlines() for paragraph in out.split("\n\n")]
    assert [
        "hidden.{l}, l = 0..2: 16 units, proved",
        "  kind: permutation; not signed, scaled or orthogonal: gelu",
        "      in blocks.{l}.mlp.activation",
        "  blocks.{l}.mlp.fc1.bias    axis 0",
        "  blocks.{l}.mlp.fc1.weight  axis 0",
        "  blocks.{l}.mlp.fc2.weight  axis 1",
    ] in paragraphs
    [qk] = [lines for lines in paragraphs if lines[0].startswith("qk")]
    assert qk[0] == "qk.{l}, l = 0..2: 4 units within each of head.{l}, proved"
    assert qk[1] == "  kind: invertible (invertible matrices), dimension 32"
    [stream] = [lines for lines in paragraphs if lines[0].startswith("stream: 8 units")]
    assert stream[1] == "  kind: orthogonal (rotations that fix (1, ..., 1)),"
    assert "  blocks.{0..2}.norm{1..2}.weight  axis 0" in stream
    assert ["fixed: an output of the network", "  head.bias    axis 0", "  head.weight  axis 0"] in paragraphs
    assert max(map(len, out.splitlines())) < 60


def test_explain_for_people_keeps_groups_that_differ_apart():
    out = run_here("spec", "explain", "--arch", "resnet", "--arch-arg", "width=4", "--format", "table").out
    for stage, size in ((1, 4), (2, 8), (3, 16)):
        kind = f"scaled (positive scales), dimension {size}; each unit has a sign"
        assert f"inner{stage}.0: {size} units, proved\n  kind: {kind}" in out
    assert "  layer{1..3}.0.conv2.weight  axes 2, 3" in out


@pytest.mark.parametrize("arch", [MLP, ("--arch", "vit", "--arch-arg", "depth=2", "dim=8", "mlp_dim=5", "heads=2")])
def test_kinds_are_derived_written_and_proved_again(place, arch):
    [derived] = run_here("spec", "derive", *arch, "--kinds", "-o", "kinds.yaml").rows
    [checked] = run_here("spec", "check", "kinds.yaml", *arch).rows
    assert checked["proved"]
    assert derived["continuous_dimension"] == checked["continuous_dimension"] > 0
    assert derived["sha256"] == checked["sha256"]
    [plain] = run_here("spec", "derive", *arch, "-o", "plain.yaml").rows
    assert plain.keys() == derived.keys() - {"continuous_dimension"}
    assert run_here("spec", "diff", "plain.yaml", "kinds.yaml", *arch).status == 0


NETWORKS = """
import torch
from torch import nn
from torch.nn import functional

class Block(nn.Module):
    def __init__(self, gelu=False, rotary=False):
        super().__init__()
        self.gelu, self.rotary = gelu, rotary
        self.embed, self.norm, self.last = nn.Linear(6, 8), nn.LayerNorm(8), nn.LayerNorm(8)
        self.gain = nn.Parameter(torch.ones(8))
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.embed(x)
        x = functional.gelu(x) if self.gelu else x
        n = self.norm(x)
        q, k = self.q(n), self.k(n)
        if self.rotary:
            angles = torch.arange(x.shape[1])[:, None] * 0.7 ** torch.arange(4).repeat(2)
            turn = lambda t: torch.cat([-t[..., 4:], t[..., :4]], -1)
            q, k = (t * angles.cos() + turn(t) * angles.sin() for t in (q, k))
        x = x * self.gain + self.o(functional.scaled_dot_product_attention(q, k, self.v(n)))
        return self.head(self.last(x))
"""
SPEC = """
format: 2
groups:
  {}
tensors:
  embed.*: [stream]
  norm.*: [stream]
  last.*: [stream]
  gain: [stream]
  q.weight: [qk, stream]
  q.bias: [qk]
  k.weight: [qk, stream]
  k.bias: [qk]
  v.weight: [vo, stream]
  v.bias: [vo]
  o.weight: [stream, vo]
  o.bias: [stream]
  head.weight: [_, stream]
  head.bias: []
"""


@pytest.mark.parametrize(
    ("arguments", "claim", "words"),
    [
        ((), "stream: {kind: orthogonal, fixes: ones}", "stream: not orthogonal: mul; what was proved is scaled"),
        (("gelu=true",), "stream: {kind: orthogonal}", "stream: not orthogonal: gelu; what was proved is scaled"),
        (("rotary=true",), "qk: {kind: invertible}", "qk: permuting it changes the output"),
        ((), "vo: {kind: invertible}", ""),
        ((), "qk: {kind: orthogonal}", ""),
        ((), "vo: {kind: scaled}", ""),
    ],
)
def test_wrong_kinds_are_refused_by_name(place, arguments, claim, words):
    (place / "attending.py").write_text(NETWORKS)
    (place / "mine.yaml").write_text(SPEC.format(claim))
    arguments = ("--arch-arg", *arguments) if arguments else ()
    ran = run_here("spec", "check", "mine.yaml", "--arch", "attending:Block", *arguments, "--input", "1,5,6")
    assert ran.status == bool(words), ran.err
    assert words in ran.err
    assert ran.rows[0]["proved"] == (not words)


def test_signs_of_products_are_proved(place):
    (place / "gated.py").write_text(
        "from torch import nn\n"
        "class Product(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.u, self.v, self.o = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)\n"
        "    def forward(self, x):\n"
        "        return self.o(self.u(x) * self.v(x))\n"
    )
    (place / "mine.yaml").write_text(
        "format: 2\ngroups: {a: {kind: signed}}\ntensors: {u.*: [a], v.*: [a], o.weight: [_, a], o.bias: []}\n"
    )
    ran = run_here("spec", "check", "mine.yaml", "--arch", "gated:Product", "--input", "1,4")
    assert ran.status == 0, ran.err
    assert ran.rows[0]["continuous_dimension"] == 2 * 6


def test_scales_are_refused_for_gelu(place):
    (place / "mine.yaml").write_text(
        "format: 2\ngroups: {unit.0: {kind: scaled}}\ntensors: {fc1.*: [unit.0], fc2.weight: [_, unit.0], fc2.*: []}\n"
    )
    words = ("--arch", "mlp", "--arch-arg", "hidden_dim=5", "input_size=6")
    assert run_here("spec", "check", "mine.yaml", *words).rows[0]["continuous_dimension"] == 5
    ran = run_here("spec", "check", "mine.yaml", *words, "activation=gelu")
    assert ran.status == 1
    assert "unit.0: not scaled: gelu in activation; what was proved is permutation" in ran.err


def test_shipped_kinds_are_claimed_for_the_usual_activation_alone(place):
    words = ("spec", "check", "resnet", "--arch-arg", "width=2")
    assert run_here(*words).rows[0]["continuous_dimension"] > 0
    ran = run_here(*words, "activation=tanh")
    assert ran.status == 0, ran.err
    assert "continuous_dimension" not in ran.rows[0]


def test_what_a_spec_writes_of_kinds_is_refused_by_name_and_place(place):
    shown = run_here("spec", "show", "vit").out
    words = ("--arch", "vit", "--arch-arg", "depth=1", "dim=8", "heads=2", "mlp_dim=5")
    (place / "unfolded.yaml").write_text(shown.partition("fold:")[0])
    ran = run_here("spec", "check", "unfolded.yaml", *words)
    assert ran.status == 1
    assert "stream: not orthogonal as it is written: layer_norm in blocks.0.norm1" in ran.err
    (place / "bad.yaml").write_text(shown.replace("qk.{l}')", "qk.{l}^)"))
    ran = run_here("spec", "check", "bad.yaml", *words)
    assert ran.status == 1
    assert "an exponent is an integer" in ran.err
    assert ran.err.splitlines()[3].index("^") == ran.err.splitlines()[2].index("^)")


def test_images_have_the_size_that_is_asked_for(tmp_path):
    """--image-size was not read: sizes were those of the files."""
    for part, label in product(("train", "test"), "ab"):
        folder = tmp_path / part / label
        folder.mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(folder / "0.png")
    words = ("spec", "check", "--arch", "mlp", "--arch-arg", "hidden_dim=4", "--data", f"folder:{tmp_path}")
    sizes = [run_here(*words, *more).rows[0]["parameters"] for more in ((), ("--image-size", 8))]
    assert sizes[0] - sizes[1] == 4 * 3 * (20**2 - 8**2)
    refused(run_here("spec", "check", "--arch", "mlp", "--data", "digits", "--image-size", 8), "--image-size is for")


def test_threads_are_those_that_are_asked_for(place):
    before = torch.get_num_threads()
    try:
        assert run_here("spec", "check", *MLP, "--input", "1,6", "--threads", before + 1).status == 0
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_data_of_texts_say_that_inputs_are_tokens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("texts.csv").write_text("text\n" + "a few words\n" * 20)
    tmp_path.joinpath("own.py").write_text(
        "from torch import nn\n\n\ndef net(vocab_size=257, next_token=True, length=8):\n"
        "    return nn.Sequential(nn.Embedding(vocab_size, 5), nn.Linear(5, vocab_size))\n"
    )
    ran = run_here("spec", "derive", "--arch", "own.py:net", "--data", "text:texts.csv", "--task", "next-token")
    assert ran.status == 0, ran.err
    assert ran.rows[0]["groups"] == 1


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "a figure"),
        (b"PK\x03\x04\xff", "an archive as .npz"),
        (b"\x1f\x8b\x08", "compressed (gzip)"),
        ("groups:".encode("utf-16"), "text in UTF-16"),
        (b"\xff" * 9, "no text"),
    ],
)
def test_a_spec_that_is_no_text_is_called_what_it_is(place, solutions, content, kind):
    (place / "my.yaml").write_bytes(content)
    words = f"my.yaml: is {kind}"
    refused(
        run_here("align", *solutions.some(0, 1), "--spec", "my.yaml", "-o", "x.safetensors"), words, "YAML in UTF-8"
    )
    refused(run_here("spec", "show", "my.yaml"), words)


def test_a_checkpoint_in_place_of_a_spec(solutions):
    ran = run_here("align", *solutions.some(0, 1), "--spec", solutions[2], "-o", "x.safetensors")
    refused(ran, "is a safetensors file, and a spec is YAML", f"starcli spec show {solutions[2]}")
