#!/usr/bin/env bash
# The host's environment in .venv: `caisson` outside a container, and what the light tests need. Hash-locked; made anew when the lock changes.
set -euo pipefail
cd "$(dirname "$0")/.."
LOCK=tests/requirements.txt
STAMP=.venv/$(sha256sum "$LOCK" | cut -c1-16)
[ -f "$STAMP" ] && exit 0

usable() { python3 -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if ! usable; then
    if [ -f /etc/debian_version ] && [ "$(id -u)" = 0 ]; then
        echo "venv: installing python3 and python3-venv from Debian's packages" >&2
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3 python3-venv python3-pip >&2
    fi
    usable || { echo "venv: Python 3.11 or later with venv is needed; on Debian: apt-get install python3 python3-venv" >&2; exit 3; }
fi
rm -rf .venv
python3 -m venv .venv
.venv/bin/python -m pip install -qq --require-hashes --only-binary :all: -r "$LOCK"
# The program itself runs from the checkout.
echo "$PWD" > "$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/caisson.pth"
printf '#!/bin/sh\nexec "%s/.venv/bin/python" -m entrypoint "$@"\n' "$PWD" > .venv/bin/caisson && chmod +x .venv/bin/caisson
touch "$STAMP"
