#!/usr/bin/env bash
# The paper's experiments, each by one name, and the page of what was found: see `examples/paper/run.sh --help`.
set -euo pipefail
PYTHONPATH=$(dirname "$(dirname "$(realpath "$0")")")${PYTHONPATH:+:$PYTHONPATH} exec python3 -m paper "$@"
