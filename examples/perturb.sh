#!/usr/bin/env bash
# Table 10 of the paper: is one point a star, or a whole region?  Points on spheres around a star, three a radius, and
# their barriers to solutions that the star never saw.
#
#   bash examples/perturb.sh [OUT]
#
# On digits; the paper's own:  RECIPE=paper/resnet18-cifar10 DATA="--data-dir $HOME/data" SOURCES=50 RESTARTS=1 \
#                              STAR_EPOCHS= RADII="2 4 8 16" bash examples/perturb.sh runs/table10
set -euo pipefail
recipe=${RECIPE:-quickstart} data=${DATA:-} # $data is unquoted below: it may be several words, or none
epochs=${EPOCHS:+--epochs $EPOCHS}
star_epochs=${STAR_EPOCHS-100} # on little data a star takes longer; empty: no longer, as in the paper
star_epochs=${star_epochs:+--epochs $star_epochs}
sources=${SOURCES:-5} held_out=${HELD_OUT:-3} points=${POINTS:-3} restarts=${RESTARTS:-10}
radii=${RADII:-0.5 1 2 4}
out=${1:-runs/perturb}
mkdir -p "$out"/{sources,held-out} && cd "$out"

starcli train --recipe "$recipe" $data $epochs --seeds "0-$((sources - 1))" -o 'sources/{seed}.safetensors'
starcli train --recipe "$recipe" $data $epochs --seeds "1000-$((999 + held_out))" -o 'held-out/{seed}.safetensors'
starcli star --sources sources/*.safetensors $data $star_epochs --align weight --restarts "$restarts" \
    -o star.safetensors

# the barriers of the star itself, then of its surroundings
starcli barrier star.safetensors held-out/*.safetensors $data --align weight --restarts "$restarts"
for radius in $radii; do
    for seed in $(seq 0 "$((points - 1))"); do
        near=star-$radius-$seed.safetensors
        starcli interpolate star.safetensors $data --perturb "$radius" --seed "$seed" -o "$near"
        starcli barrier "$near" held-out/*.safetensors $data --align weight --restarts "$restarts"
    done
done

# and the losses of all of them
starcli eval star.safetensors star-*.safetensors $data --split train
