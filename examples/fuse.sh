#!/usr/bin/env bash
# Table 2 of the paper: several networks fused into one, against each of them, the best of them, and their ensemble.
#
#   bash examples/fuse.sh [OUT]
#
# On digits; the paper's own:  RECIPE=paper/resnet18-cifar100 DATA="--data-dir $HOME/data" MODELS="2 5 50" \
#                              FUSED_EPOCHS= bash examples/fuse.sh runs/table2
set -euo pipefail
recipe=${RECIPE:-quickstart} data=${DATA:-} # $data is unquoted below: it may be several words, or none
epochs=${EPOCHS:+--epochs $EPOCHS}
fused_epochs=${FUSED_EPOCHS-100} # on little data fusing takes longer; empty: no longer, as in the paper
fused_epochs=${fused_epochs:+--epochs $fused_epochs}
models=${MODELS:-2 5 10} fused=${FUSED:-3} restarts=${RESTARTS:-1}
most=${models##* }
out=${1:-runs/fuse}
mkdir -p "$out/sources" && cd "$out"

# a tenth is held back for validation: the best source is chosen there, not on the test split
starcli train --recipe "$recipe" $data $epochs --val-fraction 0.1 --seeds "0-$((most - 1))" \
    -o 'sources/{seed}.safetensors'

# three fused networks for each number of sources
for n in $models; do
    starcli fuse --sources $(seq -f 'sources/%g.safetensors' 0 "$((n - 1))") $data $fused_epochs \
        --align weight --restarts "$restarts" --seeds "0-$((fused - 1))" -o "fused-$n-{seed}.safetensors"
done
