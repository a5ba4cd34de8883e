"""Training on two replicas, and on two machines, equals training on one device; strategies that cannot work are refused.

Every strategy gets a process of its own: their collectives do not share one.
"""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import ROOT, run_fresh

from tfmtl.keras_host import LEGACY
from tfmtl.training import strategy

HOSTS = {"keras3": {"TF_USE_LEGACY_KERAS": "0"}, "tf_keras": {"TF_USE_LEGACY_KERAS": "1"}}

# Batches of 8 rows over two replicas: every label of `click` on the first one, a batch without any label of `sale`, and
# last batches that split unevenly: 3 rows into 2 and 1, 1 row into 1 and 0.
TRAIN = """
import numpy as np
import tensorflow as tf
from training.models import SCHEMA, batches, rows, small_model
from tfmtl.keras_host import keras
from tfmtl.schema import Task
from tfmtl.training import Validation, objectives

TASKS = [Task("sale", weight_decay=0.7), Task("click", weight=0.5), Task("price", "regression", weight=0.1)]

def data(count):
    x, y = rows(count)
    y["click"][np.arange(count) % 8 >= 4] = np.nan
    y["sale"][8:16] = np.nan
    return batches(x, y, 8)

def train(strategy, *datasets, steps=None):
    keras.utils.set_random_seed(7)
    with strategy.scope():
        optimizer = keras.optimizers.SGD(0.05)
        model = small_model()
        model.compile(optimizer, **objectives(TASKS, optimizer=optimizer, decay_steps=6))
    logs = []
    for d in datasets:
        validation = Validation(d, SCHEMA, group="user")
        logs.append(model.fit(d.repeat() if steps else d, steps_per_epoch=steps, verbose=0, callbacks=[validation]).history)
    logs.append(model.evaluate(datasets[-1], verbose=0, steps=steps, return_dict=True))
    return logs, model.get_weights()

def assert_equal(got, wanted):
    for ours, theirs in zip(got[0], wanted[0], strict=True):
        assert set(ours) == set(theirs)
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-4, atol=1e-5, err_msg=name)
    for ours, theirs in zip(got[1], wanted[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-5)
"""


@pytest.mark.keras3
@pytest.mark.parametrize("host", HOSTS)
def test_two_replicas_equal_one_device(host):
    """Losses, metrics, exact validation figures and weights after SGD, which are gradients added up."""
    run_fresh(
        TRAIN
        + """
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for count, split in [(43, (2, 1)), (41, (1, 0))]:
    *_, last = two.experimental_distribute_dataset(data(count))
    assert tuple(len(part) for part in two.experimental_local_results(last[0]["a"])) == split
assert_equal(train(two, data(43), data(41)), train(one, data(43), data(41)))
""",
        env=HOSTS[host],
    )


@pytest.mark.keras3
@pytest.mark.parametrize("host", HOSTS)
def test_from_rows_to_weights_on_two_replicas(host):
    """All that a schema can hold, read, encoded and fitted: strings, numbers with gaps, a history with its mask."""
    run_fresh(
        """
import numpy as np
import tensorflow as tf
import tfmtl
from tfmtl import Categorical, Numeric, Schema, Sequence, Task
from tfmtl.keras_host import keras

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
rows = 44
log = {
    "city": rng.choice(["Oslo", "Rome", ""], rows),
    "age": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows)),
    "seen_item": rng.integers(-1, 5, (rows, 4)),
    "click": (rng.random(rows) < 0.5) * 1.0,
    "buy": np.where(rng.random(rows) < 0.5, np.nan, 1.0 * (rng.random(rows) < 0.5)),
}
items = Sequence("seen", [Categorical("item", num_ids=5, dim=4)], length=3)
schema = Schema([Categorical("city", vocabulary="adapt", dim=4), Numeric("age"), items], [Task("click"), Task("buy")])
schema = tfmtl.adapt(schema, tfmtl.read(log, schema, batch_size=8))
data = tfmtl.read(log, schema, batch_size=8).map(tfmtl.Preprocessor(schema.features))

def train(strategy):
    keras.utils.set_random_seed(7)
    with strategy.scope():
        model = tfmtl.models.ple(schema, units=(6, 5), tower_units=(4,))
        model.compile(keras.optimizers.SGD(0.1), **tfmtl.objectives(schema.tasks))
    model.fit(data, epochs=2, verbose=0)
    return model.evaluate(data, verbose=0, return_dict=True), model.get_weights()

one, two = train(tf.distribute.get_strategy()), train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
for name in one[0]:
    np.testing.assert_allclose(two[0][name], one[0][name], rtol=2e-4, atol=1e-5, err_msg=name)
for ours, theirs in zip(two[1], one[1], strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-5)
""",
        env=HOSTS[host],
    )


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def part(cluster, role, index):
    """The environment of one process of a cluster on this machine."""
    config = {"cluster": cluster, "task": {"type": role, "index": index}}
    return {"TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1", "TF_CONFIG": json.dumps(config)}


@pytest.mark.keras3
@pytest.mark.slow
def test_two_machines_equal_one():
    """tf_keras under MultiWorkerMirroredStrategy: each worker takes its half of every batch. `test_workers.py` has shards, and is quick."""
    script = (
        TRAIN
        + """
from tfmtl.training import strategy

workers = strategy("multi_worker")
assert workers.num_replicas_in_sync == 2
options = tf.data.Options()
options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
got = train(workers, data(43).with_options(options))
with tf.distribute.OneDeviceStrategy("CPU:0").scope():
    wanted = train(tf.distribute.get_strategy(), data(43))
assert_equal(got, wanted)
"""
    )
    cluster = {"worker": [f"localhost:{free_port()}", f"localhost:{free_port()}"]}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda index: run_fresh(script, env=part(cluster, "worker", index), timeout=540), range(2)))


@pytest.mark.keras3
@pytest.mark.slow
def test_a_parameter_server_equals_one_device():
    """tf_keras under ParameterServerStrategy; with one worker the steps come in order."""
    script = (
        TRAIN
        + """
from tfmtl.training import strategy

got = train(strategy("parameter_server"), data(43), steps=6)
assert_equal(got, train(tf.distribute.get_strategy(), data(43), steps=6))
"""
    )
    cluster = {role: [f"localhost:{free_port()}"] for role in ("chief", "worker", "ps")}
    paths = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    # A process of their own instead of a fork: they never end by themselves.
    others = [
        subprocess.Popen([sys.executable, "-c", script], env={**os.environ, **paths, **part(cluster, role, 0)})
        for role in ("worker", "ps")
    ]
    try:
        run_fresh(script, env=part(cluster, "chief", 0), timeout=540)
    finally:
        for process in others:
            process.kill()


@pytest.mark.skipif(not LEGACY, reason="Keras 3 does not support it")
def test_refuses_parameter_servers_that_nobody_named(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=r"name the addresses of each chief and worker and ps. Received: \[\]"):
        strategy("parameter_server")


@pytest.mark.skipif(not LEGACY, reason="Keras 3 does not support it")
def test_refuses_workers_that_nobody_named(monkeypatch):
    """Each machine would train by itself."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=r"name the addresses of each worker. Received: \[\]"):
        strategy("multi_worker")


def test_default_and_auto():
    import tensorflow as tf

    assert strategy(None) is tf.distribute.get_strategy()
    gpus = len(tf.config.get_visible_devices("GPU"))
    assert isinstance(strategy("auto"), tf.distribute.MirroredStrategy) == (gpus > 1)


@pytest.mark.parametrize(
    ("cluster", "chosen", "why"),
    [
        ({"worker": ["a:1", "b:1"]}, "multi_worker", "TF_CONFIG names 2 workers"),
        (
            {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"]},
            "parameter_server",
            "TF_CONFIG names 1 parameter servers",
        ),
        ({"worker": ["a:1"]}, None, "TensorFlow sees 0 GPUs"),
    ],
)
def test_auto_reads_the_cluster_and_says_so(cluster, chosen, why, monkeypatch, caplog):
    import tensorflow as tf

    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}))
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [])
    for made in ("_multi_worker", "_parameter_server"):
        monkeypatch.setattr(f"tfmtl.training.distribution.{made}", lambda made=made: made[1:])
    with caplog.at_level("INFO", "tfmtl"):
        if chosen and not LEGACY:
            with pytest.raises(ValueError, match=f"TF_USE_LEGACY_KERAS=1.*name='{chosen}'"):
                strategy()
        else:
            assert strategy() == (chosen or tf.distribute.get_strategy())
    assert [record.getMessage() for record in caplog.records] == [f"strategy {chosen or 'None, one device'}: {why}"]


@pytest.mark.skipif(not LEGACY, reason="Keras 3 does not support it")
def test_says_that_workers_come_first(monkeypatch):
    import tensorflow as tf

    def late(**options):
        raise RuntimeError("Collective ops must be configured at program startup")

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", late)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}')
    with pytest.raises(RuntimeError, match=r"before `adapt`, `read`.*Received: Collective ops"):
        strategy("multi_worker")


def test_refuses_an_unknown_name():
    with pytest.raises(ValueError, match=r"'parameter_server'\)\. Received: name='horovod'"):
        strategy("horovod")


@pytest.mark.skipif(LEGACY, reason="tf_keras supports them")
@pytest.mark.parametrize("name", ["multi_worker", "parameter_server"])
def test_refuses_what_keras_3_does_not_train(name):
    with pytest.raises(ValueError, match=f"TF_USE_LEGACY_KERAS=1.*name='{name}'"):
        strategy(name)


def test_sees_only_devices_that_are_visible(monkeypatch):
    import tensorflow as tf

    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [])
    assert strategy("auto") is tf.distribute.get_strategy()


def test_auto_with_devices_is_mirrored(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda **options: options)
    assert strategy("auto", devices=["CPU:0"]) == {"devices": ["CPU:0"]}


@pytest.mark.parametrize(("name", "options"), [(None, {"devices": ["CPU:0"]}), ("auto", {"cross_device_ops": None})])
def test_drops_no_options(name, options, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [])
    with pytest.raises(ValueError, match=f"default strategy takes no options. Received: .*{next(iter(options))}"):
        strategy(name, **options)
