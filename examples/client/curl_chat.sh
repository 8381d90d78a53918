#!/usr/bin/env bash
# Chat through the gateway with curl.
#
#   export OPENAI_BASE_URL=http://127.0.0.1:8080/v1
#   export OPENAI_API_KEY=$(sallyport token --user alice --group ml-apps)
#   bash curl_chat.sh
set -euo pipefail

curl --silent --show-error --fail-with-body --no-buffer "${OPENAI_BASE_URL:-http://127.0.0.1:8080/v1}/chat/completions" \
    --header "Authorization: Bearer $OPENAI_API_KEY" \
    --header "Content-Type: application/json" \
    --data '{
        "model": "'"${MODEL:-mock-model}"'",
        "messages": [{"role": "user", "content": "What is the number on file?"}],
        "max_tokens": 100,
        "stream": true
    }'
