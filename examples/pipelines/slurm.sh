#!/usr/bin/env bash
# The same on a cluster with SLURM: an array of trainings, then star and measurements when all of them are done.
#
#     sbatch --array=0-7 --time=1:00:00 --gpus=1 --requeue examples/pipelines/slurm.sh
#     sbatch --dependency=afterok:JOB --time=1:00:00 --gpus=1 --requeue examples/pipelines/slurm.sh
#
# A job that is stopped, by its limit of time or for another one, goes on where it was when it is queued again. What is
# finished is not made twice: submit the same two lines again after a change of --array, and only the new seeds train.
#SBATCH --job-name=starcli
#SBATCH --open-mode=append
#SBATCH --signal=TERM@60
set -euo pipefail
mkdir -p models

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    exec starcli train ${TRAIN:---recipe quickstart} --seed "$SLURM_ARRAY_TASK_ID" \
        -o "models/$SLURM_ARRAY_TASK_ID.safetensors"
fi

held_out=${HELD_OUT:-"models/5.safetensors models/6.safetensors models/7.safetensors"}
sources=${SOURCES:-"models/0.safetensors models/1.safetensors models/2.safetensors models/3.safetensors models/4.safetensors"}
starcli star --sources $sources ${STAR:---epochs 50} -o star.safetensors
starcli barrier --star star.safetensors --sources $sources --held-out $held_out --align activation > barriers.jsonl
starcli bma --star star.safetensors --sources $sources --samples 5 > averages.jsonl
starcli fuse --sources $sources -o fused.safetensors > fused.jsonl
