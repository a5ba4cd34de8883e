"""Rounding is told from a wrong graph, in both directions."""

import json

import numpy as np
import pytest

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting import rank_signature as rank_module
from tfmtl.exporting.compared_batches import compared_batches
from tfmtl.exporting.export import export
from tfmtl.exporting.graph import user_once_rules
from tfmtl.exporting.graph.user_once import UserOnce
from tfmtl.exporting.model_card import CARD_JSON
from tfmtl.exporting.parity import ParityError, answered_batches, check_parity
from tfmtl.exporting.rank_signature import rank_signature
from tfmtl.exporting.rounding import Rounding
from tfmtl.exporting.saved_model import write_saved_model
from tfmtl.exporting.traced_model import trace_model
from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.models import ple
from tfmtl.schema import Categorical, Schema, Task

SCHEMA = Schema(
    [Categorical(f"{side}{i}", num_ids=100, dim=8, side=side) for side in ("user", "item") for i in range(6)],
    [Task("click"), Task("watch", "regression"), Task("stay", "regression")],
)
UNITS = {"watch": 1e3, "stay": 1e6}
"""Regressions in seconds, say, and in microseconds."""


@pytest.fixture(scope="module")
def model():
    """Its predictions are large, and sums of terms that cancel."""
    keras.utils.set_random_seed(5)
    model = ple(SCHEMA, units=((32, 16), (16,)), num_task_experts=1, num_shared_experts=1, tower_units=(8,))
    rng = np.random.default_rng(5)
    for weight in model.trainable_variables:
        path = getattr(weight, "path", weight.name)
        weight.assign(weight * 1.5 + 0.1 * rng.normal(size=weight.shape))
        for task, unit in UNITS.items():
            if f"{task}_tower" in path and weight.shape[-1] == 1:
                weight.assign(weight * unit)
    return model


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return {feature.name: rng.integers(0, 100, 256) for feature in SCHEMA.features}


@pytest.fixture
def compare(model, rows, tmp_path):
    """What comparing `rank` with the model finds, the rank of the module's functions as they are by then."""

    def compare(tolerance=None):
        preprocessor = Preprocessor(SCHEMA.features)
        traced = trace_model(model, inputs_by_name(model), preprocessor, SCHEMA.task_names)
        built = rank_signature(traced, SCHEMA)
        write_saved_model(tmp_path / "1", {"rank": built}, traced.function.variables, (preprocessor, model))
        batches = compared_batches(rows, SCHEMA, traced.function.graph, tolerance)
        asked = {"rank": built.served}
        answered = answered_batches(batches, asked, lambda rows: model(preprocessor(rows)))
        rounding = None if tolerance is not None else lambda: Rounding(traced)
        return check_parity(tmp_path / "1", asked, answered, rounding)["rank"]

    return compare


def test_what_rounding_does_to_large_numbers_is_no_fault(compare, monkeypatch):
    asked, original = [], Rounding.__call__
    monkeypatch.setattr(Rounding, "__call__", lambda self, rows: asked.append(id(rows)) or original(self, rows))
    assert compare() > 1e-6  # more than any difference that is allowed unasked
    assert len(asked) == len(set(asked)) > 0  # for all tasks at once


class SwappedHeads(UserOnce):
    def compute(self, outputs):
        answers = super().compute(outputs)
        return answers | {"watch": answers["stay"], "stay": answers["watch"]}


class SwappedColumns(UserOnce):
    def __init__(self, traced, user, candidates):
        super().__init__(traced, user, candidates | {"item1": candidates["item2"], "item2": candidates["item1"]})


class AnotherRow(UserOnce):
    """One of the user's columns comes from the second candidate."""

    def __init__(self, traced, user, candidates):
        super().__init__(traced, user | {"user3": candidates["item3"][1:2]}, candidates)


@pytest.mark.parametrize("wrong", [SwappedHeads, SwappedColumns, AnotherRow])
def test_a_wrong_graph_is_refused_and_called_one(compare, monkeypatch, wrong):
    monkeypatch.setattr(rank_module, "UserOnce", wrong)
    with pytest.raises(ParityError, match=r"'rank' differs .* Rounding explains .* computes something else"):
        compare()


def test_a_lost_bias_is_refused(compare, monkeypatch):
    def without(copy, op, inputs):
        return inputs[0] if isinstance(inputs[0], user_once_rules.ShiftedRows) else None

    for name in ("Add", "AddV2", "BiasAdd"):
        monkeypatch.setitem(user_once_rules.RULES, name, without)
    with pytest.raises(ParityError, match="computes something else"):
        compare()


def test_what_may_be_rounding_says_how_to_accept_it(compare, monkeypatch):
    monkeypatch.setattr(
        Rounding, "__call__", lambda self, rows: dict.fromkeys(SCHEMA.task_names, np.full((256, 1), 1e-9))
    )
    monkeypatch.setattr("tfmtl.exporting.parity.WRONG", 1e9)
    with pytest.raises(ParityError, match=r"may still be rounding.*export with `tolerance=\d"):
        compare()


def test_a_stated_tolerance_is_what_counts(model, rows, compare, tmp_path):
    with pytest.raises(
        ParityError, match=r"by .*, tolerance 1e-09: [-\d.e]+ instead of [-\d.e]+ in row \d+ of those tried\.$"
    ):
        compare(1e-9)
    version = export(model, tmp_path / "ranker", SCHEMA, examples=rows, tolerance=1e-3)
    parity = json.loads((version / CARD_JSON).read_text())["parity"]
    assert parity["tolerance"] == 1e-3 and 1e-6 < parity["largest_difference"]["rank"] < 1e-3


@pytest.mark.parametrize("tolerance", [0, -1e-3, float("nan"), float("inf"), "1e-3"])
def test_a_tolerance_is_a_positive_number(model, tmp_path, tolerance):
    with pytest.raises(ValueError, match=r"`tolerance` must be a number > 0\. Received: tolerance="):
        export(model, tmp_path / "ranker", SCHEMA, tolerance=tolerance)
