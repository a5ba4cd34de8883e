"""What a worker sends in a training step of several workers, read off the step's own graph.

    python benchmarks/step_traffic.py     # the PLE of docs/scale.md; its tables in Markdown, after half a minute
    python benchmarks/step_traffic.py --balancer CAGrad

Under `MultiWorkerMirroredStrategy` all that workers tell each other in a step are collective operations of the graph that `fit`
runs. Two workers, processes of this machine, trace it; each collective is listed with what a worker gives to it and with what
asks for it. How that grows with the workers follows from what a ring does: a sum sends `2 (n - 1) / n` times what a worker
gives, a gather `n - 1` times.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WORKERS = (2, 4, 8, 16, 32, 64)
ROWS, FEATURES, WIDTH = 2048, 20, 16  # of a worker's batch; ids of a row; of a table

# What asks for a collective, by a function among those that led to it.
ASKS = {
    "all_reduce_indexed_slices": "rows of tables",
    "_all_reduce_sum_fn": "dense gradients",
    "result": "metrics",
    "reduce_per_replica": "metrics",
    "get_next": "is there a batch",
    "batch_all_reduce": "losses and balancers",  # what asks for a sum over replicas by itself
}
OTHERS = "something else"


@dataclass(frozen=True)
class Collective:
    """An operation in which all workers take part: what asks for it, and the bytes that each gives to it."""

    what: str
    gathers: bool
    size: int
    by_row: bool
    """Whether `size` is that of one row that was looked up: how many there are the graph does not know."""

    def sent(self, workers: int, rows: int) -> float:
        """Bytes that a worker sends to the next in a ring of so many, with so many rows of tables."""
        given = self.size * (rows if self.by_row else 1)
        return given * (workers - 1) * (1.0 if self.gathers else 2 / workers)


def collectives(function: Any) -> list[Collective]:
    """Those of a concrete function and of all that it calls, each as often as a step runs it."""
    graph = function.graph.as_graph_def(add_shapes=True)
    library = {each.signature.name: each for each in graph.library.function}
    shapes, found = _shapes(graph.node), []
    for node in graph.node:
        callers = {frame.name for frame in function.graph.get_operation_by_name(node.name).traceback}
        what = next((what for name, what in ASKS.items() if name in callers), OTHERS)
        found += [Collective(what, *given) for given in _run(node, shapes, library)]
    return found


def _run(node: Any, shapes: Mapping[str, Any], library: Mapping[str, Any]) -> Iterator[tuple[bool, int, bool]]:
    """What a worker gives to the collectives among a node and the functions that it calls."""
    import tensorflow as tf

    if node.op.startswith("Collective"):
        name, *place = node.input[0].split(":")
        first, *rest = (dim.size for dim in shapes[name][int(place[-1]) if place else 0].dim)
        size = tf.dtypes.as_dtype(node.attr["T"].type).size
        for dim in rest if first < 0 else (first, *rest):
            size *= dim
        if not node.op.startswith(("CollectiveReduceV", "CollectiveGatherV")) or size < 0:
            raise ValueError(f"What a worker sends here is not known. Received: {node.op} of shape {(first, *rest)}")
        yield node.op.startswith("CollectiveGather"), size, first < 0
    called = {name: held.func.name for name, held in node.attr.items() if held.HasField("func")}
    called.pop("else_branch", None)  # of workers with unequally many rows, where all pad theirs to the most
    for function in (library[name] for name in called.values()):
        arguments = [arg.name for arg in function.signature.input_arg]
        inside = {
            arguments[i]: held.attr["_output_shapes"].list.shape for i, held in function.arg_attr.items()
        } | _shapes(function.node_def)
        for inner in function.node_def:
            yield from _run(inner, inside, library)


def _shapes(nodes: Any) -> dict[str, Any]:
    return {node.name: node.attr["_output_shapes"].list.shape for node in nodes}


def step(model: Any, dataset: Any) -> Any:
    """The concrete function that `fit` runs for a step of these data under the model's strategy, on tf_keras."""
    model.make_train_function()
    model.optimizer.build(model.trainable_variables)
    batches = iter(model.distribute_strategy.experimental_distribute_dataset(dataset))
    return model.train_tf_function.get_concrete_function(batches)


def traced(balancer: str) -> list[Collective]:
    """Of the example, in a process that `TF_CONFIG` makes a worker."""
    import numpy as np

    import tfmtl
    from tfmtl import Categorical, Schema, Task
    from tfmtl.training import balancing, strategy

    workers = strategy("multi_worker")
    schema = Schema(
        [Categorical(f"id_{i}", num_ids=1000, dim=WIDTH, dtype="int64") for i in range(FEATURES)],
        [Task("click", mean=0.1), Task("buy", mean=0.01)],
    )
    rows = {name: np.zeros(2 * ROWS, "int64") for name in (*schema.feature_columns, "click", "buy")}
    with workers.scope():
        model = tfmtl.models.ple(schema, units=(256, 256), num_task_experts=4, num_shared_experts=4, tower_units=(64,))
        model = balancing.balanced(model, getattr(balancing, balancer)()) if balancer else model
        model.compile(tfmtl.LazyAdam(), **tfmtl.objectives(schema.tasks))
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    data = tfmtl.read(rows, schema, batch_size=2 * ROWS, shard=(index, 2), encode=True)
    return collectives(step(model, data))


def given(found: list[Collective]) -> dict[str, tuple[int, int]]:
    """Bytes that a worker gives, by what asks for them: once, and once more for each row of a table."""
    kinds = [kind for kind in (*dict.fromkeys(ASKS.values()), OTHERS) if any(each.what == kind for each in found)]

    def size(kind: str, by_row: bool) -> int:
        return sum(each.size for each in found if each.what == kind and each.by_row == by_row)

    return {kind: (size(kind, False), size(kind, True)) for kind in kinds}


def page(found: list[Collective]) -> str:
    """What one worker gives, by what asks for it, and what it sends with more workers beside it."""
    lines = ["| | collectives | bytes a worker gives | for each row looked up |", "|---|---|---|---|"]
    for kind, (once, by_row) in given(found).items():
        count = sum(each.what == kind for each in found)
        lines.append(f"| {kind} | {count} | {once:,} | {by_row or ''} |")
    kinds = [kind for kind, size in given(found).items() if sum(size) > 50]  # all others send less than a line of text
    lines += ["", f"| workers | {' | '.join(kinds)} | all |", "|---" * (len(kinds) + 2) + "|"]
    for workers in WORKERS:
        sent = [sum(each.sent(workers, ROWS * FEATURES) for each in found if each.what == kind) for kind in kinds]
        lines.append(f"| {workers} | {' | '.join(f'{size / 1e6:.1f} MB' for size in (*sent, sum(sent)))} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--balancer", default="", help="a class of tfmtl.training.balancing")
    balancer = parser.parse_args().balancer
    if "TF_CONFIG" in os.environ:
        print(page(traced(balancer)))
        return 0
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    cluster = {"worker": [f"localhost:{each.getsockname()[1]}" for each in sockets]}
    for each in sockets:
        each.close()
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    configs = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(2)]
    processes = [
        subprocess.Popen([sys.executable, *sys.argv], env={**environment, "TF_CONFIG": config}, stdout=output)
        for config, output in zip(configs, (None, subprocess.DEVNULL), strict=True)
    ]
    return max(abs(process.wait()) for process in processes)


if __name__ == "__main__":
    sys.exit(main())
