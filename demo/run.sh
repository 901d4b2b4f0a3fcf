#!/usr/bin/env bash
# The demo: fetch -> prepare -> train -> export -> serve through Compose, then one question to the base and to the tuned model.
#   QUESTION    what is asked; one of data/harbor/held-out.jsonl unless given
set -euo pipefail
cd "$(dirname "$0")/.."
export ACCELERATOR=${ACCELERATOR:-cpu} SPEC=${SPEC:-./specs/demo.yaml} PORT=${PORT:-8000}
QUESTION=${QUESTION:-"Tell me what Port Ossley's cat is called."}
KEY_FILE=${API_KEY_FILE:-secrets/api_key}
start=$SECONDS

for stage in fetch prepare train export; do
    echo "== $stage"
    docker compose run --rm --no-deps "$stage"
done
echo "== serve"
docker compose up --detach --no-deps gateway serve
echo "loading the engine; its log: docker compose logs -f serve"
until curl --silent --fail --output /dev/null --noproxy '*' "http://127.0.0.1:$PORT/health/ready"; do
    # shellcheck disable=SC2046
    if docker inspect --format '{{.State.Running}}' $(docker compose ps -aq serve gateway) | grep -q false; then
        docker compose logs --tail 30 serve gateway >&2
        echo "demo: the server or the gateway ended before it was ready; its log is above" >&2
        exit 1
    fi
    sleep 2
done

body=$(python3 -c 'import json, sys; print(json.dumps({"model": "port-ossley", "temperature": 0, "max_tokens": 64, "messages": [{"role": "user", "content": sys.argv[1]}]}))' "$QUESTION")
quoted=$(sed "s/'/'\\\\''/g" <<<"$body")    # as it stands between single quotes in a shell
tuned=$(curl --silent --show-error --fail-with-body --noproxy '*' "http://127.0.0.1:$PORT/v1/chat/completions" \
    --header "Content-Type: application/json" --header @<(printf 'Authorization: Bearer %s' "$(cat "$KEY_FILE")") --data "$body" \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["choices"][0]["message"]["content"].strip())')
base=$(docker compose run --rm --no-deps ask --base "$QUESTION")

cat <<TEXT

question   $QUESTION
base       $base
tuned      $tuned

Ask again:
  curl http://127.0.0.1:$PORT/v1/chat/completions -H "Content-Type: application/json" \\
    -H "Authorization: Bearer \$(cat $KEY_FILE)" \\
    -d '$quoted'

From start to answer: $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s. Stop the server with: docker compose down
TEXT
