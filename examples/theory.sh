#!/usr/bin/env bash
# Tables 3 and 4 of the paper (A.2.2, A.2.3): among two-layer networks on two Gaussian classes in the plane, which share
# are stars, that is, have a barrier below epsilon to every other one?  Linear networks first, then with ELU between.
#
#   bash examples/theory.sh [OUT] [SEEDS] [EPOCHS]
#
# The paper trains 100 networks of each width: bash examples/theory.sh runs/theory 100 (4,950 pairs a width).
set -euo pipefail
out=${1:-runs/theory} seeds=${2:-30} epochs=${3:-100}
widths=${WIDTHS:-2 4 8 32} activations=${ACTIVATIONS:-identity elu}
mkdir -p "$out" && cd "$out"

for activation in $activations; do
    for width in $widths; do
        here=$activation-$width
        mkdir -p "$here"
        # no penalty on the weights, and a rate that falls to 0: small tolerances need networks that have converged;
        # --stacked trains all seeds at once
        starcli train --arch mlp --arch-arg depth=1 hidden_dim="$width" activation="$activation" bias=false \
            --data gaussians --epochs "$epochs" --weight-decay 0 --stacked \
            --seeds "0-$((seeds - 1))" -o "$here/{seed}.safetensors"
        echo "== $activation, width $width" >&2
        starcli barrier "$here"/*.safetensors --all-pairs --align weight --restarts 3 \
            --epsilon 1e-6 1e-5 1e-3 1e-1 --plot "$here.png"
    done
done
