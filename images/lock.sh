#!/usr/bin/env bash
# Writes every images/*/requirements.{cpu,cuda}.txt and tests/requirements.txt from the .in files. Needs uv on PATH; downloads metadata only,
# but for deepspeed. First one resolution over all images, so that they hold one version of a package; then each image's share of it. An image
# whose folder has a file `apart` stays out of the first: it follows it in all packages but those that the file names.
#   PIP_FIND_LINKS   the folder with torch's +cpu wheel       UPGRADE=1   take newer versions where the .in files allow
set -euo pipefail
cd "$(dirname "$0")"
: "${PIP_FIND_LINKS:?set it to the folder that holds the +cpu wheel of torch}"
WANT=${*:-cpu cuda tests}
IMAGES="torch train export serve-vllm"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

resolve() {    # resolve OUTPUT ARGUMENTS...: Debian bookworm, Python 3.11; wheels only, but for deepspeed, which has none
    local output=$1; shift
    DS_BUILD_OPS=0 DS_ACCELERATOR=cpu UV_CUSTOM_COMPILE_COMMAND="images/lock.sh" \
        uv pip compile --quiet --no-config --python-version 3.11 --python-platform x86_64-manylinux_2_36 \
        --only-binary :all: --no-binary deepspeed --generate-hashes --no-emit-index-url --no-emit-find-links --annotation-style line \
        ${UPGRADE:+--upgrade} -o "$output" "$@" >/dev/null
    # The annotations name files of this run: leave those out.
    sed -i -E "s#, -c $work/[a-z.]+##g; s#-c $work/[a-z.]+(, )?##g; /^ +\# via *\$/d" "$output"
}

for accelerator in $WANT; do
    [ "$accelerator" = tests ] && continue
    options=(--excludes all.exclude)
    if [ "$accelerator" = cpu ]; then
        echo "torch==2.13.0+cpu" > "$work/cpu.constraint"
        options+=(--find-links "$PIP_FIND_LINKS" --excludes cpu.exclude -c "$work/cpu.constraint")
    fi
    inputs() { for image in "$@"; do ls "$image/requirements.in" "$image/$accelerator.in" 2>/dev/null || true; done; }
    # What is locked stays where it still fits.
    together=$(for image in $IMAGES; do [ -f "$image/apart" ] || echo "$image"; done)
    [ -n "${UPGRADE:-}" ] || for image in $together; do cat "$image/requirements.$accelerator.txt" 2>/dev/null || true; done > "$work/all.txt"
    # shellcheck disable=SC2046
    resolve "$work/all.txt" "${options[@]}" $(inputs $together)
    grep -E '^[a-zA-Z0-9]' "$work/all.txt" | sed 's/ *\\$//' > "$work/union.txt"
    for image in $IMAGES; do
        grep -v -E "^($(grep -v '^#' "$image/apart" 2>/dev/null | paste -sd '|')|-)==" "$work/union.txt" > "$work/image.txt"
        # shellcheck disable=SC2046
        resolve "$image/requirements.$accelerator.txt" "${options[@]}" -c "$work/image.txt" $(inputs "$image")
    done
    # A torch of its own, and no build for the CPU.
    if [ "$accelerator" = cuda ]; then resolve serve-lmdeploy/requirements.cuda.txt "${options[@]}" serve-lmdeploy/requirements.in; fi
    # EvalScope wants an older datasets, and that an older fsspec, than the trainer has: by itself, but for what it has in common with torch's
    # layer, where the program's own libraries are, and what decodes tokens.
    { grep -E '^[a-z]' "torch/requirements.$accelerator.txt" | grep -v -E '^(fsspec|torch|nvidia-c.*|cuda.*)=='; grep -E '^(tokenizers|transformers)==' "train/requirements.$accelerator.txt"; } \
        | sed 's/ *\\$//' > "$work/evaluate.txt"
    resolve "evaluate/requirements.$accelerator.txt" --excludes all.exclude --excludes evaluate/exclude -c "$work/evaluate.txt" evaluate/requirements.in
done
case " $WANT " in *" cpu "*) resolve gateway/requirements.txt -c torch/requirements.cpu.txt gateway/requirements.in ;; esac
case " $WANT " in *" tests "*) resolve ../tests/requirements.txt ../tests/requirements.in ;; esac
