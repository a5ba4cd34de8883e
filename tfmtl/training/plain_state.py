"""What a callback remembers, as JSON and arrays."""

from typing import Any

import numpy as np

_PLAIN = (bool, int, float, str, type(None))


def encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    """`value` as JSON holds it, its arrays in `arrays`, numbered.

    Raises:
        TypeError: something else than numbers, texts, arrays, and lists, tuples and dicts of them.
    """
    if isinstance(value, np.generic | np.ndarray):
        arrays.append(np.asarray(value))
        return {"array": len(arrays) - 1, "scalar": isinstance(value, np.generic)}
    if isinstance(value, _PLAIN):
        return value
    if type(value) in (list, tuple):
        return {type(value).__name__: [encoded(item, arrays) for item in value]}
    if type(value) is dict:
        return {"dict": [[encoded(key, arrays), encoded(item, arrays)] for key, item in value.items()]}
    raise TypeError(f"Nothing that is written down: {type(value).__name__}")


def decoded(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """What `encoded` was given; `arrays` by their numbers."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        found = arrays[str(value["array"])]
        return found[()] if value["scalar"] else found
    if "dict" in value:
        return {decoded(key, arrays): decoded(item, arrays) for key, item in value["dict"]}
    if "tuple" in value:
        return tuple(decoded(item, arrays) for item in value["tuple"])
    return [decoded(item, arrays) for item in value["list"]]


def remembered(thing: Any, arrays: list[np.ndarray]) -> dict[str, Any]:
    """The attributes of `thing` that can be written down, by name; others are left out: models, functions, datasets."""
    found = {}
    for name, value in vars(thing).items():
        own: list[np.ndarray] = []
        try:
            encoded(value, own)
        except TypeError:
            continue
        found[name] = encoded(value, arrays)
    return found


def remind(thing: Any, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Sets the attributes that `remembered` found."""
    for name, value in state.items():
        setattr(thing, name, decoded(value, arrays))
