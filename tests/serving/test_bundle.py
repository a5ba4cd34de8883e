"""An exported version answers as the model does, wherever it is loaded."""

import numpy as np
import tensorflow as tf

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting import export


def test_serving_default_equals_predict(model, schema, rows, tmp_path):
    folder = export(model, tmp_path / "ranker", schema, examples=rows)
    assert folder == tmp_path / "ranker" / "1"
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    expected = model.predict(Preprocessor(schema.features)(rows), verbose=0)
    raw = {
        name: tf.constant(column, Preprocessor(schema.features).raw_signature[name].dtype)
        for name, column in rows.items()
    }
    for task, answer in served(**raw).items():
        np.testing.assert_allclose(answer, expected[task], atol=1e-6)
