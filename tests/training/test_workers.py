"""Several workers, each with its shard of the rows, train as one process would over the same global batches."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fresh import run_forked
from harness import ROOT

pytestmark = pytest.mark.keras3  # each process of theirs chooses tf_keras by itself

# Labels of `sale` are in the first shard alone; with 43 rows shards are unequal, and last batches split unevenly.
WORKER = """
import json, os, sys
import numpy as np
import tensorflow as tf
import tfmtl
from training.models import rows
from tfmtl import Categorical, Numeric, Schema, Task
from tfmtl.keras_host import keras
from tfmtl.training import BestCheckpoint, Resume, Validation, objectives, strategy
from tfmtl.training.balancing import CAGrad, balanced

folder, options = sys.argv[1], json.loads(sys.argv[2])
workers = strategy("multi_worker")
config = json.loads(os.environ["TF_CONFIG"])
index, count = config["task"]["index"], len(config["cluster"]["worker"])
assert workers.num_replicas_in_sync == count

x, y = rows(43)
y["sale"][20:] = np.nan
table = {**x, "user": x["user"].astype("int64"), **y}
TASKS = [Task("sale", weight_decay=0.7), Task("click", weight=0.5), Task("price", "regression", weight=0.1)]
plain = {"transform": None, "flag_missing": False}
features = [Numeric("b", **plain), Numeric("a", **plain), Categorical("user", num_ids=20, dim=2, dtype="int64")]
schema = Schema(features, TASKS)
whole = tfmtl.read(table, schema, batch_size=16, encode=True)
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "adam": lambda: keras.optimizers.Adam(0.02),
    "lazy": lambda: tfmtl.LazyAdam(0.02),
    "rows": lambda: tfmtl.optimizers.RowWiseAdagrad(0.05),
    "split": lambda: tfmtl.optimizer(embeddings=tfmtl.optimizers.RowWiseAdagrad(0.05), dense=keras.optimizers.Adam(0.02)),
}


def made(kind, balancer=None, regularizer=None, **how):
    keras.utils.set_random_seed(7)
    model = tfmtl.models.shared_bottom(schema, units=(6,), tower_units=(4,), embeddings_regularizer=regularizer)
    model = model if balancer is None else balanced(model, balancer)
    optimizer = OPTIMIZERS[kind]()
    model.compile(optimizer, **objectives(TASKS, optimizer=optimizer, decay_steps=6), **how)
    return model


def global_batches():
    '''What all workers read at each step, one after the other.'''
    parts = []
    for i in range(count):
        mine = []
        for batch in tfmtl.read(table, schema, batch_size=8, shard=(i, count), encode=True):
            size = int(batch[1]["click"].shape[0])
            piece = -(-size // count)
            mine += [tf.nest.map_structure(lambda v: v[k : k + piece], batch) for k in range(0, size, max(piece, 1))]
        parts.append(mine)
    steps = [[part[step] for part in parts if step < len(part)] for step in range(max(map(len, parts)))]
    steps = [tf.nest.map_structure(lambda *vs: tf.concat(vs, 0), *step) for step in steps]
    spec = tf.nest.map_structure(lambda v: tf.TensorSpec((None,), v.dtype), steps[0])
    batches = tf.data.Dataset.from_generator(lambda: iter(steps), output_signature=spec)
    return batches.apply(tf.data.experimental.assert_cardinality(len(steps)))


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-4, atol=1e-5, err_msg=name)


mine = tfmtl.read(table, schema, batch_size=8, shard=(index, count), encode=True)
sums = []
for kind in options["optimizers"]:
    balancer = CAGrad() if options.get("balanced") else None
    with workers.scope():
        model = made(kind, balancer)
    stop = keras.callbacks.EarlyStopping("val_click_auc", mode="max", patience=5)
    keep = BestCheckpoint("val_click_auc", ["val_sale_auc"], tolerance=1.0, filepath=f"{folder}/best.keras", restore_best_weights=False)
    callbacks = [Validation(whole, schema), stop, keep]
    resume = [Resume(f"{folder}/{kind}", callbacks, save_freq=2)] if options.get("resume") else []
    history = model.fit(mine, epochs=2, verbose=0, callbacks=[*callbacks, *resume]).history
    figures = model.evaluate(mine, verbose=0, return_dict=True)
    weights = model.get_weights()
    sums.append([float(weight.sum()) for weight in weights])
    if index == 0:  # what the others end with is in `sums`
        with tf.distribute.OneDeviceStrategy("CPU:0").scope():
            alone = made(kind, CAGrad() if balancer else None, run_eagerly=True)  # tracing takes longer than these few steps
        wanted = alone.fit(global_batches(), epochs=2, verbose=0, callbacks=[Validation(whole, schema)]).history
        assert model.optimizer.iterations.numpy() == alone.optimizer.iterations.numpy()
        assert_equal(history, wanted)
        assert_equal(figures, alone.evaluate(global_batches(), verbose=0, return_dict=True))
        for got, weight in zip(weights, alone.get_weights(), strict=True):
            np.testing.assert_allclose(got, weight, rtol=1e-5, atol=1e-6)

model.save(f"{folder}/model.keras")
model.save_weights(f"{folder}/model.weights.h5")
if options.get("export"):
    tfmtl.export(model if balancer is None else model.plain(), f"{folder}/served", schema)
told = {"figures": figures, "sums": sums, "index": index, "weights": [(v.name, v.shape.num_elements()) for v in model.trainable_variables]}
if options.get("traffic"):
    from step_traffic import collectives, given, step

    with workers.scope():
        dense = made("lazy", regularizer="l2")  # whose table's gradient is as large as the table
    told |= {"sent": given(collectives(step(model, mine))), "sent_dense": given(collectives(step(dense, mine)))}
print(json.dumps(told, default=float))
"""


# The second worker is lost: killed as a system without memory kills it, or refused more memory in the middle of a step.
LOSES_ONE = """
import json, os, resource, signal, sys
import numpy as np
import tfmtl
from tfmtl import Categorical, Schema, Task
from tfmtl.keras_host import keras
from tfmtl.training import Resume, objectives, strategy

folder, fault = sys.argv[1:]
keras.utils.set_random_seed(7)
workers = strategy("multi_worker")
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
table = {"user": np.arange(64), "click": np.arange(64) % 3 // 2 * 1.0}
schema = Schema([Categorical("user", num_ids=64, dim=2, dtype="int64")], [Task("click", mean=0.5)])
rows = tfmtl.read(table, schema, batch_size=8, shuffle=True, shard=(index, 2), encode=True)

class Fault(keras.callbacks.Callback):
    trained = 0

    def on_train_batch_end(self, batch, logs=None):
        self.trained += 1
        if index == 1 and self.trained == 13:
            if fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "out of memory":
                resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))

with workers.scope():
    model = tfmtl.models.single_task(schema, units=(4,), tower_units=())
    model.compile(tfmtl.LazyAdam(0.02), **objectives(schema.tasks))
model.fit(rows, epochs=3, verbose=0, callbacks=[Resume(f"{folder}/run", save_freq=3), Fault()])
if index == 0:
    np.savez(f"{folder}/weights.npz", *model.get_weights(), *(v.numpy() for v in model.optimizer.variables))
"""


def free_ports(count):
    opened = [socket.socket() for _ in range(count)]
    for each in opened:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in opened]
    for each in opened:
        each.close()
    return ports


def environment(cluster, role, index):
    """Of one process of a cluster on this machine."""
    config = {"cluster": cluster, "task": {"type": role, "index": index}}
    return {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "benchmarks"))),
        "TF_USE_LEGACY_KERAS": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CONFIG": json.dumps(config),
    }


def run_workers(count, script, *arguments, timeout=540):
    """Runs `script` in so many workers; returns exit code, output and errors of each."""
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(count)]}
    with ThreadPoolExecutor(count) as pool:
        return list(
            pool.map(
                lambda index: run_forked(
                    script, list(map(str, arguments)), environment(cluster, "worker", index), timeout
                ),
                range(count),
            )
        )


def train(count, folder, **options):
    """Runs `WORKER`; all must succeed, with the same figures and weights. Returns what one of them tells."""
    done = run_workers(count, WORKER, folder, json.dumps(options))
    for code, printed, errors in done:
        assert code == 0, f"{printed}\n{errors[-6000:]}"
    told = [json.loads(printed.splitlines()[-1]) for _, printed, _ in done]
    assert sorted(each["index"] for each in told) == list(range(count))
    assert all(each["figures"] == told[0]["figures"] and each["sums"] == told[0]["sums"] for each in told)
    return told[0]


def test_two_workers_with_shards_equal_one_process(tmp_path):
    """The chief alone writes what all save and export, and a step sends what `docs/scale.md` reckons with."""
    told = train(2, tmp_path, optimizers=["lazy"], export=True, traffic=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.keras",
        "best.keras.json",
        "model.keras",
        "model.weights.h5",
        "served",
    ]
    assert [path.name for path in (tmp_path / "served").iterdir() if path.name.isdigit()] == ["1"]
    sent, planted, weights = told["sent"], told["sent_dense"], told["weights"]
    (table,) = (4 * size for name, size in weights if "table" in name)
    dense = 4 * sum(size for name, size in weights) - table
    assert sent["rows of tables"] == [4, 2 * 4 + 4]  # their number; of each row its two weights and where it lies
    assert sent["dense gradients"] == [dense, 0]
    assert sent["losses and balancers"] == [3 * 2 * 4, 0]
    # Two areas under the curve, read once; of other metrics a few sums.
    assert 0 <= sent["metrics"][0] - 2 * 2 * 16_384 * 8 < 500 and sent["metrics"][1] == 0
    assert set(sent) - set(planted) == {"rows of tables"} and not set(planted) - set(sent)
    assert planted["dense gradients"] == [dense + table, 0]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["killed", "out of memory"])
def test_a_lost_worker_is_named_and_all_go_on_after_a_restart(fault, tmp_path):
    (_, _, errors), lost = run_workers(2, LOSES_ONE, tmp_path, fault, timeout=300)
    assert "Worker 1 at localhost:" in errors and "no longer answers" in errors, errors[-6000:]
    assert lost[0] != 0 and not (tmp_path / "weights.npz").exists()
    assert len(list((tmp_path / "run").glob("checkpoint-*"))) == 2
    whole = tmp_path / "whole"
    whole.mkdir()
    for folder in (tmp_path, whole):
        for code, _, errors in run_workers(2, LOSES_ONE, folder, "none"):
            assert code == 0, errors[-6000:]
    found, wanted = (np.load(folder / "weights.npz") for folder in (tmp_path, whole))
    for name in wanted.files:
        np.testing.assert_array_equal(found[name], wanted[name])


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_workers_with_every_optimizer_equal_one_process(count, tmp_path):
    train(count, tmp_path, optimizers=["sgd", "adam", "lazy", "rows", "split"])


@pytest.mark.slow
def test_the_page_says_what_a_step_of_its_example_sends():
    printed = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "step_traffic.py"],
        capture_output=True,
        text=True,
        timeout=540,
        check=True,
    )
    page = (ROOT / "docs" / "scale.md").read_text()
    lines = printed.stdout.split("\n")
    assert len(lines) > 12 and [line for line in lines if line not in page] == []


@pytest.mark.slow
def test_workers_that_balance_their_tasks_equal_one_process(tmp_path):
    train(2, tmp_path, optimizers=["sgd"], balanced=True, resume=True)
