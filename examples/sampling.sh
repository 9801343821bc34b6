#!/usr/bin/env bash
# Table 9 of the paper: does it matter how t is drawn while a star is trained?  Uniformly, more often near the middle
# (Beta(2, 2)), or always the middle.
#
#   bash examples/sampling.sh [OUT]
#
# On digits; the paper's own:  RECIPE=paper/resnet18-cifar10 DATA="--data-dir $HOME/data" SOURCES=50 RESTARTS=1 \
#                              STAR_EPOCHS= bash examples/sampling.sh runs/table9
set -euo pipefail
recipe=${RECIPE:-quickstart} data=${DATA:-} # $data is unquoted below: it may be several words, or none
epochs=${EPOCHS:+--epochs $EPOCHS}
star_epochs=${STAR_EPOCHS-100} # on little data a star takes longer; empty: no longer, as in the paper
star_epochs=${star_epochs:+--epochs $star_epochs}
sources=${SOURCES:-5} held_out=${HELD_OUT:-3} stars=${STARS:-3} restarts=${RESTARTS:-10}
schemes=${SCHEMES:-uniform beta constant}
out=${1:-runs/sampling}
mkdir -p "$out"/{sources,held-out} && cd "$out"

starcli train --recipe "$recipe" $data $epochs --seeds "0-$((sources - 1))" -o 'sources/{seed}.safetensors'
starcli train --recipe "$recipe" $data $epochs --seeds "1000-$((999 + held_out))" -o 'held-out/{seed}.safetensors'

for scheme in $schemes; do
    starcli star --sources sources/*.safetensors $data $star_epochs --sampling "$scheme" \
        --align weight --restarts "$restarts" --seeds "0-$((stars - 1))" -o "$scheme-{seed}.safetensors"
    for seed in $(seq 0 "$((stars - 1))"); do
        starcli barrier --star "$scheme-$seed.safetensors" --sources sources/*.safetensors \
            --held-out held-out/*.safetensors $data --align weight --restarts "$restarts"
    done
done
