#!/usr/bin/env bash
# Table 5 of the paper (A.3.2): stars of small vision transformers, without permutations as there, and with them, which
# the paper leaves open: whole heads and the units in each head change places.
#
#   bash examples/vit.sh [OUT]
#
# A tiny one on digits; the paper's own:  DATA="--data mnist --data-dir $HOME/data" NETWORK= EPOCHS=100 SOURCES=50 \
#                                         bash examples/vit.sh runs/table5
set -euo pipefail
data=${DATA:---data digits} network=${NETWORK---arch-arg patch_size=2 dim=32 depth=2 heads=4 mlp_dim=64}
epochs=${EPOCHS:-30} sources=${SOURCES:-5} held_out=${HELD_OUT:-3}
out=${1:-runs/vit}
mkdir -p "$out"/{sources,held-out} && cd "$out"

# $data and $network are several words, or none
recipe="--recipe paper/vit-mnist --epochs $epochs"
starcli train $recipe $network $data --seeds "0-$((sources - 1))" -o 'sources/{seed}.safetensors'
starcli train $recipe $network $data --seeds "1000-$((999 + held_out))" -o 'held-out/{seed}.safetensors'

for align in none weight; do
    starcli star --sources sources/*.safetensors $data --align "$align" -o "star-$align.safetensors"
    starcli barrier --star "star-$align.safetensors" --sources sources/*.safetensors \
        --held-out held-out/*.safetensors $data --align "$align" --plot "$align.png"
done
