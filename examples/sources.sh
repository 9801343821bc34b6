#!/usr/bin/env bash
# Figure 1 of the paper: the more sources a star is made from, the lower its barrier to solutions that it never saw.
#
#   bash examples/sources.sh [OUT]
#
# On digits; the paper's own:  RECIPE=paper/resnet18-cifar10 DATA="--data-dir $HOME/data" SOURCES="2 5 10 20 30 40 50" \
#                              HELD_OUT=5 RESTARTS=1 STAR_EPOCHS= bash examples/sources.sh runs/figure1
set -euo pipefail
recipe=${RECIPE:-quickstart} data=${DATA:-} # $data is unquoted below: it may be several words, or none
epochs=${EPOCHS:+--epochs $EPOCHS} # those of the recipe unless said
star_epochs=${STAR_EPOCHS-100} # on little data a star takes longer; empty: no longer, as in the paper
star_epochs=${star_epochs:+--epochs $star_epochs}
sources=${SOURCES:-2 4 8 16} held_out=${HELD_OUT:-3} restarts=${RESTARTS:-10}
most=${sources##* }
out=${1:-runs/sources}
mkdir -p "$out"/{sources,held-out} && cd "$out"

# seeds from 0 are sources, those from 1000 are held out: neither changes when the other's number does
starcli train --recipe "$recipe" $data $epochs --seeds "0-$((most - 1))" -o 'sources/{seed}.safetensors'
starcli train --recipe "$recipe" $data $epochs --seeds "1000-$((999 + held_out))" -o 'held-out/{seed}.safetensors'

# the blue line: how far two solutions are from one another
starcli barrier held-out/*.safetensors $data --all-pairs --align weight --restarts "$restarts"

# the orange points: one star for each number of sources, and its barriers to the same held-out solutions
for n in $sources; do
    starcli star --sources $(seq -f 'sources/%g.safetensors' 0 "$((n - 1))") $data $star_epochs \
        --align weight --restarts "$restarts" -o "star-$n.safetensors"
    starcli barrier "star-$n.safetensors" held-out/*.safetensors $data --align weight --restarts "$restarts" \
        --plot "star-$n.png"
done
