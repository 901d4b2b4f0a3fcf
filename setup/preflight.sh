#!/usr/bin/env bash
# What would stop the demo after minutes, looked for in its first second: exit 3 with the fix. PORT, ACCELERATOR as for the demo.
set -euo pipefail
cd "$(dirname "$0")/.."
PORT=${PORT:-8000} ACCELERATOR=${ACCELERATOR:-cpu}
stop() { echo "preflight: $1" >&2; echo "    $2" >&2; exit 3; }

case "$ACCELERATOR" in
    cpu) need_gib=12 ;;
    cuda)
        need_gib=60
        nvidia-smi >/dev/null 2>&1 || stop "ACCELERATOR=cuda, and nvidia-smi finds no GPU here" "install NVIDIA's driver and container toolkit, or set ACCELERATOR=cpu" ;;
    *) echo "preflight: ACCELERATOR is cpu or cuda, not: $ACCELERATOR" >&2; exit 2 ;;
esac
case "$PORT" in '' | *[!0-9]*) echo "preflight: PORT is a number, not: $PORT" >&2; exit 2 ;; esac

KEY=${API_KEY_FILE:-secrets/api_key}
if [ -s "$KEY" ] && ! grep -q '[^[:space:]]' "$KEY"; then
    stop "the API key file $KEY holds nothing but blanks" "remove it: \`make key\` makes one"
fi

# The gateway of this project may hold the port: the demo then takes its place.
own=$(docker compose ps --quiet gateway 2>/dev/null || true)
if [ -z "$own" ] && (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
    stop "port $PORT on 127.0.0.1 is in use" "stop what listens there, or choose another: PORT=8001 make demo"
fi
built=$(docker image ls --quiet "${REGISTRY:-caisson}/train:${TAG:-dev}-$ACCELERATOR" 2>/dev/null || true)
[ -z "$built" ] || need_gib=3    # what the demo itself writes
folder=/var/lib/docker; while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
free_gib=$(($(df --output=avail -k "$folder" | tail -1) / 1048576))
[ "$free_gib" -ge "$need_gib" ] || stop "$free_gib GiB free under $folder, $need_gib needed" "make room; \`docker system prune\` frees unused images and build caches"
