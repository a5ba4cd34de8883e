"""A bundle says what it lacks, and knows what may be left out."""

import numpy as np
import pytest


def test_an_unknown_signature_is_named(bundle, rows):
    with pytest.raises(ValueError, match=r"`signature` must be one of \['buy', .*'rank'.*Received: signature='rnk'"):
        bundle(rows, "rnk")


def test_a_missing_column_is_named(bundle, rows):
    rows = {name: column for name, column in rows.items() if name not in ("age", "item")}
    with pytest.raises(ValueError, match=r"every input of 'click', \['age', .*Received: .*without \['age', 'item'\]"):
        bundle(rows, "click")


def test_an_input_with_a_default_may_be_left_out(bundle, rows):
    one = {name: column[:1] for name, column in rows.items()}
    weights = {"click_weight": np.ones(1, np.float32), "buy_weight": np.full(1, 0.5, np.float32)}  # as exported
    np.testing.assert_array_equal(bundle(one, "rank")["score"], bundle({**one, **weights}, "rank")["score"])
    other = bundle({**one, "buy_weight": np.full(1, 2.0, np.float32)}, "rank")["score"]
    assert not np.allclose(other, bundle(one, "rank")["score"], rtol=1e-3)
