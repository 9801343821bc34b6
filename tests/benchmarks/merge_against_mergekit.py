"""Merges beside mergekit's of the same files, as whole processes: agreement, seconds and peak memory.

    python tests/benchmarks/merge_against_mergekit.py --mergekit VENV/bin/mergekit-yaml --work DIR [--hidden 512 ...]

Makes a base and two models near it, of random weights in the shape of a Llama, as Hugging Face writes them, merges
them by each method with both programs, and prints a table. mergekit is not among our dependencies: install it in an
environment of its own. `--again` keeps the models of an earlier run in DIR.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml
from safetensors import safe_open

from starcli.checkpoints.checkpoint import read
from starcli.files.lazy_tensors import LazyTensors, TensorForm
from starcli.files.write_shards import write_shards_lazily

METHODS: dict[str, tuple[dict, list[str]]] = {
    "linear": ({"weight": [0.3, 0.7]}, ["--weights", "0.3", "0.7"]),
    "slerp": ({"t": 0.3}, ["--t", "0.3"]),
    "task_arithmetic": ({"weight": [0.5, 0.4], "lambda": 0.9}, ["--weights", "0.5", "0.4", "--scale", "0.9"]),
    "ties": ({"weight": [0.5, 0.4], "density": 0.5}, ["--weights", "0.5", "0.4", "--density", "0.5"]),
    "dare_linear": ({"weight": [0.5, 0.4], "density": 1.0}, ["--weights", "0.5", "0.4", "--density", "1"]),
    "dare_ties": ({"weight": [0.5, 0.4], "density": 0.5}, ["--weights", "0.5", "0.4", "--density", "0.5"]),
    "model_stock": ({}, []),
    "karcher": ({}, []),
    "sce": ({"select_topk": 0.3}, ["--density", "0.3"]),
    "della": ({"weight": [0.5, 0.4], "density": 1.0}, ["--weights", "0.5", "0.4", "--density", "1"]),
}
"""Parameters of mergekit, lists one a model, and our words for them.

dare_linear and della keep all: then nothing is random.
"""

WITHOUT_BASE = ("linear", "slerp", "karcher")


def main() -> None:
    words = arguments()
    words.work.mkdir(parents=True, exist_ok=True)
    if not words.again:
        make_models(words)
    print("| method | agreement | mergekit: seconds | of CPU | peak GB | starcli: seconds | of CPU | peak GB |")
    print("|---|---|---|---|---|---|---|---|")
    for method in words.methods:
        theirs, ours = words.work / "theirs", words.work / "ours" / "model.safetensors"
        figures = []
        for _ in range(words.repeats):
            config = words.work / "merge.yml"
            config.write_text(yaml.safe_dump(mergekit_config(method, words.work)))
            run(["rm", "-rf", theirs, ours.parent])
            line = [words.mergekit, config, theirs, "--no-copy-tokenizer", "--no-write-model-card"]
            first = run(["true"] if words.ours else line)
            figures.append((first, run(starcli_line(method, words.work, ours))))
        both = [min(each, key=lambda figure: figure[0]) for each in zip(*figures, strict=True)]
        cells = " | ".join(f"{seconds:.1f} | {cpu:.1f} | {peak:.2f}" for seconds, cpu, peak in both)
        print(f"| {method} | {'' if words.ours else agreement(theirs, ours)} | {cells} |", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mergekit", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--ours", action="store_true", help="leave mergekit out")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--shard", type=int, default=2 * 10**9)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    return parser.parse_args()


def make_models(words: argparse.Namespace) -> None:
    """A base and two models near it, in shards, with the config that mergekit asks for."""
    size, inner = words.hidden, int(words.hidden * 2.75)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": size, "intermediate_size": inner,
        "num_hidden_layers": words.layers, "num_attention_heads": 8, "num_key_value_heads": 8,
        "vocab_size": words.vocabulary, "max_position_embeddings": 2048, "tie_word_embeddings": False,
        "torch_dtype": words.dtype, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    }  # fmt: skip
    shapes = {"model.embed_tokens.weight": (words.vocabulary, size), "lm_head.weight": (words.vocabulary, size)}
    shapes["model.norm.weight"] = (size,)
    for layer in range(words.layers):
        at = f"model.layers.{layer}."
        shapes |= {f"{at}self_attn.{each}_proj.weight": (size, size) for each in "qkvo"}
        shapes |= {f"{at}mlp.{each}_proj.weight": (inner, size) for each in ("gate", "up")}
        shapes[f"{at}mlp.down_proj.weight"] = (size, inner)
        shapes |= {f"{at}{each}_layernorm.weight": (size,) for each in ("input", "post_attention")}
    dtype = getattr(torch, words.dtype)
    forms = {
        name: TensorForm({"bfloat16": "BF16", "float32": "F32"}[words.dtype], shape) for name, shape in shapes.items()
    }
    for number, model in enumerate(("base", "a", "b")):

        def make(name: str, number: int = number) -> torch.Tensor:
            seed = sorted(shapes).index(name)
            tensor = torch.randn(shapes[name], generator=torch.Generator().manual_seed(seed)).mul_(0.02)
            if number:
                own = torch.Generator().manual_seed(seed * 3 + number)
                tensor += torch.randn(shapes[name], generator=own).mul_(0.002)
            return tensor.to(dtype)

        folder = words.work / model
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        index = folder / "model.safetensors.index.json"
        write_shards_lazily(index, LazyTensors(forms, make), dict, words.shard, lambda *_: None)


def mergekit_config(method: str, work: Path) -> dict:
    """mergekit's YAML: computed in float32, as ours is, and written in the models' type."""
    parameters, _ = METHODS[method]
    models = [{"model": str(work / name)} for name in ("a", "b")]
    for number, model in enumerate(models):
        own = {name: value[number] if isinstance(value, list) else value for name, value in parameters.items()}
        model["parameters"] = {name: value for name, value in own.items() if name in ("weight", "density")}
    shared = {name: value for name, value in parameters.items() if name not in ("weight", "density")}
    base = {} if method in ("linear", "karcher") else {"base_model": str(work / ("a" if method == "slerp" else "base"))}
    types = {"dtype": "float32", "out_dtype": json.loads((work / "a" / "config.json").read_text())["torch_dtype"]}
    return {"merge_method": method, "models": models, "parameters": shared, **base, **types}


def starcli_line(method: str, work: Path, output: Path) -> list:
    base = [] if method in WITHOUT_BASE else ["--base", work / "base"]
    name = method.replace("_", "-")
    line = [sys.executable, "-m", "starcli", "fuse", "--method", name, "--sources", work / "a", work / "b", *base]
    return [*line, *METHODS[method][1], "-o", output, "--quiet"]


def run(line: list) -> tuple[float, float, float]:
    """Run a process: seconds, seconds of CPU, and the largest size of its resident memory in GB."""
    began, process = (
        time.perf_counter(),
        subprocess.Popen(list(map(str, line)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {line}")
    seconds, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return seconds, cpu, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def agreement(theirs: Path, ours: Path) -> str:
    """How many numbers are the same, and the largest difference, in units of the rounding of a number of that size.

    Of numbers that are small in their tensor, by which they are sums of large ones: of one of the mean size there.
    """
    mine, same, count, worst = read(ours).tensors, 0, 0, 0.0
    for shard in sorted(theirs.glob("*.safetensors")):
        with safe_open(shard, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  no mapping
                one, other = file.get_tensor(name), mine[name]
                assert one.dtype == other.dtype
                same, count = same + int((one == other).sum()), count + one.numel()
                scale = one.float().square().mean().sqrt()
                step = torch.finfo(one.dtype).eps * one.float().abs().maximum(scale)
                worst = max(worst, float(((one.float() - other.float()).abs() / step).max()))
    return f"{same / count:.4%} the same, largest difference {worst:.1f} roundings"


if __name__ == "__main__":
    main()
