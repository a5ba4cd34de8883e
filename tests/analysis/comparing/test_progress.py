"""What is shown while a comparison runs."""

import sys

import pytest

from tfmtl.analysis.comparing import progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_a_line_for_each_run_with_the_time_that_is_left(clock, capsys):
    shown = progress.Progress(4, 2, verbose=True)
    shown.start("PLE, seed 1")
    shown.end("0.7 on valid, kept from before", trained=False)
    for seed in (2, 3, 4):
        shown.start(f"PLE, seed {seed}")
        clock[0] += 60
        shown.epoch(1)
        clock[0] += 60
        shown.end("0.8 on valid")
    assert capsys.readouterr().out.splitlines() == [
        "[1/4] PLE, seed 1: 0.7 on valid, kept from before",
        "[2/4] PLE, seed 2: 0.8 on valid, about 4 min left",
        "[3/4] PLE, seed 3: 0.8 on valid, about 2 min left",
        "[4/4] PLE, seed 4: 0.8 on valid",
    ]


def test_on_a_terminal_the_line_of_a_run_is_written_over(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    shown = progress.Progress(2, 2, verbose=True)
    shown.start("PLE")
    clock[0] += 10
    shown.epoch(1)
    shown.end("done")
    out = capsys.readouterr().out
    assert "\r\x1b[K[1/2] PLE: epoch 1 of 2, about 30 s left" in out and out.count("\n") == 1


def test_nothing_is_shown_where_nothing_is_asked_for(clock, capsys):
    shown = progress.Progress(1, 1, verbose=False)
    shown.start("PLE")
    shown.epoch(1)
    shown.end("done")
    assert capsys.readouterr().out == ""
