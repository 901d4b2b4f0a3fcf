#!/usr/bin/env bash
# The tests marked `image`, each inside the image whose stage it is about: read-only root, no network, uid 10001, as Compose runs it.
# Two files at a time: most of a test is the start of one process after the other.
#   run.sh [PYTEST ARGUMENTS...]      IMAGE=export: in another image than train; what needs packages that an image lacks is skipped there
set -euo pipefail
cd "$(dirname "$0")/../.."
SITE=build/pytest-$(sha256sum tests/image/requirements.txt | cut -c1-16)
if [ ! -d "$SITE" ]; then
    rm -rf build/pytest-*
    .venv/bin/python -m pip install -qq --require-hashes --only-binary :all: --target "$SITE.draft" -r tests/image/requirements.txt
    mv "$SITE.draft" "$SITE"
fi
in_image() {    # in_image IMAGE ARGUMENTS...
    local image=${REGISTRY:-caisson}/$1:${TAG:-dev}-${ACCELERATOR:-cpu}; shift
    docker run --rm --init --user 10001:10001 --read-only --cap-drop ALL --security-opt no-new-privileges --network none \
        --tmpfs /tmp:mode=1777,size=6g --tmpfs /small:mode=1777,size=4m --shm-size 1g --volume "$PWD:/src:ro" --volume "$PWD/$SITE:/pytest:ro" --workdir /src \
        --env PYTHONPATH=/src:/pytest --env CAISSON_TEST_GGUF=/src/models/smollm2-135m-instruct.gguf --env HF_HUB_OFFLINE=0 \
        --entrypoint /opt/caisson/venv/bin/python "$image" -m pytest -p no:cacheprovider -n "${WORKERS:-2}" --dist loadfile -m image "$@"
}
if [ $# -gt 0 ]; then
    in_image "${IMAGE:-train}" "$@"
    exit
fi
in_image train tests/entrypoint/run
in_image export tests/entrypoint/run/test_compress.py    # llm-compressor is in this one alone
# The fault trials are the first process of a container of their own, so the host starts them: a few of each kind.
.venv/bin/python -m pytest -m faults tests/faults
