"""What a bottom gives past the trunk: priors that steer towers, and scenarios that they tell apart."""

import numpy as np
import pytest

from tfmtl import (
    PLE,
    Categorical,
    Numeric,
    Schema,
    Sequence,
    SharedBottomRepresentation,
    STEMRepresentation,
    Task,
    build,
)
from tfmtl.models import pepnet, star, warm_start
from tfmtl.stages import PPNet, STARHead
from tfmtl.typing import PRIOR, SCENARIO

ITEM = Categorical("item", num_ids=6, dim=4)
TASKS = [Task("click", mean=0.3), Task("buy", mean=0.1)]
NAMES = ("click", "buy")
ROWS = {
    "tab": np.array([0, 1, 2, 3, 1, 2], "int32"),
    "item": np.array([1, 2, 3, 4, 5, 0], "int32"),
    "age": np.linspace(-1, 1, 6, dtype="float32"),
}


def features(tabs):
    return [Categorical("tab", vocabulary=tabs, dim=3), ITEM, Numeric("age", transform=None, dim=2)]


def shaken(model, seed=0):
    random = np.random.default_rng(seed)
    model.set_weights([w + random.uniform(-0.3, 0.3, w.shape).astype("float32") for w in model.get_weights()])
    return model


def said(model, rows):
    answers = {task: np.asarray(y) for task, y in model(rows).items()}
    assert all(0.001 < y.min() < y.max() < 0.999 for y in answers.values())  # or everything would be as before
    return answers


@pytest.mark.parametrize("make", [SharedBottomRepresentation, STEMRepresentation])
def test_a_bottom_gives_what_it_was_asked_for(make):
    bottom = make(features(("a", "b")), NAMES, priors=["item", "age"], scenario="tab")
    rows = {**ROWS, "tab": np.array([0, 1, 2, 3, -1, 2**31 - 1], "int32")}  # ids of no row are unknown
    streams = bottom(rows)
    assert set(streams) == set(bottom.streams) == {*NAMES, "shared", PRIOR, SCENARIO}
    assert {name: tuple(y.shape)[1] for name, y in streams.items()} == {
        name: shape[1] for name, shape in bottom.compute_output_shape({k: v.shape for k, v in rows.items()}).items()
    }
    np.testing.assert_array_equal(np.asarray(streams[SCENARIO]), np.eye(3)[[0, 1, 2, 0, 0, 0]])
    np.testing.assert_array_equal(np.asarray(streams[PRIOR]), np.asarray(streams["shared"])[:, 3:])
    again = make.from_config(bottom.get_config())
    assert again.get_config() == bottom.get_config()


def test_some_streams_of_tables_by_task_still_have_their_priors():
    bottom = STEMRepresentation(features(("a", "b")), NAMES, priors=["item"], scenario="tab")
    whole = bottom(ROWS)
    for wanted in (["click", PRIOR], ["buy", SCENARIO], [SCENARIO]):
        some = bottom.for_streams(wanted)(ROWS)
        assert list(some) == wanted
        for name, stream in some.items():
            np.testing.assert_array_equal(np.asarray(stream), np.asarray(whole[name]))


def test_epnet_gates_all_fields_and_leaves_priors_as_they_are():
    bottom = SharedBottomRepresentation(features(("a", "b")), NAMES, domain=["tab"], priors=["item"])
    streams = bottom(ROWS)
    fields = {name: np.asarray(field) for name, field in bottom.embed(ROWS).items()}
    x = np.concatenate(list(fields.values()), -1)
    gate = np.asarray(bottom.epnet.gate(np.concatenate([fields["tab"], x], -1)))
    for stream in (*NAMES, "shared"):
        np.testing.assert_allclose(np.asarray(streams[stream]), gate * x, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(streams[PRIOR]), fields["item"])
    trained = bottom(ROWS, training=True)  # by another lookup
    np.testing.assert_allclose(np.asarray(trained["buy"]), gate * x, rtol=1e-6)


def test_a_new_scenario_says_what_unknown_ones_said():
    """Also where the known ones change their places."""
    old_schema, schema = (Schema(features(tabs), TASKS) for tabs in (("a", "b"), ("new", "b", "a")))
    old = shaken(star(old_schema, "tab", tower_units=(4, 3)))
    model = star(schema, "tab", tower_units=(4, 3))
    report = warm_start(model, schema, old, old_schema)
    assert not report.fresh
    rows = {**ROWS, "tab": np.array([0, 1, 2, 3, 3, 2], "int32")}  # unknown, new, b, a
    as_before = {**ROWS, "tab": np.array([0, 0, 2, 1, 1, 2], "int32")}
    for task, y in said(model, rows).items():
        np.testing.assert_allclose(y, said(old, as_before)[task], rtol=1e-5)


def test_new_priors_and_units_change_no_answer_of_a_warm_start():
    schema = Schema(features(("a", "b")), TASKS)
    old = shaken(pepnet(schema, ["tab"], ["item"], tower_units=(4,), gate_units=3))
    model = pepnet(schema, ["tab"], ["item", "age"], tower_units=(4,), gate_units=3)
    warm_start(model, schema, old, schema)
    for task, y in said(model, ROWS).items():
        np.testing.assert_allclose(y, said(old, ROWS)[task], rtol=1e-5)


def test_says_what_is_missing():
    schema = Schema(features(("a", "b")), TASKS)
    plain = SharedBottomRepresentation(schema.features, schema.task_names)
    with pytest.raises(ValueError, match=r"reads the side streams \['prior'\]: give the bottom `priors`"):
        build(schema, plain, PLE((4,)), PPNet(schema.tasks))
    with pytest.raises(ValueError, match=r"give the bottom `scenario`\. Received: 'bottom', which gives \[\]"):
        build(schema, plain, PLE((4,)), STARHead(schema.tasks))
    with pytest.raises(ValueError, match=r"scenario='age'; known: \['item', 'tab'\]"):
        star(schema, "age")
    with pytest.raises(ValueError, match="needs `domain`, `priors` or both"):
        pepnet(schema)
    history = Sequence("seen", (ITEM,), length=2)
    with pytest.raises(ValueError, match=r"`priors` must name features that are no history, each once"):
        SharedBottomRepresentation([ITEM, history], NAMES, priors=["seen"])
    with pytest.raises(ValueError, match="domain=\\('item', 'item'\\)"):
        SharedBottomRepresentation([ITEM], NAMES, domain=["item", "item"])
    for name in (PRIOR, SCENARIO):
        with pytest.raises(ValueError, match=f"No task may be called '{name}'"):
            Task(name)
