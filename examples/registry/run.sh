#!/usr/bin/env bash
# A model's life from end to end: run.sh BUILD_DIR URI [NAME]. Keeps its buffer in a folder of its own.
set -euo pipefail
build=$(cd "$1" && pwd)
export MLFLOW_TRACKING_URI=$2
name=${3:-registry-example}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache
cd "$work"
example=$build/examples/example_registry
mlops=$build/src/cli/mlops

first=$("$example" train "$name" 0.1)  # no network
second=$("$example" train "$name" 0.2)
"$mlops" models pending                # two writes wait
"$mlops" sync --to "$MLFLOW_TRACKING_URI"
"$example" ship "$name" "$first"
"$example" ship "$name" "$second"
"$example" serve "$name"
"$example" back "$name"
"$example" serve "$name"
"$mlops" models history "$name"
