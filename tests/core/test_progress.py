import io
import sys

from vibrissa.core.progress import is_watched, progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_silent_where_nobody_watches(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert not is_watched()
    assert list(track(range(3), "counting")) == [0, 1, 2]
    assert stream.getvalue() == ""


def test_a_terminal_sees_a_bar_unless_asked_to_be_quiet(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(track(range(3), "counting", quiet=True)) == [0, 1, 2]
    assert stream.getvalue() == ""
    with progress("counting", total=3, unit="sweep") as bar:
        bar.update(3)
        bar.set_postfix_str("done")
    assert "counting" in stream.getvalue()
    assert "3/3" in stream.getvalue()
