#!/usr/bin/env bash
# API keys of the gateway: 32 random bytes each, of which secrets/gateway/keys holds the SHA-256. A running gateway sees a change by itself.
#   key.sh              a first key, in secrets/api_key for `make demo` and the curl lines of the docs; does nothing where that is done
#   key.sh add NAME     another key, printed once and kept nowhere
#   key.sh list         names, with the start of each hash
#   key.sh revoke NAME
# API_KEY_FILE and GATEWAY_SECRETS name other places.
set -euo pipefail
cd "$(dirname "$0")/.."
FILE=${API_KEY_FILE:-secrets/api_key}
FOLDER=${GATEWAY_SECRETS:-secrets/gateway}
KEYS=$FOLDER/keys

readable() {    # readable PATH MODE_AS_ROOT MODE_ELSE: for the containers' group, 10001, and for nobody else where that can be had
    if [ "$(id -u)" = 0 ]; then chown root:10001 "$1" && chmod "$2" "$1"; else chmod "$3" "$1"; fi
}
make_key() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
hash_of() { printf %s "$1" | sha256sum | cut -d ' ' -f 1; }
write_keys() {    # the new content on stdin; by rename, so that the gateway never reads half a file
    local draft
    draft=$(mktemp "$FOLDER/.keys.XXXXXX")
    cat > "$draft"
    readable "$draft" 0440 0444
    mv "$draft" "$KEYS"
}
name_of() { awk -v name="$1" '!/^#/ && $2 == name' "$KEYS" 2>/dev/null; }

mkdir -p "$FOLDER"
readable "$FOLDER" 0750 0755
touch -a "$KEYS"
case "${1:-}" in
    '')
        if [ ! -s "$FILE" ]; then
            mkdir -p "$(dirname "$FILE")"
            (umask 077 && make_key > "$FILE")
            readable "$FILE" 0440 0444
            [ "$(id -u)" = 0 ] || echo "key: $FILE is readable by all users of this machine; as root: chown root:10001 $FILE && chmod 0440 $FILE" >&2
        fi
        # Each line is a key of its own: so was the file before there was a gateway.
        at=0
        while read -r key; do
            at=$((at + 1)); name=default; [ "$at" = 1 ] || name=default-$at
            line="sha256:$(hash_of "$key") $name"
            [ -z "$key" ] || grep -qxF "$line" "$KEYS" || { awk -v name="$name" '/^#/ || $2 != name' "$KEYS"; echo "$line"; } | write_keys
        done < <(cat "$FILE"; echo)
        ;;
    add)
        name=${2:?key.sh add NAME}
        [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$ ]] || { echo "key: a name has up to 64 letters, digits, dots, dashes and underscores" >&2; exit 2; }
        [ -z "$(name_of "$name")" ] || { echo "key: there is a key named $name: revoke it first, or choose another name" >&2; exit 2; }
        key=$(make_key)
        { cat "$KEYS"; echo "sha256:$(hash_of "$key") $name"; } | write_keys
        echo "$key"
        ;;
    list) awk '!/^#/ && NF { print ($2 == "" ? "(no name)" : $2) "\t" ($1 ~ /^sha256:/ ? substr($1, 1, 15) "..." : "not hashed") }' "$KEYS" ;;
    revoke)
        name=${2:?key.sh revoke NAME}
        [ -n "$(name_of "$name")" ] || { echo "key: there is no key named $name: bash setup/key.sh list" >&2; exit 2; }
        awk -v name="$name" '/^#/ || $2 != name' "$KEYS" | write_keys
        ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
