#!/usr/bin/env bash
# Table 1 of the paper, with its own recipes on CIFAR: for each, 50 sources, 5 held-out solutions, a star, one table.
# Meant for GPUs (the paper: half an hour a network, six hours a star); each line goes on where it was stopped.
#
#   bash examples/cifar.sh DATA_DIR [OUT] [SOURCES] [HELD_OUT]
#
# DATA_DIR is where torchvision's CIFAR files lie, or will: with DOWNLOAD=1 the first line fetches them. `starcli train
# --recipe ...` completes the names of all recipes; those under released/ are what the paper's published code does.
set -euo pipefail
data=$(realpath -m "${1:?where are, or shall be, the CIFAR files? For example ~/data}")
out=${2:-runs/cifar} sources=${3:-50} held_out=${4:-5} restarts=${RESTARTS:-1}
recipes=${RECIPES:-paper/resnet18-cifar10 paper/resnet18-adam-cifar10 paper/vgg11-cifar10 paper/vgg19-cifar10
    paper/densenet40-12-cifar10 paper/resnet18-cifar100 paper/densenet40-12-cifar100}
epochs=${EPOCHS:+--epochs $EPOCHS} download=${DOWNLOAD:+--download}
mkdir -p "$out" && cd "$out"

for recipe in $recipes; do
    here=${recipe##*/}
    mkdir -p "$here"/{sources,held-out}
    starcli train --recipe "$recipe" --data-dir "$data" $download $epochs --seeds "0-$((sources - 1))" \
        -o "$here/sources/{seed}.safetensors"
    starcli train --recipe "$recipe" --data-dir "$data" $epochs --seeds "1000-$((999 + held_out))" \
        -o "$here/held-out/{seed}.safetensors"

    # the star's recipe is that of its sources
    starcli star --sources "$here"/sources/*.safetensors --data-dir "$data" --align weight --restarts "$restarts" \
        --aligned-sources "$here/aligned" -o "$here/star.safetensors"

    # --statistics own-ends is the paper's way, which hides part of a barrier; without it each end is re-estimated too
    starcli barrier --star "$here/star.safetensors" --sources "$here"/sources/*.safetensors \
        --held-out "$here"/held-out/*.safetensors --aligned-sources "$here/aligned" --data-dir "$data" \
        --align weight --restarts "$restarts" --statistics own-ends --plot "$here/barriers.png"
done
