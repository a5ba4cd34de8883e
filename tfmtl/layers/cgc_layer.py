"""Customized gate control: task-specific experts, shared experts, and gates that mix them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_count, check_dropout, check_option, check_units
from tfmtl.initializers import fresh
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.experts import Experts
from tfmtl.layers.fast.cgc import Cell, reads_one_input, serve_one_input, train_cell
from tfmtl.layers.gate import Gate
from tfmtl.layers.stream_checks import check_streams, task_names
from tfmtl.layers.weighted_sum import weighted_sum
from tfmtl.typing import SHARED, Mixture, Streams, Tensor

GateInput: TypeAlias = Literal["task", "sum", "concat"]
CrossTask: TypeAlias = Literal["none", "detached", "full"]


@register_layer
class CGCLayer(keras.layers.Layer):
    """Mixes every task's own experts with the shared experts, in each task's own way.

    ```
    E_k = [E_{k,1}(x_k); ...; E_{k,m_k}(x_k)]           the experts of a task k, or of "shared": (B, m_k, U)
    S_k = [E_k; E_shared]                               what task k selects from: its own experts, then the shared ones
    S_shared = [E_1; ...; E_K; E_shared]                what the shared stream selects from: everybody's
    w_k = softmax(W_k x_k)                              a weight for each of them
    y_k = w_k S_k = sum_i w_{k,i} S_{k,i}
    ```

    One layer is the cell of five papers: `(num_task_experts, num_shared_experts)` of `(0, 1)` is a shared bottom, `(0, n)`
    MMoE, `(n, 0)` single-task models, `(n, m)` CGC and, stacked, PLE; `cross_task="detached"` with `gate_input="sum"` is
    STEM-Net's all-forward task-specific-backward gate. A stream with one candidate passes it on and has no gate.

    A training step takes the same numbers from fewer products (`fast/cgc.py`).

    Args:
        units: width of an expert, or the widths of its layers.
        num_task_experts: experts that each task owns.
        num_shared_experts: experts that belong to no task.
        gate_units: hidden layers of the gates; the papers of PLE and MMoE have none.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
        gate_use_bias: whether gates have a bias; the papers' formula has none, Tencent's code has one.
        cross_task: whether a task also reads other tasks' experts: `"none"`, `"detached"` (forward only: its loss does
            not reach them) or `"full"`.
        shared_stream_stop_specific: stop the gradient from the shared stream to task experts. The shared stream of
            STEM's code does not, so over several layers a task's loss leaks into other tasks' experts and tables.
        update_shared: whether to return the shared stream. The last level has no reader for it and leaves it out.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`. `"shared"` may be left out if nothing reads it.

    Output shape:
        `{task: (B, units[-1]), ...}`, with `"shared"` if `update_shared`.

    Raises:
        ValueError: no expert at all, no unit, `dropout` outside [0, 1), an unknown option, streams without a task, without
            `"shared"` where it is read, or of different widths where they are added.

    Example:

    >>> import keras
    >>> from tfmtl.layers import CGCLayer
    >>> x = keras.random.normal((8, 100))
    >>> streams = {"click": x, "buy": x, "shared": x}
    >>> y = CGCLayer(32, num_task_experts=2, num_shared_experts=2)(streams)
    >>> {name: tuple(stream.shape) for name, stream in sorted(y.items())}
    {'buy': (8, 32), 'click': (8, 32), 'shared': (8, 32)}

    Inside a model, two levels of PLE:

    >>> y = CGCLayer(16, update_shared=False)(y)

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, equations 2 to 7. The paper leaves the shared
        gate's selector open; here it is the shared stream. Ma et al., "Modeling Task Relationships in Multi-task Learning
        with Multi-gate Mixture-of-Experts", KDD 2018. Su et al., "STEM", AAAI 2024, arXiv:2308.13537, whose running code
        sums task and shared embedding at the gate where its figure shows the task's alone: `gate_input`.
    """

    def __init__(
        self,
        units: int | Sequence[int],
        *,
        num_task_experts: int = 2,
        num_shared_experts: int = 2,
        gate_units: Sequence[int] = (),
        gate_input: GateInput = "task",
        gate_use_bias: bool = False,
        cross_task: CrossTask = "none",
        shared_stream_stop_specific: bool = False,
        update_shared: bool = True,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_task_experts = check_count("num_task_experts", num_task_experts, least=0)
        self.num_shared_experts = check_count("num_shared_experts", num_shared_experts, least=0)
        if not num_task_experts + num_shared_experts:
            raise ValueError("`num_task_experts` or `num_shared_experts` must be >= 1. Received: 0 and 0")
        check_option("gate_input", gate_input, GateInput)
        check_option("cross_task", cross_task, CrossTask)
        check_dropout(dropout)
        self.units = check_units("units", units, least=1)
        self.gate_units = check_units("gate_units", gate_units)
        self.gate_input = gate_input
        self.gate_use_bias = gate_use_bias
        self.cross_task = cross_task
        self.shared_stream_stop_specific = shared_stream_stop_specific
        self.update_shared = update_shared
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    @property
    def reads_own(self) -> bool:
        """Whether a task's output depends on experts that read the task's own stream."""
        return self.num_task_experts > 0

    @property
    def reads_shared(self) -> bool:
        """Whether experts read the shared stream."""
        return self.num_shared_experts > 0

    @property
    def needs_shared(self) -> bool:
        """Whether a task's output depends on the shared stream, be it through experts or through its gate."""
        gated = self.num_task_experts + self.num_shared_experts > 1 or self.cross_task != "none"
        return self.reads_shared or (gated and self.gate_input != "task")

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.tasks = task_names(input_shape, needs_shared=self.needs_shared or self.update_shared)
        self.experts, self.mixers = {}, {}
        for stream in self._sources():
            self.experts[stream] = Experts(
                self.num_shared_experts if stream == SHARED else self.num_task_experts,
                self.units,
                activation=self.activation,
                dropout=self.dropout,
                kernel_initializer=fresh(self.kernel_initializer, stream),
                dtype=self.dtype_policy,
                name=f"{stream}_experts",
            )
            self.experts[stream].build(input_shape[stream])
        for stream in self._readers():
            num = sum(self.experts[source].num for source in self.candidates(stream))
            if num > 1:
                gate = self._gate(num, f"{stream}_gate")
                gate.build(self._selector_shape(stream, input_shape))
                self.mixers[stream] = gate
        self.built = True

    def _gate(self, num: int, name: str) -> Any:
        """What gives `num` candidates their weights."""
        return Gate(num, units=self.gate_units, use_bias=self.gate_use_bias, name=name, dtype=self.dtype_policy)

    def _sources(self) -> tuple[str, ...]:
        """The streams that own experts."""
        return (self.tasks if self.num_task_experts else ()) + ((SHARED,) if self.num_shared_experts else ())

    def _readers(self) -> tuple[str, ...]:
        """The streams that come out."""
        return self.tasks + ((SHARED,) if self.update_shared else ())

    def candidates(self, stream: str) -> tuple[str, ...]:
        """The streams whose experts `stream` reads, in the order of its gate's weights."""
        if stream == SHARED or self.cross_task != "none":
            return self._sources()
        return tuple(source for source in self._sources() if source in (stream, SHARED))

    def _detached(self, stream: str) -> frozenset[str]:
        """The streams among those candidates whose experts get no gradient from `stream`."""
        stops = self.shared_stream_stop_specific if stream == SHARED else self.cross_task == "detached"
        return frozenset(self.candidates(stream)) - {stream, SHARED} if stops else frozenset()

    def _selector_shape(self, stream: str, input_shape: Mapping[str, Any]) -> tuple[int | None, ...]:
        batch, width = input_shape[stream]
        if stream != SHARED and self.gate_input != "task":
            shared = input_shape[SHARED][-1]
            if self.gate_input == "concat":
                return (batch, width + shared)
            if width != shared:
                raise ValueError(
                    f"gate_input='sum' adds streams of one width. Received: {stream}={width}, {SHARED}={shared}. "
                    "Use gate_input='concat'."
                )
        return (batch, width)

    def _selectors(self, streams: Streams) -> Streams:
        """What gates read, the paper's selectors, for each stream that has one."""
        return {stream: self._selector(stream, streams) for stream in self.mixers}

    def _selector(self, stream: str, streams: Streams) -> Tensor:
        if stream == SHARED or self.gate_input == "task":
            return streams[stream]
        pair = [streams[stream], streams[SHARED]]
        return ops.concatenate(pair, axis=-1) if self.gate_input == "concat" else pair[0] + pair[1]

    def gates(self, streams: Streams) -> Streams:
        """The mixing weights `{stream: (B, E)}`, in the order of `candidates(stream)`; only streams that have a gate."""
        return {stream: self.mixers[stream](x) for stream, x in self._selectors(streams).items()}

    def mixtures(self, streams: Streams) -> list[Mixture]:
        """What the experts give and the gates make of it, to be looked at (`tfmtl.typing.MixesExperts`)."""
        experts = {source: layer(streams[source]) for source, layer in self.experts.items()}
        gates = self.gates(streams)
        return [Mixture(self.name, experts, gates, {stream: self.candidates(stream) for stream in gates})]

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        check_streams(self, streams)
        cell, selectors = self._cell(), self._selectors(streams)
        if training:
            return train_cell(cell, streams, selectors)
        if reads_one_input(cell, streams, selectors):
            return serve_one_input(cell, streams[next(iter(self.experts))])
        experts = {source: layer(streams[source]) for source, layer in self.experts.items()}  # E_k
        weights = {stream: self.mixers[stream](x) for stream, x in selectors.items()}  # w_k
        mixed = {}
        for stream in self._readers():
            selected = self._selected(stream, experts)  # S_k
            mixed[stream] = weighted_sum(weights[stream], selected) if stream in weights else selected[0][:, 0]  # y_k
        return mixed

    def _selected(self, stream: str, experts: Mapping[str, Tensor]) -> list[Tensor]:
        """The experts that `stream` selects from, a block for each stream that owns them."""
        detached = self._detached(stream)
        return [
            ops.stop_gradient(experts[source]) if source in detached else experts[source]
            for source in self.candidates(stream)
        ]

    def _cell(self) -> Cell:
        """The same in the words of `train_cell`."""
        readers = self._readers()
        candidates = {stream: self.candidates(stream) for stream in readers}
        detached = {stream: self._detached(stream) for stream in readers}
        return Cell(self.experts, self.mixers, candidates, detached)

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        tasks = task_names(input_shape, needs_shared=False)
        check_streams(self, input_shape)
        readers = (*tasks, SHARED) if self.update_shared else tasks
        return dict.fromkeys(readers, (input_shape[tasks[0]][0], self.units[-1]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": list(self.units),
            "num_task_experts": self.num_task_experts,
            "num_shared_experts": self.num_shared_experts,
            "gate_units": list(self.gate_units),
            "gate_input": self.gate_input,
            "gate_use_bias": self.gate_use_bias,
            "cross_task": self.cross_task,
            "shared_stream_stop_specific": self.shared_stream_stop_specific,
            "update_shared": self.update_shared,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
