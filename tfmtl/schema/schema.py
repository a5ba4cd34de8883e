"""Features and tasks together: all that a model, a reader and an export need to know."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tfmtl.schema.categorical import Categorical
from tfmtl.schema.features import Feature, feature_from_dict, feature_to_dict
from tfmtl.schema.names import check_distinct
from tfmtl.schema.numeric import Numeric
from tfmtl.schema.sequence import Sequence
from tfmtl.schema.target_rates import TargetRates
from tfmtl.schema.tasks import Task, task_to_dict
from tfmtl.schema.values import several


@dataclass(frozen=True)
class Schema:
    """The features that a model reads and the tasks that it predicts.

    Frozen and hashable; a JSON round trip gives an equal schema. What has to be learned from data (vocabularies, bins,
    means) is learned by `tfmtl.adapt`, which returns a new schema that holds it.

    Args:
        features: in any order; names and columns are distinct.
        tasks: at least one, distinct names.

    Raises:
        ValueError: two features, columns or tasks of one name; no feature or task; a label that is also a feature;
            features that share a table without agreeing on its ids and width.

    Example:

    >>> from tfmtl.schema import Categorical, Schema, Task
    >>> schema = Schema([Categorical("city", vocabulary=("Oslo", "Rome"))], [Task("click")])
    >>> Schema.from_json(schema.to_json()) == schema
    True
    """

    features: tuple[Feature, ...]
    tasks: tuple[Task, ...]

    def __init__(self, features: Iterable[Feature], tasks: Iterable[Task]):
        object.__setattr__(self, "features", several("features", features))
        object.__setattr__(self, "tasks", several("tasks", tasks))
        if not self.features or not self.tasks:
            raise ValueError(
                f"A schema needs one feature and one task or more. Received: {len(self.features)} features, {len(self.tasks)} tasks"
            )
        if not all(isinstance(task, Task) for task in self.tasks):
            raise ValueError(f"`tasks` must be `Task`s. Received: tasks={self.tasks!r}")
        check_features(self.features)
        check_distinct("task", self.task_names)
        taken = {*self.sources, *self.sources.values()}
        for task in self.tasks:
            label = task.columns[0]
            if label in taken:
                raise ValueError(
                    f"The label of task {task.name!r} is also a feature: it would predict itself. Received: label={label!r}"
                )

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, as declared."""
        return tuple(task.name for task in self.tasks)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """The raw columns that the features read."""
        return tuple(dict.fromkeys(column for feature in self.features for column in feature.columns))

    @property
    def sources(self) -> dict[str, str]:
        """What files call each raw column that the features read."""
        pairs = [pair for feature in self.features for pair in zip(feature.columns, feature.sources, strict=True)]
        return dict(pairs) | {column: source for column, source in pairs if column != source}

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The raw columns that labels and sample spaces read."""
        return tuple(dict.fromkeys(column for task in self.tasks for column in task.columns))

    @property
    def is_adapted(self) -> bool:
        """False while a feature has still to learn something from data."""
        return all(feature.is_adapted for feature in self.features)

    def task(self, name: str) -> Task:
        """The task called `name`; ValueError with the known names otherwise."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise ValueError(f"No such task. Received: name={name!r}; known: {list(self.task_names)}")

    def feature(self, name: str) -> Feature:
        """The feature called `name`; ValueError with the known names otherwise."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise ValueError(
            f"No such feature. Received: name={name!r}; known: {[feature.name for feature in self.features]}"
        )

    def with_tasks(self, names: Iterable[str]) -> "Schema":
        """The same features with only the named tasks, in the order asked for."""
        return replace(self, tasks=tuple(self.task(name) for name in several("names", names)))

    def to_json(self) -> str:
        """The schema as JSON text. Bytes of an id that are no UTF-8 stand there as JSON's own escapes, `\\udcff`."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)

    def to_dict(self) -> dict[str, Any]:
        """The schema as JSON types."""
        return {
            "features": [feature_to_dict(feature) for feature in self.features],
            "tasks": [task_to_dict(task) for task in self.tasks],
        }

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """The schema that `to_json` wrote."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> "Schema":
        """The schema that `to_dict` described."""
        return cls(
            [feature_from_dict(feature) for feature in description["features"]],
            [Task(**task) for task in description["tasks"]],
        )


def check_features(features: Iterable[Feature]) -> None:
    """Raises ValueError unless names and columns are distinct and shared tables agree."""
    features = tuple(features)
    for feature in features:
        if not isinstance(feature, Feature):
            raise ValueError(
                f"A feature is a `Categorical`, `Numeric`, `Sequence` or `TargetRates`. Received: {feature!r}"
            )
    check_distinct("feature", (feature.name for feature in features))
    histories = [feature for feature in features if isinstance(feature, Sequence)]
    made = [name for f in histories for name in (f.mask, f.encoded_weights) if name and name != f.weights]
    rates = [feature for feature in features if isinstance(feature, TargetRates)]
    columns = [column for feature in features if feature not in rates for column in feature.columns]
    check_distinct("column", columns + made + [feature.name for feature in rates])
    _check_rates(rates, features)
    _check_targets(features)
    first: dict[str, Categorical] = {}
    bins = {feature.name for feature in features if isinstance(feature, Numeric) and feature.transform == "buckets"}
    for table, field in table_readers(features):
        if table in bins:
            raise ValueError(f"{field.name!r} cannot share table {table!r}: that is the one of the bins of {table!r}.")
        other = first.setdefault(table, field)
        if _ids(other) != _ids(field):
            raise ValueError(
                f"{other.name!r} and {field.name!r} share table {table!r} and must agree on ids, width and `trainable`, and on the file of vectors. "
                f"Received: {_ids(other)} and {_ids(field)}"
            )


def _check_rates(rates: Iterable[TargetRates], features: Iterable[Feature]) -> None:
    """Raises ValueError unless rates read columns of ids, and as the other features read them."""
    readers = {
        column: feature for feature in features for column in feature.columns if not isinstance(feature, TargetRates)
    }
    for feature in rates:
        other = readers.get(feature.column, feature)
        if isinstance(other, (Numeric, Sequence)):
            raise ValueError(f"{feature.name!r} needs a column of ids, one a row. Received: column of {other.name!r}")
        if None not in (other.dtype, feature.dtype) and other.dtype != feature.dtype:
            raise ValueError(
                f"{feature.name!r} and {other.name!r} read column {feature.column!r} and must agree on its dtype. "
                f"Received: {feature.dtype} and {other.dtype}"
            )


def _check_targets(features: Iterable[Feature]) -> None:
    """Raises ValueError unless histories that attend to a target have one that is as wide as their events."""
    widths = {feature.name: feature.dim for feature in features if isinstance(feature, Categorical)}
    for feature in features:
        if isinstance(feature, Sequence) and feature.target:
            unknown = [name for name in feature.target if name not in widths]
            if unknown:
                raise ValueError(
                    f"`target` of {feature.name!r} must name `Categorical` features. Received: {unknown}; known: {sorted(widths)}"
                )
            event, target = sum(field.dim for field in feature.fields), sum(widths[name] for name in feature.target)
            if event != target:
                raise ValueError(
                    f"`target` of {feature.name!r} must be as wide as an event, whose fields have {event} numbers together. "
                    f"Received: target={feature.target}, {target} numbers"
                )


class Lookup(NamedTuple):
    """Ids that are looked up in a table.

    Args:
        column: which holds them.
        table: its name.
        field: what they are.
    """

    column: str
    table: str
    field: Categorical


def lookups(features: Iterable[Feature]) -> list[Lookup]:
    """Of every categorical feature and every field of a sequence."""
    found: list[Lookup] = []
    for feature in features:
        if isinstance(feature, Categorical):
            found.append(Lookup(feature.name, feature.table_name, feature))
        elif isinstance(feature, Sequence):
            found += [Lookup(feature.column(field), feature.table_name(field), field) for field in feature.fields]
    return found


def table_readers(features: Iterable[Feature]) -> list[tuple[str, Categorical]]:
    """`(table, field)` for every categorical feature and every field of a sequence."""
    return [(table, field) for _, table, field in lookups(features)]


def _ids(field: Categorical) -> dict[str, Any]:
    """What readers of one table must agree on."""
    names = ("vocabulary", "num_ids", "hash_buckets", "min_count", "dim", "dtype", "trainable", "embedding")
    return {name: getattr(field, name) for name in names}
