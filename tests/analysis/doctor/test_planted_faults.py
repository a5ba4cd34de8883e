"""Every fault, planted into a model or data that were healthy, is named, and nothing else is."""

import numpy as np
import pytest
from patients import SCHEMA, TASKS, Data, compiled, fitted, made, new_model

from tfmtl.analysis.comparing import Gain
from tfmtl.analysis.doctor.diagnose import diagnosis_of
from tfmtl.analysis.doctor.examiner import Examiner
from tfmtl.keras_host import keras
from tfmtl.schema import Schema, Task

TRAIN, VALID = made(6144, 1), made(4096, 2)


class Clinic:
    """The healthy model, which every test gives back as it was."""

    def __init__(self):
        keras.utils.set_random_seed(8)
        self.model = new_model()
        self.fresh = self.model.get_weights()
        self.history = fitted(self.model, TRAIN, 5)
        self.model.optimizer.learning_rate = 0.002  # smaller steps at the end, so that no last step leaves a trace
        fitted(self.model, TRAIN, 2)
        self.healthy = self.model.get_weights()
        self.examine = Examiner(self.model, SCHEMA, steps=12)
        self.trunk, self.head = self.model.get_layer("trunk"), self.model.get_layer("head")

    def of(self, valid=VALID, train=TRAIN, **known):
        """What is found, warnings and worse, and where."""
        found = diagnosis_of(self.examine(valid.batches(), train=train.batches(), **known))
        return {(each.name, each.where) for each in found.at_least("warning")}

    def ill(self, plant, epochs=3, train=TRAIN):
        """Plants a fault, and lets the rest of the model adapt to it."""
        plant(self.model)
        fitted(self.model, train, epochs, plant)


@pytest.fixture(scope="module")
def clinic():
    return Clinic()


@pytest.fixture(autouse=True)
def _healed(clinic):
    yield
    clinic.model.set_weights(clinic.healthy)


def test_a_healthy_model_has_nothing(clinic):
    history = {**clinic.history, **{f"val_{task.name}_loss": [1.0, 0.9, 0.85, 0.8, 0.79] for task in TASKS}}
    assert clinic.of(history=history, initial=clinic.fresh, comparison=compared("level")) == set()


# Labels


def test_unlabelled_task(clinic):
    empty = VALID.changed(y={"buy": np.full(4096, np.nan, "float32")})
    assert clinic.of(empty) == {("unlabelled_task", "buy")}


def test_single_class(clinic):
    assert clinic.of(VALID.changed(y={"buy": np.zeros(4096, "float32")})) == {("single_class", "buy")}


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_unlabelled_stretch(clinic, value):
    """A day without labels, or with labels that were never filled in, among the training rows."""
    labels = TRAIN.y["buy"].copy()
    labels[2000:3500] = value
    assert clinic.of(train=TRAIN.changed(y={"buy": labels})) == {("unlabelled_stretch", "buy")}


def test_a_label_outside_of_its_sample_space(clinic):
    schema = Schema(SCHEMA.features, [TASKS[0], Task("buy", sample_space="click"), TASKS[2]])
    examined = clinic.examine(VALID.batches(), train=TRAIN.batches())
    examined.schema = schema
    named = [(each.name, each.where) for each in diagnosis_of(examined).at_least("warning")]
    assert named == [("contradicting_labels", "click -> buy")]


def test_a_step_without_the_step_before(clinic):
    examined = clinic.examine(VALID.batches(), train=TRAIN.batches())
    examined.chains = [("click", "buy")]
    named = [(each.name, each.where) for each in diagnosis_of(examined).at_least("warning")]
    assert named == [("contradicting_labels", "click -> buy")]
    examined.rows.labels["buy"] *= examined.rows.labels["click"]
    assert "contradicting_labels" not in {each.name for each in diagnosis_of(examined)}


# Outputs


def test_not_finite(clinic):
    bias = clinic.head.towers["spend"].weights[-1]
    bias.assign([np.nan])
    assert clinic.of() == {("not_finite", "spend")}


def test_constant_predictions(clinic):
    """An output whose units are all 0 answers the base rate."""
    kernel, bias = clinic.head.towers["buy"].weights[-2:]
    rate = float(TRAIN.y["buy"].mean())

    def plant(model):
        kernel.assign(np.zeros(kernel.shape))
        bias.assign([np.log(rate / (1 - rate))])

    clinic.ill(plant, epochs=1)
    assert clinic.of() == {("constant_predictions", "buy")}


def test_a_head_without_a_loss(clinic):
    compiled(clinic.model, clinic.model.optimizer, TASKS[:2])
    found = clinic.of()
    compiled(clinic.model, clinic.model.optimizer)
    assert found == {("untrained_head", "spend")}


def test_swapped_tasks(clinic):
    swapped = {"click": VALID.y["buy"], "buy": VALID.y["click"]}
    assert clinic.of(VALID.changed(y=swapped)) == {("swapped_tasks", "click, buy")}


# Features


def test_leaking_feature(clinic):
    """Slots 1 and 2 are only ever seen with a click: one row in 500 excepted."""
    leaky = []
    for data in (TRAIN, VALID):
        noise = np.random.default_rng(5)
        told = np.where(noise.random(len(data.y["click"])) < 0.002, 1 - data.y["click"], data.y["click"])
        leaky.append(data.changed(x={"slot": (1 + 2 * told + noise.integers(0, 2, len(told))).astype("int32")}))
    clinic.ill(lambda model: None, 4, leaky[0])
    assert clinic.of(leaky[1], leaky[0]) == {("leaking_feature", "slot -> click")}


def test_unknown_ids(clinic):
    unknown = []
    for data in (TRAIN, VALID):
        lost = np.random.default_rng(5).random(len(data.x["user"])) < 0.5
        unknown.append(data.changed(x={"user": np.where(lost, 0, data.x["user"]).astype("int32")}))
    clinic.ill(lambda model: None, 2, unknown[0])
    assert clinic.of(unknown[1], unknown[0]) == {("unknown_ids", "user")}


# Gradients


def test_drowned_task(clinic):
    tasks = (*TASKS[:2], Task("spend", "regression", weight=1e-3))
    compiled(clinic.model, clinic.model.optimizer, tasks)
    found = clinic.of()
    compiled(clinic.model, clinic.model.optimizer)
    assert found == {("drowned_task", "spend")}


# Experts and gates: the kernels of two shared experts lie one below the other, 8 rows each.


def shared_expert(clinic, kernel, bias):
    """Gives the second shared expert these weights."""
    kernels, biases = clinic.trunk.levels[0].experts["shared"].weights

    def plant(model):
        k, b = np.array(kernels), np.array(biases)
        k[8:], b[8:] = k[:8] if kernel is None else kernel, b[:8] if bias is None else bias
        kernels.assign(k)
        biases.assign(b)

    return plant


@pytest.mark.parametrize(
    ("name", "kernel", "bias", "where"),
    [
        ("dead_experts", 0.0, -1.0, "shared 1"),
        ("constant_experts", 0.0, 1.0, "shared 1"),
        ("identical_experts", None, None, "shared 0, shared 1"),
    ],
)
def test_experts(clinic, name, kernel, bias, where):
    clinic.ill(shared_expert(clinic, kernel, bias))
    assert clinic.of() == {(name, f"trunk/level_0, {where}")}


def gate(clinic, biases, kernel=None):
    """Adds to the logits of tasks' gates: own expert, then two shared ones."""

    def plant(model):
        for task, values in biases.items():
            weights = clinic.trunk.levels[0].mixers[task].logits.weights
            weights[1].assign(np.array(values, "float32"))
            if kernel is not None:
                weights[0].assign(np.zeros(weights[0].shape, "float32"))

    return plant


def test_one_hot_gate(clinic):
    clinic.ill(gate(clinic, {"buy": [40, 0, 0]}))
    assert clinic.of() == {("one_hot_gate", "trunk/level_0, gate of buy")}


def test_uniform_gate(clinic):
    clinic.ill(gate(clinic, {"click": [0, 0, 0]}, kernel=0))
    assert clinic.of() == {("uniform_gate", "trunk/level_0, gate of click")}


def test_captured_expert(clinic):
    clinic.ill(gate(clinic, {"click": [0, 0, 0], "buy": [0, 0, -9], "spend": [0, 0, -9]}), epochs=3)
    assert clinic.of() == {("captured_expert", "trunk/level_0, shared 1")}


def test_starved_experts(clinic):
    clinic.ill(gate(clinic, {"buy": [-9, 0, 0]}))
    assert clinic.of() == {("starved_experts", "trunk/level_0, experts of buy")}


# Training


def test_still_embeddings(clinic):
    after = clinic.healthy
    initial = [
        a * 1.01 if v.shape[0] == 87 else b for v, a, b in zip(clinic.model.weights, after, clinic.fresh, strict=True)
    ]
    ((name, where),) = clinic.of(initial=initial)
    assert name == "still_embeddings" and "table_4" in where


def test_miscalibrated(clinic):
    """As after training with half of the negatives."""
    bias = clinic.head.towers["buy"].weights[-1]
    bias.assign(np.array(bias) + np.log(2))
    assert clinic.of() == {("miscalibrated", "buy")}


def test_overfitting_in_the_history(clinic):
    falls, rises = [0.6, 0.5, 0.45, 0.4, 0.36, 0.33], [0.6, 0.55, 0.56, 0.58, 0.6, 0.62]
    history = {f"{kind}{task}_loss": falls for task in SCHEMA.task_names for kind in ("", "val_")}
    history["val_buy_loss"] = rises
    found = diagnosis_of(clinic.examine(VALID.batches(), train=TRAIN.batches(), history=history)).at_least("warning")
    assert [(each.name, each.where) for each in found] == [("overfitting", "buy")]
    assert "while 'click', 'spend' improved longer" in found[0].message


def test_overfitting_between_two_datasets(clinic):
    """Training rows of whose labels the model is as sure as if it knew them by heart."""
    predictions = clinic.model.predict(TRAIN.batches(), verbose=0)["buy"].reshape(-1)
    known = Data(TRAIN.x, {**TRAIN.y, "buy": (predictions > 0.5).astype("float32")}).rows(abs(predictions - 0.5) > 0.25)
    assert clinic.of(train=known) == {("overfitting", "buy")}


def compared(verdict):
    low, high = {"pays": (-0.03, -0.01), "level": (-0.01, 0.02)}[verdict]
    gains = {
        task: Gain(
            "PLE", task, "auc", {0: -0.02, 1: -0.02}, -0.02, (low, high) if task == "buy" else (-0.01, 0.01), None
        )
        for task in SCHEMA.task_names
    }

    class Comparison:
        pass

    comparison = Comparison()
    comparison.gains = {"PLE": gains}
    return comparison


def test_better_alone(clinic):
    assert clinic.of(comparison=compared("pays")) == {("better_alone", "buy")}
