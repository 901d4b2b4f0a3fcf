#!/usr/bin/env bash
# Builds the images of one accelerator, the base included. Seconds when nothing changed.
#   images.sh [cpu|cuda] [TARGET...]      targets: train export serve-vllm gateway evaluate (all of them), torch
#   VERBOSE=1 shows the build; CLEAN=1 removes the images that a rebuild left without a name
set -euo pipefail
cd "$(dirname "$0")/.."
export ACCELERATOR=${1:-cpu}; shift || true
case "$ACCELERATOR" in cpu | cuda) ;; *) echo "images: the accelerator is cpu or cuda, not: $ACCELERATOR" >&2; exit 2 ;; esac
bash setup/engine.sh
BASE_IMAGE=$(bash setup/base.sh)
export BASE_IMAGE
if [ -n "${VERBOSE:-}" ]; then
    bash setup/bake.sh "$@"
else
    log=build/images-$ACCELERATOR.log; mkdir -p build
    echo "images: building what changed for $ACCELERATOR, minutes the first time; log: $log" >&2
    bash setup/bake.sh "$@" >"$log" 2>&1 || { code=$?; tail -n 40 "$log" >&2; echo "images: the build failed; its last lines are above, all of it is in $log" >&2; exit "$code"; }
fi
bash setup/limit.sh
[ -z "${CLEAN:-}" ] || docker image prune --force --filter label=org.opencontainers.image.licenses=Apache-2.0 >/dev/null
