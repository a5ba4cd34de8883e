"""What all bottoms have in common."""

from collections.abc import Iterable
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.field_interactions import FieldInteractions
from tfmtl.schema import Feature, Numeric
from tfmtl.schema import Sequence as History
from tfmtl.schema.names import check_distinct
from tfmtl.stages.bottoms.side_streams import SideStreams
from tfmtl.typing import SHARED


class Representation(keras.layers.Layer):
    """A bottom: reads the encoded dict, gives a stream to every task and the shared one.

    Args:
        tasks: names of the tasks.
        name: of the layer.

    Raises:
        ValueError: no task, or one given twice.
    """

    task_specific = False
    """Whether a task's stream holds what the shared one does not."""

    shared_specific = False
    """Whether the shared stream holds what no task's stream does."""

    embed: Any
    """The layer that looks the features up."""

    side: SideStreams
    """What it gives beside the streams of the tasks."""

    def __init__(self, tasks: Iterable[str], *, name: str = "bottom", **kwargs: Any):
        # The embedding layers cast; ids and NaN must reach them as they are.
        super().__init__(autocast=False, name=name, **kwargs)
        self.tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
        if not all(isinstance(task, str) for task in self.tasks):
            raise ValueError(f"`tasks` must be names, such as `schema.task_names`. Received: tasks={self.tasks}")
        check_distinct("task", self.tasks)
        if not self.tasks or SHARED in self.tasks:
            raise ValueError(f"`tasks` needs one name or more, and none is {SHARED!r}. Received: tasks={self.tasks}")

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features that it reads, as the model sees them."""
        return tuple(self.embed.features)

    @property
    def embedded(self) -> tuple[str, ...]:
        """The fields of a row that have embeddings: ids, bins, pooled histories, numbers with `dim`."""
        found: list[str] = []
        for feature in self.features:
            if isinstance(feature, History):
                found += feature.id_columns
            elif not isinstance(feature, Numeric) or feature.dim:
                found.append(feature.name)
        return tuple(found)

    @property
    def main_streams(self) -> tuple[str, ...]:
        """Names of the streams that a trunk reads."""
        return (*self.tasks, SHARED)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of all streams that come out."""
        return (*self.main_streams, *self.side.names)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        return {**config, "tasks": list(self.tasks), **self.side.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Representation":
        layers = [keras.saving.deserialize_keras_object(each) for each in config.get("interactions", ())]
        return cls(**{**config, "interactions": layers})


def total_width(shapes: Iterable[tuple[int | None, ...]]) -> int:
    """The width of fields `(B, D_f)` side by side."""
    return sum(int(shape[-1] or 0) for shape in shapes)


def interactions_of(streams: Iterable[str], layers: Iterable[Any], policy: Any) -> dict[str, FieldInteractions]:
    """For every stream its own copies of layers over its fields; nothing without layers."""
    given = tuple(layers)
    return {
        stream: FieldInteractions(given, dtype=policy, name=f"{stream}_interactions")
        for stream in (streams if given else ())
    }


def interactions_config(interactions: Iterable[FieldInteractions]) -> dict[str, Any]:
    """The part of a bottom's config that holds its layers over fields: of all copies that there are, those of one."""
    return {"interactions": next((each.get_config()["layers"] for each in interactions), [])}


def embedding_config(embed: keras.layers.Layer) -> dict[str, Any]:
    """The part of a bottom's config that describes its embedding layer."""
    config = embed.get_config()
    return {key: config[key] for key in ("features", "embeddings_initializer", "embeddings_regularizer")}
