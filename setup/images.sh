#!/usr/bin/env bash
# Builds the images of one accelerator, the base included. Seconds when nothing changed.
#   images.sh [cpu|cuda] [TARGET...]      targets: train export serve-vllm (all of them), torch
#   CLEAN=1 removes the images that a rebuild left without a name
set -euo pipefail
cd "$(dirname "$0")/.."
export ACCELERATOR=${1:-cpu}; shift || true
case "$ACCELERATOR" in cpu | cuda) ;; *) echo "images: the accelerator is cpu or cuda, not: $ACCELERATOR" >&2; exit 2 ;; esac
bash setup/engine.sh
BASE_IMAGE=$(bash setup/base.sh) && export BASE_IMAGE
bash setup/bake.sh "$@"
[ -z "${CLEAN:-}" ] || docker image prune --force --filter label=org.opencontainers.image.licenses=Apache-2.0 >/dev/null
