#!/usr/bin/env bash
# Compiles the injector into build/faults/inject, in the images' own base.
set -euo pipefail
cd "$(dirname "$0")/../.."
made=build/faults/inject sources=(bench/faults/{Dockerfile,inject.c,calls.c,cut.c,inject.h})
newest=$(ls -t "${sources[@]}" | head -1)
[ "$made" -nt "$newest" ] && exit 0
mkdir -p build/faults
draft=$(mktemp -d build/faults/.draft-XXXXXX); trap 'rm -rf "$draft"' EXIT
docker buildx build --quiet --network=host --build-arg "BASE=${REGISTRY:-caisson}/base:${TAG:-dev}" --output "type=local,dest=$draft" bench/faults > /dev/null
mv "$draft/inject" "$made" && touch "$made"
