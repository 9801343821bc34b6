"""Models of `transformers` from tiny configurations, without weights:

python tests/benchmarks/derive_transformers.py --rows rows.jsonl --kinds 120; then again with --markdown, and with
--markdown kinds, for docs/transformers.md

Needs the package `transformers`, which starcli itself does not.
"""

from functools import partial
from typing import Any

import torch
import transformers as hf
from derive_table import Subject, main
from torch import nn

TEXT = {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20}
GROUPED = {**TEXT, "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 32}
PICTURE = {"image_size": 16, "patch_size": 4, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = (torch.randint(4, 40, (2, 7)),)
IMAGES = (torch.rand(2, 3, 16, 16),)


class Logits(nn.Module):
    """The model's scores alone, called with what `names` say."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> Any:
        found = self.model(**dict(zip(self.names, inputs, strict=True)), use_cache=False, return_dict=True)
        return found.logits


class Plain(Logits):
    """The same for models that keep no cache."""

    def forward(self, *inputs: torch.Tensor) -> Any:
        found = self.model(**dict(zip(self.names, inputs, strict=True)))
        return found.logits if "logits" in found else found.logits_per_image


def subject(name: str, model: str, config: Any, inputs: tuple[torch.Tensor, ...], *names: str, cache: bool) -> Subject:
    return Subject(name, partial(made, Logits if cache else Plain, model, config, names), inputs, {})


def made(wrap: type[Logits], model: str, config: Any, names: tuple[str, ...]) -> nn.Module:
    return wrap(getattr(hf, model)(config), names)


def subjects() -> list[Subject]:
    text = partial(dict, **TEXT)
    t5 = hf.T5Config(vocab_size=40, d_model=24, d_kv=6, d_ff=20, num_layers=2, num_heads=4, decoder_start_token_id=0)
    gpt2 = hf.GPT2Config(vocab_size=40, n_embd=24, n_layer=2, n_head=4, n_positions=32)
    whisper = hf.WhisperConfig(
        vocab_size=40, d_model=24, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=20, decoder_ffn_dim=20, num_mel_bins=8, max_source_positions=10,
        max_target_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    clip = hf.CLIPConfig(
        text_config=text(max_position_embeddings=16, eos_token_id=39),
        vision_config={**PICTURE, "intermediate_size": 20},
        projection_dim=12,
    )  # fmt: skip
    swin = hf.SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=4)
    both = (TOKENS[0], TOKENS[0])
    found = [subject("BERT", "BertForSequenceClassification", hf.BertConfig(**TEXT), TOKENS, "input_ids", cache=False)]
    found += [subject("GPT-2", "GPT2LMHeadModel", gpt2, TOKENS, "input_ids", cache=True)]
    found += [subject("T5", "T5ForConditionalGeneration", t5, both, "input_ids", "decoder_input_ids", cache=True)]
    for name, model in (("Llama", "LlamaForCausalLM"), ("Qwen2", "Qwen2ForCausalLM"), ("Mistral", "MistralForCausalLM"),
                        ("Gemma", "GemmaForCausalLM")):  # fmt: skip
        config = getattr(hf, model.replace("ForCausalLM", "Config"))(**GROUPED)
        found.append(subject(name, model, config, TOKENS, "input_ids", cache=True))
    experts = {**TEXT, "hidden_size": 32, "intermediate_size": 16, "num_experts_per_tok": 2, "pad_token_id": 0}
    few = {"num_experts": 4, "moe_intermediate_size": 16, "num_key_value_heads": 2}
    mixtral = hf.MixtralConfig(**experts, num_local_experts=4, num_key_value_heads=2)
    qwen = hf.Qwen3MoeConfig(**experts, **few, head_dim=8)
    deepseek = hf.DeepseekV3Config(
        **experts, moe_intermediate_size=16, n_routed_experts=8, n_group=2, topk_group=1, kv_lora_rank=8, q_lora_rank=8,
        qk_rope_head_dim=4, qk_nope_head_dim=8, v_head_dim=8, first_k_dense_replace=1, num_key_value_heads=4,
    )  # fmt: skip
    for name, config in (("Mixtral", mixtral), ("Qwen3Moe", qwen), ("DeepseekV3", deepseek)):
        found.append(subject(name, f"{name}ForCausalLM", config, TOKENS, "input_ids", cache=True))
    vit = hf.ViTConfig(**PICTURE, intermediate_size=20)
    found += [subject("ViT", "ViTForImageClassification", vit, IMAGES, "pixel_values", cache=False)]
    found += [subject("Swin", "SwinForImageClassification", swin, IMAGES, "pixel_values", cache=False)]
    found += [subject("CLIP", "CLIPModel", clip, (*TOKENS, *IMAGES), "input_ids", "pixel_values", cache=False)]
    sound = (torch.rand(2, 8, 20), TOKENS[0])
    names = ("input_features", "decoder_input_ids")
    found.append(subject("Whisper", "WhisperForConditionalGeneration", whisper, sound, *names, cache=True))
    return found


if __name__ == "__main__":
    what = "tiny configurations of transformers"
    main(subjects, __doc__, f"Specs derived for {what}", what, "hf:DIR")
