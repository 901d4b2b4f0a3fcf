#!/usr/bin/env bash
# gap.sh BUNDLE SIGNERS FOLDER STEP...: load a bundle into an engine of its own, in a network namespace whose only way out is a cable to an
# empty namespace, on which packets are counted; run the steps there; print seconds and packets. Needs root. Cleans up after itself.
#   STEP    a service of Compose that ends (fetch, prepare, train, export, evaluate), or `demo`: demo/run.sh, which serves and asks one question
#   WITH    a command put before each step, as `nice`
set -euo pipefail
bundle=$(realpath "$1") signers=$(realpath "$2") folder=$(realpath -m "$3"); shift 3
space=caisson-gap-$$
read -ra with <<< "${WITH:-}"
short=$(mktemp -d /tmp/gap.XXXXXX)    # a socket's path has 104 bytes at most
mkdir -p "$folder/data"
inside() { nsenter --net="/run/netns/$space" env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY DOCKER_HOST="unix://$short/sock" "$@"; }
# Two counters. sent: what went into the cable. tried: what containers or the engine addressed to it, before any rule could drop it.
sent() { ip netns exec "$space" cat /sys/class/net/out/statistics/tx_packets; }
tried() { ip netns exec "$space" iptables -t mangle -nvxL | awk '/\/\* gap \*\// { all += $1 } END { print all + 0 }'; }
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
for chain in OUTPUT FORWARD; do ip netns exec "$space" iptables -t mangle -A "$chain" -o out -m comment --comment gap; done
# --dns: a name that a container asks for, and the engine passes on, must go into the cable and not to this host's own resolver on loopback.
DOCKER_TMPDIR="$folder/data/tmp" nsenter --net="/run/netns/$space" env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY \
  dockerd --data-root "$folder/data" --exec-root "$short/exec" -H "unix://$short/sock" --pidfile "$folder/pid" --dns 192.0.2.53 > "$folder/dockerd.log" 2>&1 &
for _ in $(seq 60); do inside docker info > /dev/null 2>&1 && break; sleep 0.3; done
inside docker info > /dev/null || { tail -n 5 "$folder/dockerd.log"; exit 1; }

control() {    # control WORDS COMMAND...: what is known to call out must be counted, by both counters
  local words=$1 s t; shift; s=$(sent) t=$(tried)
  "$@" > /dev/null 2>&1 || true
  [ "$(sent)" -gt "$s" ] && [ "$(tried)" -gt "$t" ] || { echo "gap: the counter does not count $words"; exit 1; }
  echo "control: $words: counted $(($(sent) - s))"
}
control "a packet of the engine's side" inside bash -c 'echo x > /dev/udp/192.0.2.53/53'
s0=$(sent) t0=$(tried)
counts() { echo "packets out $(($(sent) - s0)), tried $(($(tried) - t0))"; }
timed() { local name=$1 start; shift; start=$(date +%s.%N); "$@"; echo "$name: $(echo "$(date +%s.%N) - $start" | bc) s, $(counts)"; }
timed verify inside "${with[@]}" sh "$bundle/load.sh" --signers "$signers" --to "$folder/site" > "$folder/verify.log"; tail -n 1 "$folder/verify.log"
timed load inside "${with[@]}" sh "$bundle/load.sh" --signers "$signers" --to "$folder/site" --yes > "$folder/load.log"; tail -n 2 "$folder/load.log"
cd "$folder/site"
gateway=$(sed -n 's/^  gateway: { image: "\([^"]*\)".*/\1/p' compose/images.lock.yaml)
if [ -n "$gateway" ]; then    # a container with a way out, and a name that it asks for: both must be seen
  python=(inside docker run --rm --entrypoint python3 "$gateway" -c)
  control "a packet of a container" "${python[@]}" 'import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("198.51.100.7", 9))'
  inside docker network create gap-control > /dev/null
  python=(inside docker run --rm --network gap-control --entrypoint timeout "$gateway" 3 python3 -c)
  control "a name that a container asks for" "${python[@]}" 'import socket; socket.getaddrinfo("caisson.example", 443)'
  inside docker network rm gap-control > /dev/null
  s0=$(sent) t0=$(tried)
fi
export SPEC=./spec.yaml ACCELERATOR=${ACCELERATOR:-cpu}
for step in "$@"; do
  case $step in
    demo) inside bash setup/key.sh; run=(inside "${with[@]}" bash demo/run.sh) ;;
    evaluate) run=(inside "${with[@]}" docker compose run --rm evaluate) ;;    # with the service sides, and what comes before it, which is there
    *) run=(inside "${with[@]}" docker compose run --rm --no-deps "$step") ;;
  esac
  timed "$step" "${run[@]}" > "$folder/$step.log" 2>&1 || { tail -n 20 "$folder/$step.log"; exit 1; }
  tail -n 1 "$folder/$step.log"
done
inside docker network ls -q | while read -r id; do inside docker network inspect "$id" -f '{{.Name}} internal={{.Internal}} {{range .Containers}}{{.Name}} {{end}}'; done > "$folder/networks.log"
echo "$(counts)"
[ "$(sent)" = "$s0" ] && [ "$(tried)" = "$t0" ] || { echo "gap: something called out"; exit 4; }
