"""Asks a TensorFlow Serving over REST: python client_rest.py http://127.0.0.1:8501 ranker rows.json

`rows.json` is `{"instances": [{"user_id": "u1", "price": 9.5}, ...]}`: every column of the signature, one object a row.
A model with one output answers a list of values, one with several a list of objects. Needs the standard library only.
"""

import json
import sys
import urllib.error
import urllib.request

TIMEOUT = 10  # seconds


def predict(url: str, model: str, body: dict) -> list:
    """The predictions for the rows of `body`, in their order."""
    request = urllib.request.Request(f"{url}/v1/models/{model}:predict", json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        raise SystemExit(f"HTTP {error.code}: {json.load(error)['error']}") from error


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    with open(sys.argv[3], encoding="utf-8") as file:
        rows = json.load(file)
    print(json.dumps(predict(sys.argv[1].rstrip("/"), sys.argv[2], rows), indent=1))
