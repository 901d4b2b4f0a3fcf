#!/usr/bin/env bash
# Compiles the injector into build/faults/inject. The images have no compiler: the host's is used, and installed where it is missing.
# Linked statically, so that it runs in the image whatever its C library is.
set -euo pipefail
cd "$(dirname "$0")/../.."
made=build/faults/inject sources=(bench/faults/{inject,calls,cut}.c)
newest=$(ls -t "${sources[@]}" bench/faults/inject.h | head -1)
[ "$made" -nt "$newest" ] && exit 0
if ! command -v gcc >/dev/null || [ ! -f "$(gcc -print-file-name=libc.a)" ]; then
    [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ] || { echo "faults: a C compiler is needed; on Debian: apt-get install gcc libc6-dev" >&2; exit 3; }
    echo "faults: installing gcc from Debian's packages" >&2
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends gcc libc6-dev >&2
fi
mkdir -p build/faults
gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -o "$made.draft" "${sources[@]}"
mv "$made.draft" "$made"
