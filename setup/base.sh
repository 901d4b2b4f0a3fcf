#!/usr/bin/env bash
# Makes the image ${REGISTRY}/base:${TAG}: Debian bookworm with Python 3.11. From BASE_IMAGE where that is set (a registry's image by digest),
# else from Debian's packages with debootstrap, which needs root and no registry. Does nothing that is done already.
# Prints what base was made from.
set -euo pipefail
cd "$(dirname "$0")/.."
export REGISTRY=${REGISTRY:-caisson} TAG=${TAG:-dev}
PACKAGES=ca-certificates,libgomp1,libnuma1,libstdc++6,python3,python3-venv      # libnuma1: vLLM on CPU fails without it
SUITE=bookworm

say() { echo "base: $*" >&2; }

bootstrap() {    # bootstrap IMAGE
    if [ "$(id -u)" != 0 ]; then say "needs root to bootstrap Debian. Run: sudo bash $0   (or set BASE_IMAGE)"; exit 3; fi
    if ! command -v debootstrap >/dev/null; then
        command -v apt-get >/dev/null || { say "no debootstrap and no apt here: set BASE_IMAGE to a Debian $SUITE image with Python 3.11, by digest"; exit 3; }
        say "installing debootstrap"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >&2
    fi
    local archive security root
    archive=$(bash setup/mirror.sh) || { say "no Debian mirror in the apt sources: set BASE_IMAGE"; exit 3; }
    security=$(bash setup/mirror.sh security || true)
    root=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "umount '$root/proc' 2>/dev/null || true; rm -rf --one-file-system '$root'" EXIT
    say "bootstrapping Debian $SUITE (about 90 s, log: /tmp/caisson-base.log)"
    {
        debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$root" "$archive"
        echo "deb $archive $SUITE main" > "$root/etc/apt/sources.list"
        if [ -n "$security" ]; then
            echo "deb $security $SUITE-security main" >> "$root/etc/apt/sources.list"
            chroot "$root" sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -y upgrade'
        fi
        chroot "$root" apt-get clean
        # What no program reads; licences (copyright files) stay.
        rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/debconf/*-old "$root"/var/log/*.log "$root"/usr/share/{man,info,locale,lintian}/* \
            "$root"/etc/resolv.conf "$root"/etc/hostname
        find "$root/usr/share/doc" -type f ! -name copyright -delete
        umount "$root/proc" 2>/dev/null || true
    } > /tmp/caisson-base.log 2>&1 || { tail -5 /tmp/caisson-base.log >&2; exit 1; }
    tar -C "$root" --numeric-owner --one-file-system -c . | docker import --change 'CMD ["python3"]' - "$1" >/dev/null
}

if [ -z "${BASE_IMAGE:-}" ]; then
    BASE_IMAGE=$REGISTRY/debian:$SUITE-$(echo "$SUITE $PACKAGES" | sha256sum | cut -c1-8)
    docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 || bootstrap "$BASE_IMAGE"
fi
export BASE_IMAGE
bash setup/bake.sh --progress quiet base >&2
echo "$BASE_IMAGE"      # for setup/images.sh
