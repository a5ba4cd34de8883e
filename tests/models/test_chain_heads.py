"""ESMMHead and AITMHead over chains of two and three steps."""

from dataclasses import replace

import numpy as np
import pytest
from harness import assert_all_trained, assert_reloads, gradients, ops

from tfmtl.keras_host import keras
from tfmtl.losses import PairwiseLogistic
from tfmtl.models import presets
from tfmtl.schema import Categorical, Schema, Task
from tfmtl.stages.heads import AITMHead, ESMMHead

TASKS = [Task("click"), Task("cart"), Task("buy"), Task("watch", "regression")]
CHAIN = ["click", "cart", "buy"]


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    return {task.name: rng.normal(size=(6, 10)).astype("float32") for task in TASKS}


def test_esmm_multiplies_along_the_chain(streams):
    head = ESMMHead(TASKS, CHAIN, units=(5,))
    y = {task: np.asarray(p) for task, p in head(streams).items()}
    c = {task: np.asarray(p) for task, p in head.conditionals(streams).items()}
    np.testing.assert_allclose(y["click"], c["click"])
    np.testing.assert_allclose(y["cart"], c["click"] * c["cart"], rtol=1e-6)
    np.testing.assert_allclose(y["buy"], c["click"] * c["cart"] * c["buy"], rtol=1e-6)
    np.testing.assert_allclose(y["watch"], c["watch"])


def test_a_later_step_trains_every_step_before_it(streams):
    head = ESMMHead(TASKS, CHAIN, units=())
    head(streams)
    kernels = [head.towers.towers[task].output_layer.kernel for task in (*CHAIN, "watch")]
    found = gradients(lambda: ops.sum(head(streams)["cart"]), kernels)
    assert [g is not None and np.abs(g).max() > 0 for g in found] == [True, True, False, False]


def test_aitm_follows_its_parts(streams):
    head = AITMHead(TASKS, CHAIN, units=(5,))
    y = head(streams)
    hidden = {task: layer(streams[task]) for task, layer in head.hidden.items()}
    handed = head.transfer(hidden)
    for task in streams:
        np.testing.assert_allclose(np.asarray(y[task]), np.asarray(head.outputs[task](handed[task])), rtol=1e-6)
    steps = np.concatenate([np.asarray(y[task]) for task in CHAIN], axis=1)
    head(streams)
    expected = 0.6 * np.maximum(np.diff(steps, axis=1), 0).sum(1).mean()
    np.testing.assert_allclose(float(sum(head.losses)), expected, rtol=1e-5)
    assert not AITMHead(TASKS, CHAIN, calibrator=0).losses


def test_aitm_as_other_public_versions_have_it(streams):
    """Linear transfer, layers after it, the calibrator's sum: against the equations, and through the config."""
    options = {"output_units": (3,), "transfer_activation": None, "calibrator_reduction": "sum", "attention_bias": True}
    head = AITMHead.from_config(AITMHead(TASKS, CHAIN, units=(), **options).get_config())
    y = {task: np.asarray(p) for task, p in head(streams).items()}
    click, cart = streams["click"], streams["cart"]
    kernel, bias = head.transfer.transfers[0].get_weights()
    pair = np.stack([click @ kernel + bias, cart], axis=1)  # what click hands on, and cart itself: (B, 2, D)
    kernel, bias = head.transfer.attentions[0].get_weights()
    query, key, value = np.split(pair @ kernel + bias, 3, axis=-1)
    weights = np.exp((query * key).sum(-1) / np.sqrt(10))
    mixed = ((weights / weights.sum(1, keepdims=True))[:, :, None] * value).sum(1)
    kernel, bias, last, start = head.outputs["cart"].get_weights()
    expected = 1 / (1 + np.exp(-(np.maximum(mixed @ kernel + bias, 0) @ last + start)))
    np.testing.assert_allclose(y["cart"], expected, rtol=1e-5)
    steps = np.concatenate([y[task] for task in CHAIN], axis=1)
    head(streams)
    np.testing.assert_allclose(float(sum(head.losses)), 0.6 * np.maximum(np.diff(steps, axis=1), 0).sum(), rtol=1e-5)


def test_a_chain_beside_tasks_of_classes(streams):
    tasks = [*TASKS, Task("stars", "multiclass", num_classes=4)]
    streams["stars"] = streams["watch"]
    for make in (ESMMHead, AITMHead):
        head = make.from_config(make(tasks, CHAIN, units=(5,)).get_config())
        assert tuple(head(streams)["stars"].shape) == (6, 4)
        with pytest.raises(ValueError, match=r"Every step of a chain is a binary task.*'stars'"):
            make(tasks, ["click", "stars"])
        ranked = [TASKS[0], Task("buy", loss=PairwiseLogistic(), group="user")]
        with pytest.raises(ValueError, match=r"a loss that compares rows learns none.*'buy'"):
            make(ranked, ["click", "buy"])


@pytest.mark.parametrize("make", [ESMMHead, AITMHead])
def test_reloads_and_every_variable_is_trained(make, streams, tmp_path):
    inputs = {name: keras.Input((10,), name=name) for name in streams}
    head = make(TASKS, CHAIN, units=(5, 4), dropout=0.1, base_rates={"click": 0.2})
    model = keras.Model(inputs, head(inputs))
    assert head.name == "head"
    assert_all_trained(model, lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(streams).values()))
    assert_reloads(model, streams, tmp_path)


@pytest.mark.parametrize("make", [ESMMHead, AITMHead])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_predictions_are_float32(make, policy, streams):
    y = make(TASKS, CHAIN, dtype=policy)(streams)
    assert {np.asarray(p).dtype for p in y.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("preset", ["esmm", "aitm"])
def test_presets_fit(preset):
    schema = Schema([Categorical("city", num_ids=5, dim=4)], TASKS[:3])
    model = getattr(presets, preset)(schema, units=(6,), tower_units=(5,))
    assert model.name == preset
    model.compile("sgd", loss=dict.fromkeys(CHAIN, "binary_crossentropy"))
    rows = {"city": np.array([1, 2, 3, 0], "int32")}
    labels = {"click": np.array([1.0, 1, 0, 1]), "cart": np.array([1.0, 0, 0, 1]), "buy": np.array([1.0, 0, 0, 0])}
    assert np.isfinite(model.fit(rows, labels, epochs=2, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("make", [ESMMHead, AITMHead])
def test_starts_at_the_base_rates(make, streams):
    rates = {"click": 0.1, "cart": 0.01, "buy": 0.002}
    head = make(TASKS, CHAIN, base_rates=rates)
    still = {task: np.zeros_like(x) for task, x in streams.items()}  # towers answer with their biases
    y = {task: np.asarray(p) for task, p in make.from_config(head.get_config())(still).items()}
    for step, rate in rates.items():
        np.testing.assert_allclose(y[step], rate, rtol=1e-5)
    with pytest.raises(ValueError, match=r"must name tasks. Received: \['like'\]"):
        make(TASKS, CHAIN, base_rates={"like": 0.1})


@pytest.mark.parametrize("make", [ESMMHead, AITMHead])
def test_starts_at_the_base_rates_that_the_schema_has_learned(make, streams):
    rates = {"click": 0.1, "cart": 0.01, "buy": 0.002}
    head = make([replace(task, mean=rates.get(task.name)) for task in TASKS], CHAIN)
    still = {task: np.zeros_like(x) for task, x in streams.items()}
    for step, y in make.from_config(head.get_config())(still).items():
        if step in rates:
            np.testing.assert_allclose(np.asarray(y), rates[step], rtol=1e-5)


def test_esmm_starts_a_step_at_a_half_that_happens_as_often_as_the_step_before():
    rates = {"click": 0.1, "cart": 0.1, "buy": 0.01}
    with pytest.warns(UserWarning, match=r"base rates of \['cart', 'buy'\] are not known"):
        head = ESMMHead([replace(task, mean=rates.get(task.name, 0.5)) for task in TASKS], CHAIN)
    assert set(head.base_rates) == {task.name for task in TASKS} - {"cart", "buy"}


@pytest.mark.parametrize("rates", [{"cart": 0.1}, {"click": 0.1, "cart": 0.1}, {"click": 0.1, "cart": 0.0}])
def test_esmm_refuses_rates_that_grow(rates):
    with pytest.raises(ValueError, match="step 'cart' must be above 0 and below that of 'click'"):
        ESMMHead(TASKS, CHAIN, base_rates=rates)


@pytest.mark.parametrize("make", [ESMMHead, AITMHead])
def test_refuses(make, streams):
    with pytest.raises(ValueError, match="two different tasks"):
        make(TASKS, ["click"])
    with pytest.raises(ValueError, match=r"\['watch'\]"):
        make(TASKS, ["click", "watch"])
    with pytest.raises(ValueError, match=r"\['like'\]"):
        make(TASKS, ["click", "like"])
    for space in ("pressed", ("pressed", 1), ("pressed", True), [("vip", 1), "cart"], [("vip", 1), ("cart", 1.0)]):
        tasks = [Task("click", label="pressed"), Task("cart"), Task("buy", sample_space=space)]
        with pytest.raises(ValueError, match="Step 'buy' must be defined where"):
            make(tasks, CHAIN)
    make([Task(step, sample_space="shown") for step in CHAIN], CHAIN)
    with pytest.raises(ValueError, match=r"lack tasks \['watch'\]"):
        make(TASKS, CHAIN)({task: streams[task] for task in CHAIN})


@pytest.mark.parametrize("make", [ESMMHead, AITMHead])
def test_a_chain_may_be_a_generator(make):
    assert make(TASKS, (step for step in CHAIN)).get_config()["chain"] == CHAIN
    with pytest.raises(ValueError, match=r"Received: chain=\['click'\]"):
        make(TASKS, (step for step in CHAIN[:1]))


@pytest.mark.parametrize("preset", ["esmm", "aitm"])
def test_an_empty_chain_is_not_all_tasks(preset):
    schema = Schema([Categorical("city", num_ids=5, dim=4)], TASKS[:3])
    with pytest.raises(ValueError, match=r"two different tasks or more.*Received: chain=\[\]"):
        getattr(presets, preset)(schema, chain=[])
