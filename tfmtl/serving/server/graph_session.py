"""A SavedModel in a TF1 session: what `tensorflow_model_server` itself runs.

The one place in the library that uses `tf.compat.v1`, because nothing else in TensorFlow's Python API behaves as the
real server does: `tf.saved_model.load` hides signatures, checks shapes, converts dtypes and reorders outputs, so
requests that production refuses would pass here and the other way round. The session feeds and fetches tensors by
their names in the graph, refuses a wrong dtype and gives the real server's messages. It is also the fastest way in:
a prepared callable (an underscored method of the session that Keras and TensorFlow themselves have used for years)
costs about a sixth of calling a loaded signature function.
"""

import contextlib
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

_v1 = tf.compat.v1

_SERVE = "serve"  # the tag of the MetaGraph that servers load

# Every distinct set of inputs and outputs prunes the graph anew; clients choose the outputs, so keep a bounded number.
_MAX_CALLABLES = 256


class GraphSession:
    """The MetaGraph tagged `serve` of a SavedModel, restored and ready to run.

    Args:
        path: Path. The version folder.

    Raises:
        OSError: no readable SavedModel.
        tf.errors.OpError: the graph or its variables cannot be restored.
    """

    def __init__(self, path: Path) -> None:
        graph = tf.Graph()
        with graph.as_default():
            self._session = _v1.Session(graph=graph, config=config_pb2.ConfigProto(allow_soft_placement=True))
            try:
                with _without_deprecation_advice():
                    meta_graph = _v1.saved_model.loader.load(self._session, [_SERVE], str(path))
            except BaseException:
                self._session.close()
                raise
        self.signatures: dict[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)
        self._callable = functools.lru_cache(_MAX_CALLABLES)(self._make_callable)

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Feeds and fetches tensors by their names in the graph. Threads may share a session."""
        names = tuple(sorted(feeds))
        return self._callable(names, tuple(fetches))(*[feeds[name] for name in names])

    def close(self) -> None:
        """Frees the graph and its variables. No run may be under way."""
        self._callable.cache_clear()
        self._session.close()

    def _make_callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Any:
        return self._session._make_callable_from_options(config_pb2.CallableOptions(feed=feeds, fetch=fetches))


@contextlib.contextmanager
def _without_deprecation_advice() -> Iterator[None]:
    """Drops TensorFlow's advice to use `tf.saved_model.load` instead: see above why not."""

    def wanted(record: logging.LogRecord) -> bool:
        return "deprecated" not in record.getMessage()

    logger = tf.get_logger()
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)
