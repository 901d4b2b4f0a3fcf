#!/usr/bin/env bash
# Writes into .env what Compose cannot work out: MEMORY_LIMIT, nine tenths of this machine's memory, where it does not stand there yet.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! grep -qs '^MEMORY_LIMIT=' .env; then
    [ ! -s .env ] || [ -z "$(tail -c 1 .env)" ] || echo >> .env    # a last line that somebody left without its end
    awk '/^MemTotal:/ { printf "MEMORY_LIMIT=%dm\n", $2 * 0.9 / 1024 }' /proc/meminfo >> .env
fi
