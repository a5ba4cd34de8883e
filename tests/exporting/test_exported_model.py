"""A loaded version says what it lacks, and knows what may be left out."""

import numpy as np
import pytest


def test_an_unknown_signature_is_named(loaded, rows):
    with pytest.raises(ValueError, match=r"`signature` must be one of \['buy', .*'rank'.*Received: signature='rnk'"):
        loaded(rows, "rnk")


def test_a_missing_column_is_named(loaded, rows):
    rows = {name: column for name, column in rows.items() if name not in ("age", "item")}
    with pytest.raises(ValueError, match=r"every input of 'click', \['age', .*Received: .*without \['age', 'item'\]"):
        loaded(rows, "click")


def test_an_input_with_a_default_may_be_left_out(loaded, rows):
    one = {name: column[:1] for name, column in rows.items()}
    weights = {"click_weight": np.ones(1, np.float32), "buy_weight": np.full(1, 0.5, np.float32)}  # as exported
    np.testing.assert_array_equal(loaded(one, "rank")["score"], loaded({**one, **weights}, "rank")["score"])
    other = loaded({**one, "buy_weight": np.full(1, 2.0, np.float32)}, "rank")["score"]
    assert not np.allclose(other, loaded(one, "rank")["score"], rtol=1e-3)
