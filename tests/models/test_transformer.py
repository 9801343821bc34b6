"""Transformers of texts: torch computes the same, no token sees a later one, and padding changes nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.build import build_network
from starcli.models.transformer import Attention, PostNormBlock, PreNormBlock

SMALL = {"dim": 12, "heads": 3, "mlp_dim": 7, "length": 6, "vocab_size": 11}
TOKENS = torch.randint(11, (4, 6), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([6, 4, 2, 1])
PADDED = torch.where(torch.arange(6) < LENGTHS[:, None], TOKENS, -1)


def network(name: str, **arguments: Any) -> nn.Module:
    found = build_network(name, generator=torch.Generator().manual_seed(1), **arguments)
    for parameter in found.parameters():  # biases and positions are not 0, or nearly
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    return found.double().eval()


def as_torch(block: PreNormBlock | PostNormBlock, *, norm_first: bool) -> nn.Module:
    """The layer of torch with the weights of a block."""
    layer = nn.TransformerEncoderLayer(
        12, 3, 7, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first, dtype=torch.float64
    )
    attention: Attention = block.attn
    with torch.no_grad():
        for own, other in (
            (layer.self_attn.in_proj_weight, attention.qkv.weight), (layer.self_attn.in_proj_bias, attention.qkv.bias),
        ):  # fmt: skip
            own.copy_(other)
        pairs = ((layer.self_attn.out_proj, attention.proj), (layer.linear1, block.mlp.fc1))
        for mine, theirs in (*pairs, (layer.linear2, block.mlp.fc2), (layer.norm1, block.norm1)):
            mine.load_state_dict(theirs.state_dict())
        layer.norm2.load_state_dict(block.norm2.state_dict())
    return layer


def test_a_block_with_its_norms_before_is_that_of_torch() -> None:
    x = torch.randn(4, 6, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    block = network("gpt", **SMALL, num_classes=11).blocks[0]
    assert isinstance(block, PreNormBlock)
    causal = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    expected = as_torch(block, norm_first=True)(x, src_mask=causal)
    torch.testing.assert_close(block(x), expected)


def test_a_block_with_its_norms_behind_is_that_of_torch() -> None:
    x = torch.randn(4, 6, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    block = network("bert", **SMALL).blocks[0]
    assert isinstance(block, PostNormBlock)
    padding = PADDED < 0
    expected = as_torch(block, norm_first=False).train()(x, src_key_padding_mask=padding)
    torch.testing.assert_close(block(x, ~padding[:, None, None, :]), expected)


def test_no_output_of_gpt_depends_on_a_later_token() -> None:
    gpt = network("gpt", **SMALL, num_classes=11)
    for place in range(1, 6):
        changed = TOKENS.clone()
        changed[:, place:] = (changed[:, place:] + 1) % 11
        torch.testing.assert_close(gpt(changed)[:, :place], gpt(TOKENS)[:, :place])
        assert not torch.allclose(gpt(changed)[:, place], gpt(TOKENS)[:, place])


def without_padding(tokens: Tensor, length: int) -> Tensor:
    return tokens[None, :length]


@pytest.mark.parametrize("name", ["bag", "bert", "gpt"])
def test_padding_changes_nothing(name: str) -> None:
    """A text by itself, in a network that is as long as the text, has the outputs that it has padded."""
    arguments = {"dim": 12, "vocab_size": 11, "num_classes": 5} if name == "bag" else {**SMALL, "num_classes": 5}
    if name == "gpt":
        arguments["next_token"] = False
    whole = network(name, **arguments)
    together = whole(PADDED)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = whole
        if name != "bag":
            alone = network(name, **{**arguments, "length": length})
            state = whole.state_dict()
            alone.load_state_dict({**state, "pos_embed": state["pos_embed"][:, :length]})
        torch.testing.assert_close(alone(without_padding(TOKENS[row], length))[0], together[row])


def test_textcnn_reads_padding_as_zeros() -> None:
    """Kim 2014: texts are padded with zero vectors, whatever stands behind their end."""
    cnn = network("textcnn", dim=12, channels=4, vocab_size=11)
    short = PADDED[1:2]
    embedded = nn.functional.pad(cnn.embed(short[:, :4]), (0, 0, 0, 2)).transpose(1, 2)
    pooled = [
        nn.functional.conv1d(embedded, c.weight, c.bias, padding=k - 1)
        for k, c in zip((3, 4, 5), cnn.convs, strict=True)
    ]
    expected = cnn.head(torch.cat([each.relu().amax(2) for each in pooled], 1))
    torch.testing.assert_close(cnn(short), expected)


@pytest.mark.parametrize("name", ["bert", "gpt"])
def test_heads_that_do_not_fit(name: str) -> None:
    with pytest.raises(StarcliError, match="heads: 5 does not divide dim, 64"):
        build_network(name, heads=5) if name == "bert" else build_network(name, heads=5, num_classes=257)


def test_a_cpu_takes_gradients_of_attention_in_float32():
    """In bf16, whose backward pass of it is slow there: both passes are those of the rounded inputs."""
    attention = Attention(8, 2, 0.0)
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(x)
        rounded = attention.qkv(x).detach().float().requires_grad_()
    query, key, value = rounded.view(3, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
    exact = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(3, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        expected = attention.proj(exact)
        with torch.no_grad():
            untrained = attention(x)
    assert out.dtype == expected.dtype == untrained.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    torch.testing.assert_close(untrained, expected, rtol=0.02, atol=0.02)
    parameters = [attention.qkv.weight]
    [found] = torch.autograd.grad(out.float().square().sum(), parameters)
    [by_rounded] = torch.autograd.grad(expected.float().square().sum(), [rounded])
    assert found.isfinite().all()
    by_hand = torch.einsum("bto,bti->oi", by_rounded, x)
    torch.testing.assert_close(found, by_hand, rtol=0.03, atol=0.03 * float(by_hand.abs().max()))
