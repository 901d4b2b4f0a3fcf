#!/usr/bin/env bash
# The host's environment in .venv: `caisson` outside a container, and what the light tests need. Hash-locked; made anew when the lock or this file changes.
set -euo pipefail
cd "$(dirname "$0")/.."
LOCK=tests/requirements.txt
STAMP=.venv/$(cat "$LOCK" setup/venv.sh | sha256sum | cut -c1-16)
[ -f "$STAMP" ] && command -v curl >/dev/null && exit 0
PATH=${PATH//"$PWD/.venv/bin:"/}    # a new environment is not made from the one that it replaces

usable() { python3 -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
packages=()
usable || packages+=(python3 python3-venv python3-pip)
command -v curl >/dev/null || packages+=(curl)    # the demo asks its question with it
if [ "${#packages[@]}" -gt 0 ] && [ -f /etc/debian_version ] && [ "$(id -u)" = 0 ]; then
    echo "venv: installing ${packages[*]} from Debian's packages" >&2
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >&2
fi
usable && command -v curl >/dev/null || { echo "venv: Python 3.11 or later with venv, and curl, are needed; on Debian: apt-get install python3 python3-venv curl" >&2; exit 3; }
[ -f "$STAMP" ] && exit 0
rm -rf .venv
python3 -m venv .venv
.venv/bin/python -m pip install -qq --require-hashes --only-binary :all: -r "$LOCK"
# The program itself runs from the checkout.
echo "$PWD" > "$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/caisson.pth"
# The folder in which somebody types it may be another checkout: neither this process nor those that it starts take modules from there.
printf '#!/bin/sh\nPYTHONSAFEPATH=1 exec "%s/.venv/bin/python" -m entrypoint "$@"\n' "$PWD" > .venv/bin/caisson && chmod +x .venv/bin/caisson
touch "$STAMP"
