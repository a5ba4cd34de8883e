"""Says whether a deployment answers: python smoke_test.py http://127.0.0.1:8501 ranker

Looks for an available version, reads the signature, sends one row of blanks a number of times and checks that every
output is there and finite. Exits with 1 and a sentence at the first thing that is wrong. Standard library only, so it
runs from any container that has Python.
"""

import argparse
import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request

BLANKS = {"DT_STRING": "", "DT_BOOL": False, "DT_FLOAT": 0.0, "DT_DOUBLE": 0.0}  # everything else is an integer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", help="http://host:port of the REST API")
    parser.add_argument("model")
    parser.add_argument("--requests", type=int, default=20, help="how often to ask (default: %(default)s)")
    options = parser.parse_args()
    if options.requests < 1:
        parser.error(f"--requests must be >= 1. Received: {options.requests}")
    base = f"{options.url.rstrip('/')}/v1/models/{options.model}"

    versions = call(base)["model_version_status"]
    available = [entry["version"] for entry in versions if entry["state"] == "AVAILABLE"]
    if not available:
        states = {entry["version"]: (entry["state"], entry["status"]["error_message"]) for entry in versions}
        raise SystemExit(f"no version of {options.model} is available: {states}")

    signature = call(f"{base}/metadata")["metadata"]["signature_def"]["signature_def"]["serving_default"]
    row = {name: blank(info) for name, info in signature["inputs"].items()}
    seconds = []
    for _ in range(options.requests):
        start = time.perf_counter()
        answer = call(f"{base}:predict", {"inputs": row})["outputs"]
        seconds.append(time.perf_counter() - start)
        check(answer, signature["outputs"])
    seconds.sort()
    print(
        f"{options.model} version {available[0]} answers with {', '.join(sorted(signature['outputs']))}; "
        f"median {1e3 * seconds[len(seconds) // 2]:.1f} ms, slowest {1e3 * seconds[-1]:.1f} ms"
    )


def call(url: str, body: dict | None = None) -> dict:
    """The JSON that a URL answers with."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with opener(url).open(urllib.request.Request(url, data), timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url}: HTTP {error.code}: {error.read().decode('utf-8', 'replace')}") from error
    except (OSError, http.client.HTTPException) as error:
        raise SystemExit(f"{url} does not answer: {error}") from error
    except ValueError as error:
        raise SystemExit(f"{url} does not answer with JSON: {error}") from error


def opener(url: str) -> urllib.request.OpenerDirector:
    """What opens `url`: a proxy of the environment is for other machines only."""
    local = urllib.parse.urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    return urllib.request.build_opener(*[urllib.request.ProxyHandler({})] if local else [])


def blank(info: dict) -> object:
    """One row of an input, filled with blanks."""
    value: object = BLANKS.get(info["dtype"], 0)
    for dimension in reversed(info["tensor_shape"].get("dim", [])):
        size = int(dimension["size"])
        value = [value] * (1 if size < 0 else size)
    return value


def check(answer: object, outputs: dict) -> None:
    """Exits unless every output is there and every number finite."""
    named = answer if len(outputs) > 1 else {next(iter(outputs)): answer}
    missing = outputs.keys() - named.keys()
    if missing:
        raise SystemExit(f"the answer lacks {sorted(missing)}")
    for name, value in named.items():
        if not all(math.isfinite(number) for number in numbers(value)):
            raise SystemExit(f"output {name} is not finite: {value}")


def numbers(value: object) -> list[float]:
    """All numbers of a nested list."""
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


if __name__ == "__main__":
    main()
