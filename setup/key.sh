#!/usr/bin/env bash
# An API key in secrets/api_key, once: 32 random bytes, readable by the server's group (10001) and by nobody else.
set -euo pipefail
cd "$(dirname "$0")/.."
FILE=${API_KEY_FILE:-secrets/api_key}
[ -s "$FILE" ] && exit 0
mkdir -p "$(dirname "$FILE")"
(umask 077 && head -c 32 /dev/urandom | base64 | tr -d '=+/\n' > "$FILE")
if [ "$(id -u)" = 0 ]; then
    chown root:10001 "$FILE" && chmod 0440 "$FILE"
else
    chmod 0444 "$FILE"
    echo "key: $FILE is readable by all users of this machine; as root: chown root:10001 $FILE && chmod 0440 $FILE" >&2
fi
