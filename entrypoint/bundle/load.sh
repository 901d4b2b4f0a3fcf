#!/bin/sh
# sh load.sh --signers FILE [--to FOLDER] [--back-to NUMBER] [--yes]: verify this bundle, say what would be done, and with --yes load it.
# Needs a shell, coreutils, ssh-keygen and docker. FILE is in ssh-keygen's allowed_signers format and must have reached you
# by another way than this bundle. Nothing is changed before signature, number, every part and the disk are found good.
set -eu; umask 022
bundle=$(dirname "$0") to=./caisson signers='' yes='' back=''
while [ $# -gt 0 ]; do case $1 in
  --bundle) bundle=$2; shift 2;; --signers) signers=$2; shift 2;; --to) to=$2; shift 2;; --back-to) back=$2; shift 2;; --yes) yes=1; shift;;
  *) echo "load: $1 is no option: --signers FILE, --to FOLDER, --back-to NUMBER, --yes" >&2; exit 2;; esac; done
refuse() { echo "load: refused: $1" >&2; exit 4; }
named() { while read -r kind a b c; do [ "$kind $a" != "part $1" ] || { echo "$c"; break; }; done < "$m"; }
sum() { sha256sum < "$1" | cut -d' ' -f1; }
[ -f "$signers" ] || { echo "load: --signers FILE: whose signature is trusted, as ssh-keygen(1) has it under ALLOWED SIGNERS" >&2; exit 2; }
for f in manifest manifest.sig; do [ -f "$bundle/$f" ] || refuse "$f is missing"; done
m=$(mktemp); cp "$bundle/manifest" "$m"; trap 'rm -f "$m"' EXIT   # what is verified is what is read
who=$(ssh-keygen -Y find-principals -f "$signers" -s "$bundle/manifest.sig" 2>&1) || refuse "manifest.sig: nobody in $signers has signed with this key"
who=$(printf '%s\n' "$who" | head -n 1)
ssh-keygen -Y verify -q -f "$signers" -I "$who" -n caisson-bundle -s "$bundle/manifest.sig" < "$m" > /dev/null 2>&1 || refuse "manifest: altered, or not what $who signed"

number=0 last=0 lastsum='' bad=''
[ ! -f "$to/.loaded" ] || read -r last lastsum < "$to/.loaded"
while read -r kind a b c; do case $kind in
  caisson-bundle) [ "$a" = 1 ] || refuse "manifest: format $a, this script reads 1";;
  number) number=$a;;
  file) case "/$c/" in *//*|*/../*) refuse "manifest: $c leaves the folder";; esac;;
  part) p=$bundle/$c
    if [ -L "$p" ] || [ ! -f "$p" ]; then bad="$bad
  $c: missing"; elif [ "$(stat -c %s "$p")" -lt "$b" ]; then bad="$bad
  $c: truncated"; elif s=$(sum "$p") && [ "$s" != "$a" ]; then
      other=$(named "$s")
      bad="$bad
  $c: $([ -z "$other" ] && echo altered || echo "swapped: it is $other")"; fi;;
esac; done < "$m"
[ -z "$bad" ] || refuse "parts are not what $who signed:$bad"
[ "$number" -ge "$last" ] || [ "$number" = "$back" ] || refuse "manifest: number $number is older than $last, which was loaded here: a replay; if you mean to go back: --back-to $number"
[ "$number" != "$last" ] || [ "$(sum "$m")" = "$lastsum" ] || refuse "manifest: another bundle of number $number was loaded here"

# What is to be done. An item without pieces is one that an older bundle has brought.
todo='' need=0 images=0 without='' since=-
while read -r kind a b c; do
  [ "$kind" = piece ] || [ -z "$without" ] || refuse "$without is neither here nor in this bundle: load bundle $since first"
  without=''
  case $kind in
    since) since=$a;;
    image) docker image inspect "sha256:$a" > /dev/null 2>&1 || { without=$c images=$((images + b)); };;
    file) [ -f "$to/$c" ] && [ "$(sum "$to/$c")" = "$a" ] || { without=$c need=$((need + b)); };;
  esac
  [ -z "$without" ] || todo="$todo
$kind $a $b $c"
done < "$m"
room() { d=$1; while [ ! -d "$d" ]; do d=$(dirname "$d"); done; df -B1 --output=avail "$d" | tail -n 1; }
root=$(docker info -f '{{.DockerRootDir}}') || { echo "load: docker does not answer" >&2; exit 3; }
echo "bundle $number, signed by $who: every part verified. To do: ${todo:-nothing}"
[ "$(room "$to")" -gt $((need + images)) ] && [ "$(room "$root")" -gt $((need + images)) ] ||
  { echo "load: too little disk: $((need + images)) bytes must be free for $to and for $root" >&2; exit 3; }
[ -n "$yes" ] || { echo "Nothing was changed. --yes does it."; exit 0; }

pieces() ( on=''; while read -r kind a b c; do case $kind in   # the bytes of one item, in order
  piece) [ -z "$on" ] || cat "$bundle/$a";; image|file) [ "$kind $a $b $c" = "$1" ] && on=1 || on='';; esac; done < "$m" )
mkdir -p "$to"
printf '%s\n' "$todo" | while read -r kind a b c; do case $kind in
  image) pieces "image $a $b $c" | docker load -q > /dev/null
    docker image inspect "sha256:$a" > /dev/null 2>&1 || refuse "$c: what was loaded is not sha256:$a";;
  file) mkdir -p "$(dirname "$to/$c")"; pieces "file $a $b $c" > "$to/$c.unfinished"
    [ "$(sum "$to/$c.unfinished")" = "$a" ] || refuse "$c: altered while it was copied"
    mv "$to/$c.unfinished" "$to/$c";; esac; done
while read -r kind a b c; do [ "$kind" != image ] || docker tag "sha256:$a" "$c"; done < "$m"
echo "$number $(sum "$m")" > "$to/.loaded.unfinished" && mv "$to/.loaded.unfinished" "$to/.loaded"
echo "loaded into $to: cd $to && SPEC=spec.yaml docker compose up serve"
