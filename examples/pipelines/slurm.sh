#!/usr/bin/env bash
# The same on a cluster with SLURM: an array of trainings, then star and measurements when all of them are done.
#
#     sbatch --array=0-7 --time=1:00:00 --gpus=1 --requeue examples/pipelines/slurm.sh
#     sbatch --dependency=afterok:JOB --time=1:00:00 --gpus=1 --requeue examples/pipelines/slurm.sh
#
# A minute before its limit of time a job saves its state, queues itself again, and goes on where it was; so does one
# that is stopped for another job (--requeue). What is finished is not made twice: submit the same two lines again after
# a change of --array, and only the new seeds train.
#SBATCH --job-name=starcli
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@60
set -euo pipefail
mkdir -p models

# SLURM sends USR1 to this script alone, and TERM to its children too. In the background, for bash hears signals only
# between commands and while it waits.
run_starcli() { starcli "$@" & run=$!; wait "$run"; }
trap 'kill -TERM "$run"; wait "$run" || true; scontrol requeue "$SLURM_JOB_ID"; exit 143' USR1
trap 'wait "$run" || true; exit 143' TERM

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    run_starcli train ${TRAIN:---recipe quickstart} --seed "$SLURM_ARRAY_TASK_ID" \
        -o "models/$SLURM_ARRAY_TASK_ID.safetensors"
    exit
fi

held_out=${HELD_OUT:-"models/5.safetensors models/6.safetensors models/7.safetensors"}
sources=${SOURCES:-"models/0.safetensors models/1.safetensors models/2.safetensors models/3.safetensors models/4.safetensors"}
run_starcli star --sources $sources ${STAR:---epochs 50} -o star.safetensors
run_starcli barrier --star star.safetensors --sources $sources --held-out $held_out --align activation > barriers.jsonl
run_starcli bma --star star.safetensors --sources $sources --samples 5 > averages.jsonl
run_starcli fuse --sources $sources -o fused.safetensors > fused.jsonl
