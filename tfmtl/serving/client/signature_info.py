"""What a signature takes and gives, in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass

from tensorflow.core.protobuf import meta_graph_pb2

from tfmtl.serving.protocol.tensors import dtype_name


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature: TensorFlow's dtype, and a shape with None where any size goes."""

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class SignatureInfo:
    """The inputs and outputs of a signature, by name."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


def signature_info(signature: meta_graph_pb2.SignatureDef) -> SignatureInfo:
    """A SignatureDef in plain words."""
    return SignatureInfo(_infos(signature.inputs), _infos(signature.outputs))


def _infos(tensors: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, TensorInfo]:
    return {name: TensorInfo(dtype_name(info.dtype), shape_of(info)) for name, info in sorted(tensors.items())}


def shape_of(info: meta_graph_pb2.TensorInfo) -> tuple[int | None, ...] | None:
    """A tensor's shape, None for sizes that vary; None for a tensor of any rank."""
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
