"""A SavedModel of signatures and what they read, and nothing else."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfmtl.exporting.built_signature import BuiltSignature
from tfmtl.exporting.graph.traced_function import taking_a_dict
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.keras_host import keras
from tfmtl.serving.protocol.contract import DEFAULT_SIGNATURE


def write_saved_model(
    folder: Path, signatures: Mapping[str, BuiltSignature], variables: Iterable[tf.Variable], owners: Iterable[Any]
) -> int:
    """Writes the signatures with the variables and lookup tables that they read; returns how many weights that is.

    Args:
        folder: where to write.
        signatures: by name.
        variables: those that may be read.
        owners: objects that own lookup tables, directly or not.

    Raises:
        ValueError: a signature reads what is neither among the variables nor owned by the owners.
    """
    handles = [handle for signature in signatures.values() for handle in signature.concrete.captured_inputs]
    read = {id(handle) for handle in handles}
    root = tf.Module()
    root.weights = [variable for variable in variables if id(variable.handle) in read]
    owners = [owner for owner in owners if isinstance(owner, (tf.Module, keras.layers.Layer))]
    owned = [node for owner in owners for node in tf.train.TrackableView(owner).descendants()]
    tables = {id(node): node for node in owned if id(getattr(node, "resource_handle", None)) in read}
    root.tables = list(tables.values())
    reached = {id(variable.handle) for variable in root.weights} | {id(table.resource_handle) for table in root.tables}
    if any(handle.dtype == tf.resource and id(handle) not in reached for handle in handles):
        raise ValueError(
            "A signature reads a lookup table or variable that cannot be found from the preprocessor or the model: what "
            "owns it must be a `tf.Module` or a Keras layer, and hold it as an attribute."
        )
    functions = {name: signature.concrete for name, signature in signatures.items()}
    if DEFAULT_SIGNATURE in functions:
        # As Keras's own exports have one: `keras.layers.TFSMLayer` gives it a dict of columns.
        root.serve = taking_a_dict(functions[DEFAULT_SIGNATURE])
    # Nobody trains what is served, and the gradients that some activations bring along, such as swish, do not survive a cut graph.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(root, str(folder), signatures=functions, options=options)
    return sum(variable.shape.num_elements() for variable in root.weights)


def write_defaults(folder: Path, signatures: Mapping[str, ServedSignature]) -> None:
    """Tells a server what stands for inputs that are left out.

    TensorFlow itself takes that from parameters of a Python function alone, whose names columns need not have.
    """
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for name, signature in signatures.items():
        definition = saved.meta_graphs[0].signature_def[name]
        for alias, value in signature.defaults.items():
            definition.defaults[alias].CopyFrom(tf.make_tensor_proto(value, definition.inputs[alias].dtype))
    file.write_bytes(saved.SerializeToString())
