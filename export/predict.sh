#!/usr/bin/env bash
# Sends a JSON file of rows: predict.sh http://127.0.0.1:8501 ranker rows.json
# rows.json is {"instances": [{"user_id": "u1", "price": 9.5}, ...]}: every column of the signature, one object a row.
set -euo pipefail
export no_proxy="127.0.0.1,localhost,${no_proxy:-}"  # a proxy is for other machines only
curl --silent --show-error --fail-with-body --max-time 10 --data "@$3" "$1/v1/models/$2:predict"
