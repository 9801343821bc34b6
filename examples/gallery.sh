#!/usr/bin/env bash
# The figures of docs/gallery.md: every kind of figure, from eight small networks on digits.  gallery.sh [DIR]
set -euo pipefail
mkdir -p "${1:-runs/gallery}" && cd "${1:-runs/gallery}"
epochs=${EPOCHS:-20} look=(--figure-width 5.5in)

starcli train --arch mlp --arch-arg depth=2 hidden_dim=16 --data digits --epochs "$epochs" --lr 0.05 \
    --val-fraction 0.1 --seeds 0-7 -o '{seed}.safetensors'
starcli star --sources {0..4}.safetensors --epochs $((2 * epochs)) -o star.safetensors

starcli barrier 0.safetensors 1.safetensors --align weight --restarts 10 --plot line.svg "${look[@]}"
starcli barrier {0..7}.safetensors --all-pairs --align activation --epsilon 0.05 0.1 --plot pairs.svg "${look[@]}"
starcli barrier --star star.safetensors --sources {0..4}.safetensors --held-out {5..7}.safetensors --align activation \
    --plot star.svg "${look[@]}"
starcli curve 0.safetensors 1.safetensors --align weight -o bend.safetensors
starcli plane 0.safetensors 1.safetensors --curve bend.safetensors --plot plane.svg "${look[@]}"
starcli surface 0.safetensors --plot surface.svg "${look[@]}"
starcli bma --star star.safetensors --sources {0..4}.safetensors --samples 5 --repeats 5 --plot averages.svg "${look[@]}"
starcli eval 0.safetensors star.safetensors --temperature fit --plot reliability.svg "${look[@]}"
starcli fuse --sources {0..4}.safetensors -o fused.safetensors --plot fused.svg "${look[@]}"
starcli plot star.metrics.jsonl fused.metrics.jsonl -o training.svg "${look[@]}"
