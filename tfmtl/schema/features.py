"""What a model reads: frozen descriptions of columns, without weights or layers, also as JSON."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeAlias

from tfmtl.schema.categorical import Categorical
from tfmtl.schema.numeric import Numeric
from tfmtl.schema.sequence import Sequence
from tfmtl.schema.target_rates import TargetRates

Feature: TypeAlias = Categorical | Numeric | Sequence | TargetRates
_KINDS: dict[str, type[Any]] = {
    "categorical": Categorical,
    "numeric": Numeric,
    "sequence": Sequence,
    "target_rates": TargetRates,
}


def feature_to_dict(feature: Feature) -> dict[str, Any]:
    """`feature` as JSON types; defaults are left out."""
    kind = next(name for name, cls in _KINDS.items() if type(feature) is cls)
    given = {f.name: getattr(feature, f.name) for f in fields(feature) if getattr(feature, f.name) != f.default}
    if isinstance(feature, Sequence):
        given["fields"] = [feature_to_dict(field) for field in feature.fields]
    return {"kind": kind} | {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}


def feature_from_dict(description: Mapping[str, Any] | Feature) -> Feature:
    """The feature that `feature_to_dict` described; a feature is returned as it is."""
    if isinstance(description, Feature):
        return description
    arguments = dict(description)
    kind = arguments.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"A feature's `kind` must be one of {sorted(_KINDS)}. Received: kind={kind!r}")
    if kind == "sequence":
        arguments["fields"] = tuple(feature_from_dict(field) for field in arguments["fields"])
    return _KINDS[kind](**arguments)
