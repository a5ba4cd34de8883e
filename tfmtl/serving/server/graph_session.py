"""A SavedModel in a TF1 session: what `tensorflow_model_server` itself runs.

The one place in the library that uses `tf.compat.v1`, because nothing else in TensorFlow's Python API behaves as the
real server does: `tf.saved_model.load` hides signatures, checks shapes, converts dtypes and reorders outputs, so
requests that production refuses would pass here and the other way round. The session feeds and fetches tensors by
their names in the graph, refuses a wrong dtype and gives the real server's messages. It is also the fastest way in:
a prepared callable (an underscored method of the session that Keras itself used for years) costs about a sixth of
calling a loaded signature function.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import message, text_format
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2, saved_model_pb2

from tfmtl.serving.server.servable import MAX_FILTERS
from tfmtl.serving.server.serving_error import Code, ServingError, invalid

_TAG = "serve"
_INIT = "__saved_model_init_op"
_OLD_INITS = ("saved_model_main_op", "legacy_init_op")


class GraphSession:
    """The MetaGraph tagged `serve` of a SavedModel, restored and ready to run.

    Like the real server, it takes a version without a `variables` folder for a model without variables: that loads,
    and each run then fails with FAILED_PRECONDITION.

    Args:
        path: Path. The version folder.

    Raises:
        ServingError: NOT_FOUND, no SavedModel or none for serving; DATA_LOSS, one that cannot be parsed.
        tf.errors.OpError, ValueError: the graph or its variables cannot be restored.
    """

    def __init__(self, path: Path) -> None:
        meta_graph = _read_meta_graph(path)
        graph = tf.Graph()
        with graph.as_default():
            tf.graph_util.import_graph_def(meta_graph.graph_def, name="")
        # The optimizer of graphs copies the functions of all signatures for each signature that it prepares, which grows with
        # their square; functions are optimised once more when they are first called, those that are called alone.
        rewriting = rewriter_config_pb2.RewriterConfig(disable_meta_optimizer=True)
        options = config_pb2.GraphOptions(rewrite_options=rewriting)
        config = config_pb2.ConfigProto(allow_soft_placement=True, graph_options=options)
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            _restore(self._session, meta_graph, path)
        except BaseException:
            self._session.close()
            raise
        self.signatures: dict[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)
        # Every distinct set of inputs and outputs prunes the graph anew.
        self._callable = functools.lru_cache(MAX_FILTERS)(self._make_callable)

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Feeds and fetches tensors by their names in the graph. Threads may share a session."""
        names = tuple(sorted(feeds))
        run = self._callable(names, tuple(fetches))
        try:
            found = run(*[feeds[name] for name in names])
        except UnicodeDecodeError as error:
            # TensorFlow quotes the bytes that it could not make sense of, and its Python side cannot read its own message.
            raise invalid(error.object.decode("utf-8", "backslashreplace")) from error
        # A scalar string comes as bare bytes; an array of dtype "S" would lose trailing zeros.
        return [np.array(value, object) if isinstance(value, bytes) else np.asarray(value) for value in found]

    def close(self) -> None:
        """Frees the graph and its variables. No run may be under way."""
        self._callable.cache_clear()
        self._session.close()

    def _make_callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Any:
        return self._session._make_callable_from_options(config_pb2.CallableOptions(feed=feeds, fetch=fetches))


def _read_meta_graph(path: Path) -> meta_graph_pb2.MetaGraphDef:
    binary, text = path / "saved_model.pb", path / "saved_model.pbtxt"
    try:
        if binary.exists():
            saved = saved_model_pb2.SavedModel.FromString(binary.read_bytes())
        elif text.exists():
            saved = text_format.Parse(text.read_text(encoding="utf-8"), saved_model_pb2.SavedModel())
        else:
            raise ServingError(Code.NOT_FOUND, f"Could not find saved_model.pb or saved_model.pbtxt in {path}")
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ServingError(Code.DATA_LOSS, f"Can't parse the SavedModel in {path}: {error}") from error
    for meta_graph in saved.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == {_TAG}:
            return meta_graph
    raise ServingError(Code.NOT_FOUND, f'{path} has no MetaGraph with the tag "{_TAG}" alone')


def _restore(session: Any, meta_graph: meta_graph_pb2.MetaGraphDef, path: Path) -> None:
    """Restores variables, then runs what initialises tables."""
    assets = {asset.tensor_info.name: str(path / "assets" / asset.filename) for asset in meta_graph.asset_file_def}
    saver = meta_graph.saver_def
    if saver.restore_op_name and (path / "variables" / "variables.index").exists():
        checkpoint = {saver.filename_tensor_name: str(path / "variables" / "variables")}
        session.run(saver.restore_op_name, {**assets, **checkpoint})
    init = _init_op(meta_graph)
    if init:
        session.run(init, assets)


def _init_op(meta_graph: meta_graph_pb2.MetaGraphDef) -> str:
    if _INIT in meta_graph.signature_def:
        return meta_graph.signature_def[_INIT].outputs[_INIT].name
    for name in _OLD_INITS:
        for node in meta_graph.collection_def[name].node_list.value:
            return node
    return ""
