"""Protos of the server's own files: two that no Python package ships, and of `ModelServerConfig` what names versions,
for exports without `tensorflow-serving-api`.

Described here field by field, in a pool of their own so that they never collide with generated modules. Text protos
depend on the names and types of the fields alone.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_PACKAGE = "tensorflow.serving"
_Field = descriptor_pb2.FieldDescriptorProto

_SCALARS = {"bool": _Field.TYPE_BOOL, "int64": _Field.TYPE_INT64, "string": _Field.TYPE_STRING}

_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "BatchingParameters": {
        "max_batch_size": (1, "google.protobuf.Int64Value"),
        "batch_timeout_micros": (2, "google.protobuf.Int64Value"),
        "max_enqueued_batches": (3, "google.protobuf.Int64Value"),
        "num_batch_threads": (4, "google.protobuf.Int64Value"),
        "thread_pool_name": (5, "google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, "repeated int64"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, "google.protobuf.BoolValue"),
        "max_execution_batch_size": (9, "google.protobuf.Int64Value"),
    },
    "SpecificVersions": {"versions": (1, "repeated int64")},
    "VersionPolicy": {"specific": (102, f"{_PACKAGE}.SpecificVersions")},
    "VersionLabel": {"key": (1, "string"), "value": (2, "int64")},
    "ModelConfig": {
        "model_version_policy": (7, f"{_PACKAGE}.VersionPolicy"),
        "version_labels": (8, f"repeated {_PACKAGE}.VersionLabel"),
    },
    "ModelConfigList": {"config": (1, f"repeated {_PACKAGE}.ModelConfig")},
    "ModelServerConfig": {"model_config_list": (1, f"{_PACKAGE}.ModelConfigList")},
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {"prometheus_config": (1, f"{_PACKAGE}.PrometheusConfig")},
}


def _describe() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="tfmtl/serving_configs.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = _Field.LABEL_REPEATED if kind.startswith("repeated ") else _Field.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            scalar = kind.removeprefix("repeated ")
            if scalar in _SCALARS:
                added.type = _SCALARS[scalar]
            else:
                added.type, added.type_name = _Field.TYPE_MESSAGE, "." + scalar
    pool.Add(file)
    return pool


_POOL = _describe()


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


BatchingParameters = _class("BatchingParameters")
"""What `--batching_parameters_file` holds. Most fields are wrappers: `max_batch_size { value: 128 }`."""

MonitoringConfig = _class("MonitoringConfig")
"""What `--monitoring_config_file` holds."""

ModelServerConfig = _class("ModelServerConfig")
"""What `--model_config_file` holds, as far as it names versions; other fields are unknown here."""
