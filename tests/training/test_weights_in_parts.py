"""Models whose weights parameter servers hold in parts: their files are those of one device, and load anywhere."""

import pytest
from harness import run_fresh

pytestmark = pytest.mark.keras3  # the process of theirs chooses tf_keras by itself

# A cluster within one process: what is tested is where weights lie, not who takes steps.
SCRIPT = """
import json, os, socket, sys
import h5py
import numpy as np
import tensorflow as tf
import tfmtl
from tfmtl import Categorical, Numeric, Schema, Task
from tfmtl.keras_host import keras

folder, fitted = sys.argv[1], sys.argv[2] == "fitted"

def address():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"

cluster = {"worker": [address()], "ps": [address(), address()], "chief": [address()]}
servers = [
    tf.distribute.Server(tf.train.ClusterSpec(cluster), job_name=role, task_index=index, protocol="grpc")
    for role in ("worker", "ps") for index in range(len(cluster[role]))
]
os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}})
halves = tf.distribute.experimental.partitioners.FixedShardsPartitioner(2)
parts, one = tfmtl.strategy("parameter_server", variable_partitioner=halves), tf.distribute.OneDeviceStrategy("CPU:0")

# 21 rows: two parts of unequal length.
schema = Schema(
    [Categorical("user", num_ids=20, dim=2, dtype="int64"), Numeric("a", transform=None, flag_missing=False)],
    [Task("click", mean=0.5)],
)
OPTIMIZERS = {
    "lazy": lambda: tfmtl.LazyAdam(0.01),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "split": lambda: tfmtl.optimizer(embeddings=tfmtl.optimizers.RowWiseAdagrad(0.05), dense=keras.optimizers.Adam(0.02)),
}

def made(kind, seed):
    keras.utils.set_random_seed(seed)
    model = tfmtl.models.single_task(schema, units=(4,), tower_units=())
    model.compile(OPTIMIZERS[kind](), **tfmtl.objectives(schema.tasks))
    model.optimizer.build(model.trainable_variables)
    for variable in held(model)[1:]:
        if variable.dtype.is_floating:
            variable.assign(tf.random.uniform(variable.shape))
    return model

def held(model):
    '''Weights and slots, without a look at how files are written: the whole that a part knows, once.'''
    found = {}
    for variable in model.weights:
        whole = variable._sharded_container() if hasattr(variable, "_sharded_container") else variable
        found[id(whole)] = whole
    return [*found.values(), *model.optimizer.variables]

def assert_same(model, other):
    ours, theirs = held(model), held(other)
    assert len(ours) == len(theirs)
    for mine, their in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.numpy(), their.numpy())

def layout(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: getattr(item, "shape", None)}))
    return {name: shape for name, shape in found.items() if not name.startswith("metrics")}  # which come with the first step

def write(model, name):
    model.save(f"{folder}/{name}.keras")
    model.save_weights(f"{folder}/{name}.weights.h5")
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(f"{folder}/{name}/checkpoint")

def assert_reads(name, kind, wanted):
    assert_same(keras.models.load_model(f"{folder}/{name}.keras"), wanted)
    model = made(kind, seed=8)
    model.load_weights(f"{folder}/{name}.weights.h5")
    assert_same(model, wanted)
    model = made(kind, seed=9)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).read(f"{folder}/{name}/checkpoint").assert_consumed()
    assert_same(model, wanted)

for kind in OPTIMIZERS if fitted else ["lazy"]:
    with parts.scope():
        model = made(kind, seed=1)
    assert any("part_1" in variable.name for variable in model.weights)
    if fitted:
        rows = {"user": np.arange(64) % 23, "a": np.linspace(0, 1, 64, dtype="float32")}
        rows |= {"click": np.arange(64) % 3 // 2 * 1.0}
        batch = next(iter(tfmtl.read(rows, schema, batch_size=64, encode=True)))
        model.fit(tf.data.Dataset.from_tensors(batch).repeat(), steps_per_epoch=4, verbose=0)
    write(model, "parts")
    assert len([name for name in os.listdir(f"{folder}/parts") if ".data-" in name]) == 3  # of the chief and two servers
    with one.scope():
        assert_reads("parts", kind, model)
        whole = keras.models.load_model(f"{folder}/parts.keras")
        write(whole, "whole")
    assert layout(f"{folder}/parts.weights.h5") == layout(f"{folder}/whole.weights.h5")
    with parts.scope():
        assert_reads("whole", kind, model)
    x = {"user": np.arange(4, dtype="int32"), "a": np.zeros(4, "float32")}
    np.testing.assert_allclose(whole(x)["click"], model(x)["click"], rtol=1e-6)

try:
    model.save(f"{folder}/folder")
except ValueError as error:
    assert "loads nowhere" in str(error)
else:
    raise AssertionError("a folder was written")
"""


@pytest.mark.parametrize("how", ["built", pytest.param("fitted", marks=pytest.mark.slow)])
def test_files_of_weights_in_parts_are_those_of_one_device(how, tmp_path):
    """Before a step, with one optimizer; after steps, so that metrics lie in parts too, with three."""
    run_fresh(SCRIPT, tmp_path, how, env={"TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1"}, timeout=540)
