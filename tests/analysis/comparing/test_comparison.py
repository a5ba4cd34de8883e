"""What a comparison says: in words, as a table, as a frame, as JSON and as a page."""

import json
import re

import numpy as np
import pytest
from analysis.comparing.made_up import comparison

from tfmtl.analysis.comparing.entry import TWINS


@pytest.fixture(scope="module")
def made():
    return comparison()


def test_verdicts_name_who_wins_and_who_pays(made):
    first, second = made.verdicts
    assert first == (
        "PLE: like gains +0.0300 [+0.0200, +0.0400]; click pays -0.0300 [-0.0400, -0.0200]; no difference shown for spend "
        "+0.0010 [-0.0090, +0.0110]."
    )
    assert second.startswith("<MMoE> & co: no difference shown for like") and second.endswith(
        "no task is shown to pay."
    )


def test_notes_say_how_far_to_trust_them(made):
    notes = " ".join(made.notes)
    assert "wider of two 95% intervals: over seeds, and over test groups of user" in notes
    assert "6 gains were looked at: if sharing did nothing, about 0.3 of them would lie outside" in notes
    assert "Ended early: <MMoE> & co, seed 3, learning rate 0.1: the loss became nan in epoch 1, step 7." in notes


def test_the_table_has_a_row_for_each_task_and_model(made):
    lines = made.table().splitlines()
    assert len(lines) == 1 + 3 * 3 and len({len(line) for line in lines}) == 1
    titles = ["task", "model", "gain", "verdict", "AUC", "log loss", "calibration", "R²", "RMSE"]
    assert re.split(r"\s{2,}", lines[0].strip()) == titles
    assert re.search(r"like +PLE +\+0\.0300 \[\+0\.0200, \+0\.0400\] +wins +0\.7320", made.table())
    assert str(made).startswith(made.table()) and made.verdicts[0] in str(made)


def test_the_frame_holds_the_numbers(made):
    frame = made.to_dataframe().set_index(["contestant", "task"])
    assert len(frame) == 9 and frame.loc[("PLE", "like"), "gain"] == 0.03
    assert frame.loc[("PLE", "like"), "gain_low_over_seeds"] == pytest.approx(0.02)
    assert frame.loc[("PLE", "click"), "verdict"] == "pays" and np.isnan(frame.loc[(TWINS, "like"), "gain"])


def test_json_is_what_every_parser_reads(made, tmp_path):
    text = made.to_json(tmp_path / "comparison.json")
    held = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert held == json.loads((tmp_path / "comparison.json").read_text())
    assert held["gains"]["PLE"]["like"]["over_seeds"] == [0.03 - 0.01, 0.03 + 0.01]
    assert held["figures"][TWINS]["click"]["auc"]["2"] == 0.702


def test_the_page_shows_everything_and_needs_nothing(made, tmp_path):
    text = made.to_html(tmp_path / "report.html").read_text()
    assert text.count('<img src="data:image/svg+xml;base64,') == 4
    assert "&lt;MMoE&gt; &amp; co" in text and "<MMoE>" not in text
    for said in (
        "Does sharing help?",
        "like gains +0.0300",
        "+0.0300 [+0.0200, +0.0400]",
        "3,000",
        "30.0",
        "seeds 1, 2, 3",
    ):
        assert said in text, said
    assert not re.findall(r"(?:src|href)=(?!\"data:)|<script|@import", text)


def test_notebooks_show_a_table(made):
    shown = made._repr_html_()
    assert shown.count("<tr>") == 10 and "<MMoE>" not in shown and "click pays" in shown


def test_unknown_names_are_told(made):
    with pytest.raises(ValueError, match=r"No such contestant. Received: 'x'; known: \['PLE', '<MMoE> & co'\]"):
        made.gain("x", "like")
    with pytest.raises(ValueError, match=r"No such task. Received: 'x'; known: \['like', 'click', 'spend'\]"):
        made.gain("PLE", "x")
