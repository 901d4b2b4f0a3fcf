#!/usr/bin/env bash
# `docker buildx bake` with what this host's builds need: its CA bundle and its pip configuration, as secrets that stay out of the images.
#   bake.sh ARGUMENTS...     REGISTRY, TAG, ACCELERATOR, BASE_IMAGE, WHEELS: see docker-bake.hcl
set -euo pipefail
cd "$(dirname "$0")/.."

secrets=$(mktemp -d); trap 'rm -rf "$secrets"' EXIT
export SECRETS=$secrets
for ca in "${CA_BUNDLE:-}" "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
    if [ -s "$ca" ]; then cp "$ca" "$secrets/ca.pem"; break; fi
done
[ -s "$secrets/ca.pem" ] || { echo "bake: no CA bundle found: set CA_BUNDLE to a PEM file" >&2; exit 3; }
# pip's settings of this host, in pip's own order. What names a file of the host means nothing in a build: the CA and the wheels come in
# by other ways, and a constraint file is not part of the lock.
PYTHON=$(command -v python3)
{
    echo '[global]'
    "$PYTHON" -m pip config list 2>/dev/null | sed -n "s/^\(global\|install\|:env:\)\.\([a-z-]*\)='\(.*\)'\$/\2 = \3/p" \
        | grep -vE '^(cert|client-cert|constraint|requirement|find-links|cache-dir|log|config-file|target|prefix|user|require-virtualenv|break-system-packages)( |$)' \
        | grep -vE 'file:|= /' | awk -F' = ' '{ last[$1] = $0 } END { for (key in last) print last[key] }' | sort || true
} > "$secrets/pip.conf"

ACCELERATOR=${ACCELERATOR:-cpu}
if [ -z "${WHEELS:-}" ]; then
    # On CUDA the host's folder stays out: its +cpu build would count as the newer torch.
    WHEELS=images/no-wheels
    if [ "$ACCELERATOR" = cpu ]; then for folder in ${PIP_FIND_LINKS:-}; do [ ! -d "$folder" ] || { WHEELS=$folder; break; }; done; fi
fi
REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || true)}
VERSION=${VERSION:-$(sed -n 's/^version *= *"\(.*\)"/\1/p' pyproject.toml 2>/dev/null | head -1 || true)}
export ACCELERATOR WHEELS REVISION VERSION=${VERSION:-0.0.0}
export BUILDX_BAKE_ENTITLEMENTS_FS=0      # newer buildx asks before it reads the secrets' folder
allow=()
if docker buildx bake --help 2>/dev/null | grep -q -- '--allow'; then allow=(--allow network.host); fi
docker buildx bake -f docker-bake.hcl "${allow[@]}" "$@"
