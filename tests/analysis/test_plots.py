"""Every picture shows what it was given, belongs to no window, and refuses what it cannot draw."""

import sys

import numpy as np
import pytest
from analysis.comparing.made_up import comparison
from matplotlib.figure import Figure

from tfmtl.analysis import plots
from tfmtl.keras_host import keras
from tfmtl.models import ple
from tfmtl.schema import Categorical, Schema, Task


def texts(figure):
    figure.canvas.draw()
    return {each.get_text() for each in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


@pytest.fixture(scope="module")
def made():
    return comparison()


def test_gains(made):
    figure = plots.plot_gains(made)
    assert isinstance(figure, Figure) and {"like", "spend", "gain in R² over the twin"} <= texts(figure)
    axes = {each.get_title(): each for each in figure.axes}["like"]
    dots = {line.get_ydata()[0]: line for line in axes.lines if line.get_marker() == "o"}
    for place, name in enumerate(made.contestants):
        gain = made.gains[name]["like"]
        assert dots[place].get_xdata() == [gain.mean]
        assert dots[place].get_color() == {"wins": "#2e8b57", "pays": "#c0392b", "level": "#8a94a3"}[gain.verdict]


def test_seesaw(made):
    found = texts(plots.plot_seesaw(made))
    assert {"+0.0300 ▲", "-0.0300 ▼", "+0.0010"} <= found and set(made.contestants) <= found


def test_calibration_and_learning(made):
    assert {"like", "PLE", "mean prediction"} <= texts(plots.plot_calibration(made.calibration))
    figure = plots.plot_learning(made)
    assert {"like", "PLE", "AUC", "R²", "log loss", "RMSE"} <= texts(figure)
    with pytest.raises(ValueError, match="`bins` must be"):
        plots.plot_calibration({})


def test_curves():
    logs = {"click_loss": [0.6, 0.5], "val_click_logloss": [0.7, 0.6], "val_click_auc": [0.7, 0.72], "loss": [1, 1]}
    figure = plots.plot_curves(logs, ["click"])
    assert {"click", "training", "validation", "AUC", "epoch"} <= texts(figure)
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[0.6, 0.5], [0.7, 0.6]]
    for tasks in ([], ["buy"]):
        with pytest.raises(ValueError, match=r"loss or a figure of every task.*known: \['click_loss'"):
            plots.plot_curves(logs, tasks)


def test_conflicts():
    cosines = np.array([[1.0, -0.25], [np.nan, 1.0]])
    assert {"-0.25", "?", "click", "buy"} <= texts(plots.plot_conflicts(cosines, ["click", "buy"]))
    with pytest.raises(ValueError, match=r"`cosines` must be \(3, 3\).*Received: shape=\(2, 2\)"):
        plots.plot_conflicts(cosines, ["a", "b", "c"])


def test_gates():
    schema = Schema([Categorical("city", num_ids=9, dim=4)], [Task("click"), Task("buy")])
    model = ple(schema, units=(8, 4), tower_units=(4,), num_task_experts=1)
    batch = {"city": np.arange(9, dtype="int32"), "other": np.zeros(9)}
    figure = plots.plot_gates(model, [(batch, {})])
    assert {"trunk/level_0", "trunk/level_1", "click", "buy", "shared"} <= texts(figure)
    widths = [sum(bar.get_width() for bar in axes.patches) for axes in figure.axes]
    assert widths == pytest.approx([3.0, 2.0], abs=1e-5)  # the weights of each gate add up to 1
    with pytest.raises(ValueError, match="gave no batch"):
        plots.plot_gates(model, [])
    x = keras.Input((), name="city")
    outputs = {"click": keras.layers.Dense(1, name="click")(keras.layers.Reshape((1,))(x))}
    with pytest.raises(ValueError, match=r"must have a layer that shows its gates.*'click'"):
        plots.plot_gates(keras.Model({"city": x}, outputs), [batch])


def test_without_matplotlib_the_extra_is_named(made, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"tfmtl\[plots\]"):
        plots.plot_gains(made)
    text = made.to_html(tmp_path / "report.html").read_text()
    assert "tfmtl[plots]" in text and "<img" not in text


def test_no_picture_is_left_open(made):
    import matplotlib.pyplot

    plots.plot_gains(made)
    assert matplotlib.pyplot.get_fignums() == []
