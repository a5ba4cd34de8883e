"""The contract of a stage: what a bottom, a trunk and a head must say of themselves for `tfmtl.models.build`.

A stage is a Keras layer. It needs no base class of ours: a layer of your own that has the attributes below is a stage. A
bottom that gives all tasks one tensor, a trunk that adds the shared stream to every task's, and a head:

>>> import keras
>>> from tfmtl import Categorical, Schema, Task, build
>>> from tfmtl.layers import FeatureEmbedding
>>> class Fields(keras.layers.Layer):
...     task_specific = False
...     shared_specific = False
...
...     def __init__(self, schema):
...         super().__init__(name="bottom")
...         self.features, self.tasks = schema.features, schema.task_names
...         self.embed = FeatureEmbedding(schema.features)
...
...     def call(self, encoded):
...         x = keras.ops.concatenate(list(self.embed(encoded).values()), axis=-1)
...         return dict.fromkeys([*self.tasks, "shared"], x)
>>> class Sum(keras.layers.Layer):
...     reads_own = True
...     reads_shared = True
...
...     def call(self, streams):
...         return {task: x + streams["shared"] for task, x in streams.items() if task != "shared"}
>>> class Probabilities(keras.layers.Layer):
...     def __init__(self, schema):
...         super().__init__(name="head")
...         self.kinds = {task.name: task.kind for task in schema.tasks}
...         self.dense = {task: keras.layers.Dense(1, "sigmoid", dtype="float32") for task in self.kinds}
...
...     def call(self, streams):
...         return {task: dense(streams[task]) for task, dense in self.dense.items()}
>>> schema = Schema([Categorical("city", num_ids=100), Categorical("item", num_ids=100)], [Task("click"), Task("buy")])
>>> model = build(schema, Fields(schema), Sum(name="trunk"), Probabilities(schema))
>>> sorted(model.output)
['buy', 'click']
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from tfmtl.schema import Feature
from tfmtl.typing import Encoded, Predictions, Streams, TaskKind


class Stage(Protocol):
    """What all stages have."""

    @property
    def name(self) -> str:
        """The name by which `model.get_layer` finds the stage; no column and no other stage of a model may have it."""


@runtime_checkable
class Bottom(Stage, Protocol):
    """Turns encoded columns into a stream for every task and the shared one.

    Beside these it may give side streams (`tfmtl.typing.SIDE_STREAMS`), for heads that are `ReadsSideStreams`.

    The two flags tell `build` what would be lost under a trunk that reads only some of the streams. Both are False
    where all streams are one tensor.
    """

    @property
    def features(self) -> Iterable[Feature]:
        """The features that it was made for, those of the schema, encoded or not."""

    @property
    def tasks(self) -> Iterable[str]:
        """Names of the tasks that it makes streams for."""

    @property
    def task_specific(self) -> bool:
        """Whether a task's stream holds what the shared stream does not."""

    @property
    def shared_specific(self) -> bool:
        """Whether the shared stream holds what no task's stream does."""

    def __call__(self, encoded: Encoded) -> Streams:
        """The streams `{task: (B, D_task), ..., "shared": (B, D_shared)}`."""


@runtime_checkable
class Trunk(Stage, Protocol):
    """Turns streams into streams of the same tasks.

    Where the flags say that a trunk passes over what only some streams hold, `build` sets these streams beside its
    output. A trunk that has gates is `Gated` too; one that shows its experts beside them, to `tfmtl.analysis.diagnose` and
    `plot_gates`, has `mixtures` (`tfmtl.typing.MixesExperts`).
    """

    @property
    def reads_own(self) -> bool:
        """Whether a task's output depends on the task's own stream, by more than the weights of a gate."""

    @property
    def reads_shared(self) -> bool:
        """Whether a task's output depends on the shared stream, by more than the weights of a gate."""

    def __call__(self, streams: Streams) -> Streams:
        """The streams `{task: (B, D_task)}`."""


@runtime_checkable
class Gated(Protocol):
    """Mixes candidates by weights that can be looked at."""

    def gates(self, streams: Streams) -> Any:
        """The mixing weights `{stream: (B, candidates)}`, which sum to 1; only of streams that have a gate.

        A trunk of several levels gives a list of such dicts, one a level, and a tree a dict of them, one a node.
        """


@runtime_checkable
class Head(Stage, Protocol):
    """Turns streams into predictions."""

    @property
    def kinds(self) -> Mapping[str, TaskKind]:
        """`{task: its kind}` of the tasks that it predicts."""

    def __call__(self, streams: Streams) -> Predictions:
        """The predictions `{task: (B, task.output.width)}`, float32: a probability for a binary task, a value for a regression."""


@runtime_checkable
class ReadsSideStreams(Protocol):
    """A head that reads side streams of the bottom beside the trunk's output, which `build` hands to it."""

    @property
    def side_streams(self) -> tuple[str, ...]:
        """Their names, among `tfmtl.typing.SIDE_STREAMS`."""


def check_stage(argument: str, stage: Any, contract: type) -> None:
    """Raises ValueError unless `stage` keeps its contract, with what it lacks.

    Args:
        argument: the name under which the stage was given.
        stage: what was given.
        contract: `Bottom`, `Trunk` or `Head`.
    """
    if isinstance(stage, contract):
        return
    members = [name for cls in contract.__mro__ for name, member in vars(cls).items() if isinstance(member, property)]
    lacking = sorted(name for name in {*members, "__call__"} if not hasattr(stage, name))
    raise ValueError(
        f"`{argument}` must be a layer with all attributes of `tfmtl.stages.{contract.__name__}`. "
        f"Received: {type(stage).__name__}, which lacks {lacking}"
    )
