"""Pages hold what they are given, as text, and need nothing from outside."""

import re

import pytest
from matplotlib.figure import Figure

from tfmtl.analysis.page import Page


def page():
    made = Page("Gains & <losses>", "Census, 1994")
    made.section("Who wins")
    made.text("PLE < twins")
    made.points(["a", "b & c"])
    made.table(["task", "gain"], [["<click>", "+0.1"], ["buy", None]], caption="95 %")
    return made


def test_everything_is_shown_as_text():
    text = page().to_html()
    assert "<title>Gains &amp; &lt;losses&gt;</title>" in text and "<losses>" not in text and "<click>" not in text
    assert '<td class="text">&lt;click&gt;</td><td>+0.1</td>' in text and "<li>b &amp; c</li>" in text
    assert "<caption>95 %</caption>" in text and "<p>PLE &lt; twins</p>" in text


def test_no_points_make_no_list():
    made = Page("Empty")
    made.points([])
    assert "<ul>" not in made.to_html()


def test_a_row_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"2 cells.*Received: row=\['a'\]"):
        Page("t").table(["x", "y"], [["a"]])


def test_a_figure_is_inside_of_the_file(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2])
    made = page()
    made.figure(figure, 'A "line"')
    path = made.write(tmp_path / "deep" / "page.html")
    text = path.read_text()
    assert 'src="data:image/svg+xml;base64,' in text and 'alt="A &quot;line&quot;"' in text
    assert not re.findall('(?:src|href)=(?!"data:)', text) and "<script" not in text and "@import" not in text
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
