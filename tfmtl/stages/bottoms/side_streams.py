"""What a bottom gives beside the streams of the tasks."""

from collections.abc import Iterable, Mapping
from typing import Any

from tfmtl.keras_host import ops
from tfmtl.layers.encoded_columns import check_columns
from tfmtl.layers.join_fields import join_fields
from tfmtl.schema import Categorical, Feature
from tfmtl.schema import Sequence as History
from tfmtl.typing import PRIOR, SCENARIO, Encoded, Streams, Tensor


class SideStreams:
    """The side streams of a bottom, from the fields that it has looked up anyway.

    ```
    prior    = [E_f for f in priors]                (B, sum D_f)
    scenario = one_hot(row of the id)               (B, P); row 0: unknown
    ```

    Args:
        features: of the bottom, encoded.
        priors: names of features that are no history; without any there is no such stream.
        scenario: name of the `Categorical` whose ids tell scenarios apart; None makes no such stream.

    Raises:
        ValueError: a name that is no feature of the kind.
    """

    def __init__(self, features: Iterable[Feature], *, priors: Iterable[str], scenario: str | None):
        by_name = {feature.name: feature for feature in features}
        self.priors = check_fields("priors", priors, by_name)
        self.scenario = scenario
        self.num_scenarios = 0
        if scenario is not None:
            feature = by_name.get(scenario)
            if not isinstance(feature, Categorical):
                known = sorted(name for name, each in by_name.items() if isinstance(each, Categorical))
                raise ValueError(
                    f"`scenario` must name a `Categorical` feature. Received: scenario={scenario!r}; known: {known}"
                )
            self.num_scenarios = feature.rows

    @property
    def names(self) -> tuple[str, ...]:
        """The streams that there are."""
        return ((PRIOR,) if self.priors else ()) + ((SCENARIO,) if self.scenario else ())

    def of(
        self, encoded: Encoded, fields: Mapping[str, Tensor], dtype: str, names: Iterable[str] | None = None
    ) -> Streams:
        """The streams of a batch, or those of `names`; for the priors `fields` holds the embedding of each, `(B, D_f)`."""
        wanted = self.names if names is None else set(names) & set(self.names)
        found: Streams = {}
        if PRIOR in wanted:
            found[PRIOR] = join_fields(fields[name] for name in self.priors)
        if SCENARIO in wanted and self.scenario is not None:
            check_columns([self.scenario], encoded)
            rows = ops.cast(encoded[self.scenario], "int32")
            known = ops.logical_and(rows > 0, rows < self.num_scenarios)
            found[SCENARIO] = ops.one_hot(ops.where(known, rows, 0), self.num_scenarios, dtype=dtype)
        return found

    def shapes(self, fields: Mapping[str, tuple[int | None, ...]]) -> dict[str, tuple[int | None, ...]]:
        """Of the streams, from those of the fields."""
        batch = next(iter(fields.values()))[0]
        found: dict[str, tuple[int | None, ...]] = {}
        if self.priors:
            found[PRIOR] = (batch, sum(fields[name][-1] or 0 for name in self.priors))
        if self.scenario is not None:
            found[SCENARIO] = (batch, self.num_scenarios)
        return found

    def get_config(self) -> dict[str, Any]:
        return {"priors": list(self.priors), "scenario": self.scenario}


def check_fields(argument: str, names: Iterable[str], features: Mapping[str, Feature]) -> tuple[str, ...]:
    """`names` as a tuple; raises ValueError unless each is the name of a feature that is no history, and given once."""
    given = (names,) if isinstance(names, str) else tuple(names)
    known = sorted(name for name, feature in features.items() if not isinstance(feature, History))
    if len(set(given)) < len(given) or not set(given) <= set(known):
        raise ValueError(
            f"`{argument}` must name features that are no history, each once. Received: {argument}={given}; known: {known}"
        )
    return given
