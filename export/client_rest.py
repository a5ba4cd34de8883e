"""Asks a TensorFlow Serving over REST: python client_rest.py http://127.0.0.1:8501 ranker rows.json

`rows.json` is `{"instances": [{"user_id": "u1", "price": 9.5}, ...]}`: every column of the signature, one object a row.
A model with one output answers a list of values, one with several a list of objects. Needs the standard library only.
"""

import http.client
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

TIMEOUT = 10  # seconds


class RequestFailed(Exception):
    """The server refused, or does not answer. `status` is the HTTP status, None without an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message if status is None else f"HTTP {status}: {message}")
        self.status = status


def predict(url: str, model: str, body: dict) -> list:
    """The predictions for the rows of `body`, in their order; RequestFailed if there are none."""
    request = urllib.request.Request(f"{url}/v1/models/{model}:predict", json.dumps(body).encode())
    try:
        with opener(url).open(request, timeout=TIMEOUT) as response:
            return json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        with error:
            raise RequestFailed(message(error.read()), error.code) from error
    except (OSError, http.client.HTTPException) as error:  # refused, too slow, or gone in the middle
        raise RequestFailed(f"{url} does not answer: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RequestFailed(f"{url} is no TensorFlow Serving: {error}") from error


def opener(url: str) -> urllib.request.OpenerDirector:
    """What opens `url`: a proxy of the environment is for other machines only."""
    local = urllib.parse.urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    return urllib.request.build_opener(*[urllib.request.ProxyHandler({})] if local else [])


def message(body: bytes) -> str:
    """What an error says: JSON from the server, anything from a proxy before it."""
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text[:200]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    with open(sys.argv[3], encoding="utf-8") as file:
        rows = json.load(file)
    try:
        print(json.dumps(predict(sys.argv[1].rstrip("/"), sys.argv[2], rows), indent=1))
    except RequestFailed as error:
        raise SystemExit(str(error)) from error
