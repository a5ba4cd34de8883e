"""MaskedAUC against scikit-learn, where labels are rare, predictions extreme, and figures undefined."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tfmtl.keras_host import keras
from tfmtl.masked_rows import mask
from tfmtl.metrics import MaskedAUC

NAN = float("nan")


def streamed(labels, predictions, weights=None, batch=None, **options):
    metric = MaskedAUC(**options)
    batch = batch or len(labels)
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        metric.update_state(labels[part], predictions[part], None if weights is None else weights[part])
    return float(metric.result())


def rare(centre, spread, rows=200_000, share=0.003, shift=0.8):
    """Labels with `share` positives, and probabilities whose log-odds lie around `centre`, positives a bit higher."""
    rng = np.random.default_rng(3)
    labels = (rng.random(rows) < share).astype("float32")
    log_odds = rng.normal(centre, spread, rows) + shift * spread * labels
    return labels, (1 / (1 + np.exp(-log_odds))).astype("float32")


@pytest.mark.parametrize(
    ("centre", "spread"),
    [(0, 1), (-6, 1), (-9, 2), (-13, 0.5), (6, 1), (12, 1), (0, 4), (0, 0.1), (0, 0.02), (-9, 0.02)],
)
def test_agrees_with_sklearn_at_three_positives_in_a_thousand(centre, spread):
    labels, predictions = rare(centre, spread)
    assert streamed(labels, predictions, batch=2048) == pytest.approx(roc_auc_score(labels, predictions), abs=1e-3)


def test_agrees_on_tiny_probabilities():
    rng = np.random.default_rng(0)
    labels = (rng.random(100_000) < 0.003).astype("float32")
    predictions = 10 ** np.clip(rng.uniform(-6, -2, 100_000) + 0.8 * labels, -6, -2).astype("float32")
    for probabilities, truth in [(predictions, labels), (1 - predictions, 1 - labels)]:
        assert streamed(truth, probabilities) == pytest.approx(roc_auc_score(truth, probabilities), abs=1e-3)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.integers(1, 99), st.integers(0, 5)), min_size=2, max_size=60
    ),
    batch=st.integers(1, 60),
)
def test_equals_sklearn_where_predictions_lie_bins_apart(rows, batch):
    labels, percent, weights = np.array(rows, "float32").T
    predictions = percent / 100
    counted = ~np.isnan(labels) & (weights > 0)
    got = streamed(labels, predictions, weights, batch=batch)
    if len(set(labels[counted])) < 2:
        assert np.isnan(got)
    else:
        assert got == pytest.approx(
            roc_auc_score(labels[counted], predictions[counted], sample_weight=weights[counted]), abs=1e-6
        )


def test_ties_count_half():
    assert streamed([0.0, 1.0, 1.0, 0.0], [0.3, 0.3, 0.3, 0.3]) == 0.5
    assert streamed([0.0, 1.0, 1.0], [0.3, 0.3, 0.6]) == 0.75


def test_certain_predictions_have_bins_too():
    assert streamed([0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1e-12, 1.0]) == 1.0
    assert streamed([1.0, 0.0], [0.0, 1.0]) == 0.0


@pytest.mark.parametrize("labels", [[0.0, 0.0], [1.0, 1.0], [NAN, NAN], [1.0, NAN]])
def test_is_nan_where_undefined(labels):
    assert np.isnan(MaskedAUC().result())
    assert np.isnan(streamed(labels, [0.2, 0.7]))


@pytest.mark.parametrize("prediction", [NAN, -0.5, 1.5])
def test_does_not_hide_what_is_no_probability(prediction):
    assert np.isnan(streamed([0.0, 1.0, 1.0], [0.2, 0.7, prediction]))
    assert streamed([0.0, 1.0, NAN], [0.2, 0.7, prediction]) == 1.0


def test_weights_count_as_repetitions():
    labels, predictions = [0.0, 1.0, 0.0, 1.0], [0.1, 0.4, 0.35, 0.8]
    weights = np.array([1, 3, 2, 2])
    repeated = np.repeat(labels, weights), np.repeat(predictions, weights)
    assert streamed(labels, predictions, weights) == pytest.approx(streamed(*repeated), abs=1e-7)


def test_starts_again_after_reset():
    metric = MaskedAUC()
    metric.update_state([0.0, 1.0, 1.0], [0.9, 0.1, NAN])
    metric.reset_state()
    metric.update_state([0.0, 1.0], [[0.1], [0.9]])
    assert float(metric.result()) == 1.0


def test_counts_beyond_the_integers_of_float32():
    metric = MaskedAUC(num_bins=2)
    rows = 2**24
    metric.update_state([0.0, 1.0], [0.9, 0.9], [rows, 1])
    metric.update_state([0.0], [0.9], [1])
    assert int(np.asarray(metric.sums).max()) == rows + 1


def test_memory_is_what_the_docstring_says():
    for bins in (2, 16_384):
        assert sum(np.asarray(v).nbytes for v in MaskedAUC(bins).variables) == 16 * bins


def test_no_tensor_multiplies_batch_and_bins():
    """What a compiled update computes stays within the size of the batch and the bins together."""
    batch, bins = 512, 4096
    metric = MaskedAUC(bins)
    measure = tf.function(lambda labels, predictions: metric.measure(mask(labels, predictions)))
    graph = measure.get_concrete_function(tf.TensorSpec((batch,)), tf.TensorSpec((batch, 1))).graph
    sizes = [output.shape.num_elements() for op in graph.get_operations() for output in op.outputs]
    assert None not in sizes
    assert 2 * bins in sizes
    assert max(sizes) <= 2 * (batch + bins)


def test_config_round_trip():
    metric = keras.metrics.deserialize(keras.metrics.serialize(MaskedAUC(num_bins=64, name="mine")))
    assert (type(metric), metric.num_bins, metric.name) == (MaskedAUC, 64, "mine")


def test_refuses():
    with pytest.raises(ValueError, match="num_bins=1"):
        MaskedAUC(num_bins=1)
    with pytest.raises(ValueError, match=r"one column.*shape=\(2, 2\)"):
        MaskedAUC().update_state([0.0, 1.0], [[0.1, 0.2], [0.3, 0.4]])


@pytest.mark.parametrize("spread", [1e-4, 1e-3, 0.01, 0.5])
@pytest.mark.parametrize("num_bins", [64, 16_384])
def test_is_off_by_no_more_than_the_pairs_that_share_a_bin(spread, num_bins):
    labels, predictions = rare(-1, spread, share=0.3)
    metric = MaskedAUC(num_bins)
    metric.update_state(labels, predictions)
    negatives, positives = np.asarray(metric.sums)
    bound = (positives * negatives).sum() / (2 * positives.sum() * negatives.sum())
    assert abs(float(metric.result()) - roc_auc_score(labels, predictions)) <= bound + 1e-6
    assert bound <= max(positives) / positives.sum() / 2 + 1e-12
