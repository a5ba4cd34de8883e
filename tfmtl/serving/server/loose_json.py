"""JSON as the real server's parser reads it: more names of what is no number, and of two equal keys the first."""

import json
import math
import re
from typing import Any

_SHOWN = 256  # characters of a bad number that an error quotes


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"number too big to be stored in double: {text[:_SHOWN]}")
    return number


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


def decode(text: str) -> Any:
    """The value that `text` starts with.

    Raises:
        ValueError, RecursionError: there is none.
    """
    try:
        return _DECODER.raw_decode(text)[0]
    except ValueError:
        named = _TOKEN.sub(lambda token: _AS_PYTHON_READS.get(token[0], token[0]), text)
        if named == text:
            raise
        return _DECODER.raw_decode(named)[0]


_DECODER = json.JSONDecoder(parse_float=_finite, object_pairs_hook=_first_wins)
_AS_PYTHON_READS = {"Inf": "Infinity", "-Inf": "-Infinity", "-NaN": "NaN"}
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[A-Za-z]+', re.DOTALL)
