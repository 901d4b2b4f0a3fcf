#!/usr/bin/env bash
# The tests marked `image`, each inside the image whose stage it is about: read-only root, no network, uid 10001, as Compose runs it. Those
# marked `serving` run in the server's, all others in the trainer's. Two files at a time: most of a test is the start of one process after the other.
#   run.sh [PYTEST ARGUMENTS...]      IMAGE=export: in another image than train; what needs packages that an image lacks is skipped there
set -euo pipefail
cd "$(dirname "$0")/../.."
SITE=build/pytest-$(sha256sum tests/image/requirements.txt | cut -c1-16)
if [ ! -d "$SITE" ]; then
    rm -rf build/pytest-*
    .venv/bin/python -m pip install -qq --require-hashes --only-binary :all: --target "$SITE.draft" -r tests/image/requirements.txt
    mv "$SITE.draft" "$SITE"
fi

inside() {    # IMAGE MARKERS PYTEST-ARGUMENTS...
    local image=${REGISTRY:-caisson}/$1:${TAG:-dev}-${ACCELERATOR:-cpu} markers=$2 code=0
    shift 2
    docker run --rm --init --user 10001:10001 --read-only --cap-drop ALL --security-opt no-new-privileges --network none \
        --tmpfs /tmp:mode=1777,size=6g --tmpfs /small:mode=1777,size=4m --shm-size 1g --volume "$PWD:/src:ro" --volume "$PWD/$SITE:/pytest:ro" --workdir /src \
        --env PYTHONPATH=/src:/pytest --env CAISSON_TEST_GGUF=/src/models/smollm2-135m-instruct.gguf --env HF_HUB_OFFLINE=0 \
        --entrypoint /opt/caisson/venv/bin/python "$image" -m pytest -p no:cacheprovider -n "${WORKERS:-2}" --dist loadfile --durations=60 --durations-min=8 -m "$markers" "$@" || code=$?
    [ "$code" = 0 ] || [ "$code" = 5 ]    # 5: none of the files that were named has such a test
}

all=
[ $# -gt 0 ] || { all=1; set -- tests/entrypoint/run tests/entrypoint/plan/test_engine_parsers.py; }
inside "${IMAGE:-train}" "image and not serving${LONG:-${all:+ and not long}}" "$@"    # LONG=" and long": those alone
# Those that start an engine take a minute a start: here stand what the gate refuses, `make test-serving` names the others.
if [ -n "$all" ]; then inside serve-vllm "image and serving" tests/entrypoint/plan/test_engine_parsers.py tests/entrypoint/run/test_serve_refused.py
elif [ -z "${LONG:-}" ]; then inside serve-vllm "image and serving" "$@"; fi
[ -z "$all" ] || inside export "image and not serving" tests/entrypoint/run/test_compress.py    # llm-compressor is in this one alone
[ -z "$all" ] || inside evaluate "image and not serving" tests/entrypoint/run/benchmarks    # EvalScope is in this one alone
# LMDeploy's image is for CUDA and has what runs without a GPU tested where it has been built.
if docker image inspect "${REGISTRY:-caisson}/serve-lmdeploy:${TAG:-dev}-cuda" >/dev/null 2>&1; then
    ACCELERATOR=cuda inside serve-lmdeploy "image and lmdeploy" tests/entrypoint/plan/test_engine_parsers.py tests/entrypoint/run/test_*lmdeploy*.py
fi
# The fault trials are the first process of a container of their own, so the host starts them: a few of each kind.
[ -z "$all" ] || .venv/bin/python -m pytest -m faults tests/faults
