#!/usr/bin/env bash
# Do the solutions of a network form a star domain?  Eight small residual networks on real digits, in about a minute.
# Each line reads and writes files: change one and run only what follows.
set -euo pipefail
mkdir -p "${1:-runs/quickstart}" && cd "${1:-runs/quickstart}"

# eight solutions of the same task, on two cores: five sources of the star, three that it will never see
starcli train --recipe quickstart --seeds 0-3 -o '{seed}.safetensors' &
starcli train --recipe quickstart --seeds 4-7 -o '{seed}.safetensors'
wait $!

# a star model of the first five (Algorithm 1: align, then descend on the lines to all of them)
starcli star --sources {0..4}.safetensors --epochs 50 --aligned-sources aligned -o star.safetensors

# the paper's Table 1 for these models: is the star nearer to solutions than they are to one another?
starcli barrier --star star.safetensors --sources {0..4}.safetensors --held-out {5..7}.safetensors \
    --aligned-sources aligned --align activation --plot barriers.png

# the same where units are matched by their weights alone, as in the paper
starcli barrier --star star.safetensors --sources {0..4}.safetensors --held-out {5..7}.safetensors \
    --align weight --restarts 10

# predictions averaged over the star domain, against the ensemble of the sources and single models
starcli bma --star star.safetensors --sources {0..4}.safetensors --samples 5 --repeats 5

# the five sources fused into one network of the same size, against their ensemble
starcli fuse --sources {0..4}.safetensors -o fused.safetensors
