#!/usr/bin/env bash
# Makes sure that Docker Engine, Compose and buildx answer. Silent and quick where they do.
# Exit 0: they answer. Exit 3: they don't, and the command to run by hand has been named.
set -euo pipefail

ENGINE_MIN=26 COMPOSE_MIN=2.26
PACKAGES="docker.io docker-cli docker-compose docker-buildx debootstrap zstd iproute2"
LOG=/var/log/dockerd.log
HERE=$(dirname "$0")

say() { echo "engine: $*" >&2; }
stop() { say "$*"; exit 3; }
at_least() { [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -1)" = "$2" ]; }

server() { docker version --format '{{.Server.Version}}' 2>/dev/null || true; }
ready() {
    at_least "$(server)" "$ENGINE_MIN" \
        && at_least "$(docker compose version --short 2>/dev/null | sed 's/^v//')" "$COMPOSE_MIN" \
        && docker buildx version >/dev/null 2>&1
}
# What the daemon program itself says, for when nothing answers yet.
installed() {
    at_least "$(dockerd --version 2>/dev/null | sed -n 's/^Docker version \([0-9.]*\).*/\1/p')" "$ENGINE_MIN" \
        && at_least "$(docker compose version --short 2>/dev/null | sed 's/^v//')" "$COMPOSE_MIN" \
        && docker buildx version >/dev/null 2>&1
}

install() {
    local options=() uri lists
    apt-get update -qq
    if ! at_least "$(apt-cache policy docker.io | sed -n 's/^ *Candidate: //p' | sed 's/[^0-9.].*//')" "$ENGINE_MIN"; then
        uri=$(bash "$HERE/mirror.sh") || stop "no Debian mirror in the apt sources. Install Docker Engine >= $ENGINE_MIN with Compose >= $COMPOSE_MIN and buildx"
        lists=$(mktemp -d) && mkdir -p "$lists/lists/partial" && chmod -R 755 "$lists"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main" > "$lists/trixie.list"
        options=(-o "Dir::Etc::sourcelist=$lists/trixie.list" -o Dir::Etc::sourceparts=/nonexistent -o "Dir::State::Lists=$lists/lists")
        # A list of its own, so that the host stays on its suite but for these packages and what they need (the C library among them).
        say "this suite's Engine is too old: taking these packages and what they need from Debian 13"
        apt-get "${options[@]}" update -qq
    fi
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install -y -qq --no-install-recommends $PACKAGES >&2
    [ -z "${lists:-}" ] || rm -rf "$lists"
}

start() {
    say "starting dockerd (log: $LOG)"
    if [ -d /run/systemd/system ]; then
        systemctl start docker
    else
        rm -f /var/run/docker.pid      # left by a machine that went down; nothing answers, see above
        setsid dockerd >>"$LOG" 2>&1 </dev/null &
    fi
    for _ in $(seq 60); do ready && return; sleep 1; done
    tail -5 "$LOG" >&2 2>/dev/null || true
    stop "dockerd does not answer after 60 s. Run: dockerd, and read what it says"
}

ready && exit 0
if at_least "$(server)" 1; then    # an Engine answers: another one is not ours to replace
    installed || stop "Docker answers, but Engine >= $ENGINE_MIN, Compose >= $COMPOSE_MIN and buildx are needed. Upgrade it the way you installed it"
fi
[ "$(id -u)" = 0 ] || stop "Docker does not answer you. Run: sudo bash $0   (or, where it runs already: sudo usermod -aG docker $(id -un), then log in again)"
if ! installed; then
    id=$(. /etc/os-release; echo "${ID:-} ${VERSION_ID:-}")
    case "$id" in
        "debian 12" | "debian 13") ;;
        *) stop "installs by itself on Debian 12 and 13 only (here: $id). Install Docker Engine >= $ENGINE_MIN with its Compose and buildx plugins, then run this again" ;;
    esac
    say "installing from Debian's packages: $PACKAGES"
    install
    ready && exit 0
fi
start
