"""objectives(normalize=True): every task's loss in units of what always answering its mean costs."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from tfmtl.keras_host import keras
from tfmtl.schema import Task
from tfmtl.training import objectives


def test_normalized_losses_weigh_what_is_lost_by_answering_the_mean():
    tasks = [
        Task("click", mean=0.25),
        Task("buy", weight=2.0, mean=0.01),
        Task("watch", "regression", mean=3.0, variance=50.0),
    ]
    weights = objectives(tasks, normalize=True)["loss_weights"]
    entropy = {rate: -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)) for rate in (0.25, 0.01)}
    expected = {"click": 1 / entropy[0.25], "buy": 2 / entropy[0.01], "watch": 1 / 50}
    assert weights == pytest.approx(expected)


def test_several_tasks_are_normalized_by_default_where_all_of_their_labels_are_known():
    click, watch = Task("click", mean=0.25), Task("watch", "regression", mean=3.0, variance=50.0)
    known = objectives([click, watch])["loss_weights"]
    assert known == objectives([click, watch], normalize=True)["loss_weights"] and known["watch"] == pytest.approx(
        1 / 50
    )
    plain = {"click": 1.0, "watch": 1.0}
    assert objectives([click, Task("watch", "regression")])["loss_weights"] == plain
    assert objectives([click, watch], losses={"watch": "mean_absolute_error"})["loss_weights"] == plain
    with pytest.warns(UserWarning, match="89 times"):
        assert objectives([click, watch], normalize=False)["loss_weights"] == plain
    assert objectives([click])["loss_weights"] == {"click": 1.0}  # alone there is nothing to weigh it against


def test_logs_hold_the_plain_loss_of_each_task_beside_normalized_weights():
    """A model that always answers the base rate has every weighted loss at 1, and its plain one at the entropy."""
    tasks = [Task("click", mean=0.5), Task("sale", mean=0.25)]
    x = keras.Input((1,), name="x")
    rates = {"click": 0.0, "sale": float(np.log(0.25 / 0.75))}
    outputs = {
        name: keras.layers.Dense(
            1, "sigmoid", kernel_initializer="zeros", name=name, bias_initializer=keras.initializers.Constant(start)
        )(x)
        for name, start in rates.items()
    }
    model = keras.Model({"x": x}, outputs)
    model.compile(keras.optimizers.SGD(0.0), **objectives(tasks, normalize=True))
    y = {"click": np.array([0.0, 1, 0, 1], "float32"), "sale": np.array([1.0, 0, 0, 0], "float32")}
    logs = model.fit({"x": np.zeros((4, 1), "float32")}, y, batch_size=4, verbose=0).history
    assert logs["loss"] == pytest.approx([2.0], abs=1e-5)
    assert logs["click_loss"] == pytest.approx([np.log(2)], abs=1e-5)
    assert logs["sale_loss"] == pytest.approx([tasks[1].unit_of_loss], abs=1e-5)


@pytest.mark.parametrize("task", [Task("click"), Task("click", mean=0.0), Task("watch", "regression", mean=3.0)])
def test_what_cannot_be_normalized_is_said(task):
    with pytest.raises(ValueError, match=rf"`normalize` needs labels.*task '{task.name}'.*mean={task.mean}"):
        objectives([task], normalize=True)
    with pytest.raises(ValueError, match="a loss of its own"):
        objectives([Task("click", mean=0.5)], losses={"click": "binary_crossentropy"}, normalize=True)


def test_a_loss_that_drowns_another_is_said():
    tasks = [Task("click", mean=0.25), Task("spend", "regression", mean=3.0, variance=1e4)]
    with pytest.warns(UserWarning, match="task 'spend' is about 17,783 times that of 'click'.*normalize=True"):
        objectives(tasks, normalize=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        objectives(tasks)
        objectives([tasks[0], replace(tasks[1], weight=1e-4)], normalize=False)
