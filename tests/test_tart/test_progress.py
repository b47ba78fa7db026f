"""Progress goes to stderr: a bar for a terminal, one line with the count for anything else."""

from __future__ import annotations

import io
import re
import sys

import pytest

from tart.progress import progress, silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:  # no fixture: pytest sets stderr anew after those
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    return shown


def clock(monkeypatch: pytest.MonkeyPatch, *moments: float) -> None:
    """The next readings of the clock; the last one stays."""
    left = list(moments)
    monkeypatch.setattr("tart.progress.time.perf_counter", lambda: left.pop(0) if len(left) > 1 else left[0])


def test_without_a_terminal_one_line_with_count_and_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, 100.0, 102.5)
    with progress("Encoding", 12_000, "texts") as advance:
        for units in (9_000, 999, 0):
            advance(units)
        advance()
        assert capsys.readouterr() == ("", "")  # nothing before the end
    assert capsys.readouterr() == ("", "Encoding: 10,000 texts in 2.5 s (4,000/s)\n")  # 10,000 / 2.5


def test_work_of_no_time_and_of_no_units(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 7.0)
    with progress("Reading", None):
        pass
    assert capsys.readouterr().err == "Reading: 0 documents in 0.0 s (0/s)\n"


def test_work_that_fails_is_not_reported_as_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress("Encoding", 3) as advance:
        advance()
        raise KeyboardInterrupt
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_ends_at_the_total(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = make_terminal(monkeypatch)
    clock(monkeypatch, 10.0, 12.0)
    with progress("Encoding", 300, "texts") as advance:
        advance(100)
        advance(200)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).strip().splitlines()[-1]
    assert last.startswith("Encoding ") and "300/300" in last and "texts, 150/s, left" in last  # 300 / 2
    assert " in " not in last and capsys.readouterr().out == ""


def test_a_bar_without_a_known_total_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    with progress("Building", None) as advance:
        advance(7)
    assert re.search(r"Building .*\b7/\?", terminal.getvalue())


def test_a_bar_is_taken_down_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    with pytest.raises(ValueError, match="bad document"), progress("Encoding", 2):
        raise ValueError("bad document")
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 1  # the cursor is back


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    silent()
    silent(7)
    assert capsys.readouterr() == ("", "")
