"""Visits while `fit` runs: figures for TensorBoard, a page, and the weights from before."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from patients import SCHEMA, made, new_model

from tfmtl.analysis.doctor import Checkup
from tfmtl.keras_host import keras


def scalars(folder):
    """`{name: {step: value}}` of what TensorBoard would show."""
    found = {}
    for file in folder.glob("events.*"):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    return found


def test_visits_every_other_epoch_and_the_last(tmp_path):
    pytest.importorskip("tensorboard")
    train, valid = made(1024, 1), made(1024, 2)
    model = new_model()
    model.optimizer.learning_rate = 1e-6  # nothing moves
    checkup = Checkup(
        valid.batches(), SCHEMA, train=train.batches(), every=2, log_dir=tmp_path / "logs", html=tmp_path / "page.html"
    )
    history = model.fit(train.batches(256), epochs=3, verbose=0, callbacks=[checkup]).history
    assert sorted(checkup.diagnoses) == [1, 2] and checkup.last is checkup.diagnoses[2]
    assert "still_embeddings" in {each.name for each in checkup.last}
    logged = scalars(tmp_path / "logs")
    assert set(logged["diagnose/auc/click"]) == {1, 2}
    assert logged["diagnose/findings/warning"][2] == sum(each.severity == "warning" for each in checkup.last)
    assert logged["diagnose/cosine/click/buy"][2] == pytest.approx(
        checkup.last.measurements["cosine/click/buy"], rel=1e-5
    )
    assert "still_embeddings" in (tmp_path / "page.html").read_text()
    assert np.isfinite(history["loss"]).all() and checkup._history["loss"] == history["loss"]


def test_without_tensorboard_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'tfmtl\[tensorboard\]'"):
        Checkup(made(8, 0).batches(), SCHEMA, log_dir=tmp_path)
    with pytest.raises(ValueError, match="`every` must be an integer >= 1"):
        Checkup(made(8, 0).batches(), SCHEMA, every=0)
    assert isinstance(Checkup(made(8, 0).batches(), SCHEMA), keras.callbacks.Callback)
