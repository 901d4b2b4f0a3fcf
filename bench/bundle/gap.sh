#!/usr/bin/env bash
# gap.sh BUNDLE SIGNERS FOLDER STAGE...: load a bundle into an engine of its own, in a network namespace whose only way out is a
# cable to an empty namespace, on which packets are counted; run the stages there; print seconds and packets. Needs root. Cleans up after itself.
set -euo pipefail
bundle=$(realpath "$1") signers=$(realpath "$2") folder=$(realpath -m "$3"); shift 3
space=caisson-gap-$$
short=$(mktemp -d /tmp/gap.XXXXXX)    # a socket's path has 104 bytes at most
mkdir -p "$folder/data"
inside() { nsenter --net="/run/netns/$space" env -u http_proxy -u https_proxy DOCKER_HOST="unix://$short/sock" "$@"; }
sent() { ip netns exec "$space" cat /sys/class/net/out/statistics/tx_packets; }
cleanup() {
  inside docker ps -aq 2> /dev/null | while read -r id; do inside docker rm -f "$id" > /dev/null || true; done || true
  [ ! -s "$folder/pid" ] || { kill "$(cat "$folder/pid")" || true; for _ in $(seq 50); do [ -e "$folder/pid" ] || break; sleep 0.2; done; }
  ip netns del "$space" || true; ip netns del "$space-sink" || true
  ! mountpoint -q "$folder/data" || umount "$folder/data" || true    # an engine that failed to start leaves it
  rm -rf "${folder:?}/data" "${short:?}" "${folder:?}/site"
}
trap cleanup EXIT
ip netns add "$space"
inside sysctl -qw net.ipv6.conf.all.disable_ipv6=1 || true
inside ip link set lo up
ip netns add "$space-sink"
ip link add out netns "$space" type veth peer name in netns "$space-sink"
ip netns exec "$space-sink" ip link set in up
inside ip address add 192.0.2.1/24 dev out
inside ip link set out up arp off multicast off
inside ip route add default via 192.0.2.2
inside dockerd --data-root "$folder/data" --exec-root "$short/exec" -H "unix://$short/sock" --pidfile "$folder/pid" > "$folder/dockerd.log" 2>&1 &
for _ in $(seq 40); do inside docker info > /dev/null 2>&1 && break; sleep 0.3; done
inside docker info > /dev/null || { tail -n 5 "$folder/dockerd.log"; exit 1; }
before=$(sent)
inside bash -c 'echo x > /dev/udp/192.0.2.53/53' || true
[ "$(sent)" -gt "$before" ] || { echo "gap: the counter does not count"; exit 1; }
before=$(sent)
timed() { local name=$1 start; shift; start=$(date +%s.%N); "$@"; echo "$name: $(echo "$(date +%s.%N) - $start" | bc) s, packets out $(($(sent) - before))"; }
timed verify inside sh "$bundle/load.sh" --signers "$signers" --to "$folder/site" > "$folder/verify.log"; tail -n 1 "$folder/verify.log"
timed load inside sh "$bundle/load.sh" --signers "$signers" --to "$folder/site" --yes > "$folder/load.log"; tail -n 2 "$folder/load.log"
cd "$folder/site"
export SPEC=./spec.yaml
for stage in "$@"; do
  timed "$stage" inside docker compose run --rm --no-deps "$stage" > "$folder/$stage.log" 2>&1 || { tail -n 20 "$folder/$stage.log"; exit 1; }
  tail -n 1 "$folder/$stage.log"
done
echo "packets out: $(($(sent) - before))"
