#!/usr/bin/env bash
# Figure 3 of the paper: star-regular against regular-regular barriers for Wide ResNets of several widths, or depths.
#
#   bash examples/width.sh [OUT]
#   DEPTHS="10 16" WIDTHS=1 bash examples/width.sh runs/depth
#
# Small and on digits; the paper's own:  RECIPE=paper/wrn-cifar10 DATA="--data-dir $HOME/data" DEPTHS=22 \
#     WIDTHS="1 2 4 8" SOURCES=50 HELD_OUT=5 RESTARTS=1 STAR_EPOCHS= bash examples/width.sh runs/figure3
set -euo pipefail
recipe=${RECIPE:-default} data=${DATA:-}
[ "$recipe" = default ] && data="--data digits $data" # that recipe names no data; unquoted below: several words
epochs=${EPOCHS:+--epochs $EPOCHS}
star_epochs=${STAR_EPOCHS-100} # on little data a star takes longer; empty: no longer, as in the paper
star_epochs=${star_epochs:+--epochs $star_epochs}
depths=${DEPTHS:-10} widths=${WIDTHS:-1 2 4} sources=${SOURCES:-5} held_out=${HELD_OUT:-3} restarts=${RESTARTS:-10}
out=${1:-runs/width}
mkdir -p "$out" && cd "$out"

for depth in $depths; do
    for width in $widths; do
        here=wrn-$depth-$width
        mkdir -p "$here"/{sources,held-out}
        network="--arch wrn --arch-arg depth=$depth widen_factor=$width"
        starcli train --recipe "$recipe" $network $data $epochs --seeds "0-$((sources - 1))" \
            -o "$here/sources/{seed}.safetensors"
        starcli train --recipe "$recipe" $network $data $epochs --seeds "1000-$((999 + held_out))" \
            -o "$here/held-out/{seed}.safetensors"
        starcli star --sources "$here"/sources/*.safetensors $data $star_epochs \
            --align weight --restarts "$restarts" -o "$here/star.safetensors"

        # one table a network: its regular-regular row is the x of the figure, star-held-out is the y
        starcli barrier --star "$here/star.safetensors" --sources "$here"/sources/*.safetensors \
            --held-out "$here"/held-out/*.safetensors $data --align weight --restarts "$restarts" --plot "$here.png"
    done
done
