#!/usr/bin/env bash
# The quickstart's question on the full Fashion-MNIST: 60,000 training and 10,000 test images of clothes.
#
#   bash examples/fashion-mnist.sh DATA [OUT] [WIDTH] [EPOCHS] [LIMIT]
#
# DATA is a directory with the four idx files, gzipped or not: Debian's package dataset-fashion-mnist has them in
# /usr/share/datasets/fashion-mnist. WIDTH units in each of three hidden layers; the star takes twice the EPOCHS;
# LIMIT trains on so many images only, as many of each class; the test images are always all of them.
set -euo pipefail
data=${1:?where are the images? For example /usr/share/datasets/fashion-mnist}
out=${2:-runs/fashion-mnist} width=${3:-128} epochs=${4:-10} limit=${5:-60000}
data=idx:$(realpath "$data")
mkdir -p "$out" && cd "$out"

# eight networks: five sources of the star, three that it will never see
starcli train --arch mlp --arch-arg depth=3 hidden_dim="$width" --data "$data" --limit "$limit" \
    --epochs "$epochs" --seeds 0-7 -o '{seed}.safetensors'

# a star of the first five; a path is never read from a checkpoint, so the data are named again in every line
starcli star --sources {0..4}.safetensors --data "$data" --epochs "$((2 * epochs))" \
    --aligned-sources aligned -o star.safetensors

# regular-regular barriers against those to the star
starcli barrier --star star.safetensors --sources {0..4}.safetensors --held-out {5..7}.safetensors \
    --aligned-sources aligned --data "$data" --align activation --plot barriers.png

# predictions averaged over the star domain
starcli bma --star star.safetensors --sources {0..4}.safetensors --data "$data" --samples 5 --plot bma.png
