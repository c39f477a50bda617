"""The supervisor of child processes, with real children."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from xeno.errors import ChildError
from xeno.events import Event, LogLine, OpenProfile, Quit, StopReply
from xeno.workers.child import Child, ChildExit

PREAMBLE = """
from xeno.events import LogLine, StopReply
from xeno.workers.protocol import Channel, run_child
"""

ECHO = """
channel = Channel()
def work():
    channel.emit(LogLine(text="ready"))
    for command in channel:
        channel.emit(LogLine(text=command.type))
run_child(work, channel.emit)
"""


class Watched:
    """A child and everything it said."""

    def __init__(self, module: str, log: Path | None = None) -> None:
        self.events: list[Event] = []
        self.ends: list[ChildExit] = []
        self.child = Child(module, on_event=self.events.append, on_exit=self.ends.append, log=log)

    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, LogLine)]

    def until(self, text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in self.texts():
            assert time.monotonic() < deadline, f"no {text!r} among {self.texts()}"
            time.sleep(0.01)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Watched]]:
    """Makes a child from the source of its module."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made: list[Watched] = []

    def make(source: str) -> Watched:
        name = f"child_{len(made)}"
        (tmp_path / f"{name}.py").write_text(PREAMBLE + textwrap.dedent(source))
        made.append(Watched(name, tmp_path / f"{name}.log"))
        return made[-1]

    yield make
    for each in made:
        each.child.kill()
        each.child.wait(10)


def test_commands_go_in_and_events_come_out_in_order(watched) -> None:
    echo = watched(ECHO)
    echo.child.start([StopReply(request="a")])
    echo.until("stop_reply")
    echo.child.send(Quit())
    end = echo.child.wait(10)
    assert echo.texts() == ["ready", "stop_reply"]
    assert end == echo.ends[0]
    assert end.code == 0
    assert end.wanted


def test_prints_and_garbage_on_stdout_do_not_disturb_the_events(watched, tmp_path: Path) -> None:
    child = watched(
        """
        import os
        os.write(1, b"\\xff\\x00 garbage before the channel\\n{not json}\\n")
        channel = Channel()
        def work():
            print("a stray print")
            os.system("echo from a grandchild")
            os.write(1, b"from native code\\n")
            channel.emit(LogLine(text="heard"))
        run_child(work, channel.emit)
        """
    )
    child.child.start()
    assert child.child.wait(20).code == 0
    assert child.texts() == ["heard"]
    log = (tmp_path / "child_0.log").read_text()
    assert "a stray print" in log
    assert "from a grandchild" in log
    assert "from native code" in log


def test_a_child_that_ignores_every_polite_stop_is_killed_within_eight_seconds(watched) -> None:
    child = watched(
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        channel = Channel(urgent=lambda command: True)
        channel.emit(LogLine(text="ready"))
        while True:
            time.sleep(1)
        """
    )
    child.child.start()
    child.until("ready")
    begun = time.monotonic()
    child.child.stop(Quit(), grace=1.0)
    assert time.monotonic() - begun < 0.5, "stop itself does not wait"
    end = child.child.wait(10)
    assert time.monotonic() - begun < 8
    assert end.wanted
    assert end.code == -signal.SIGKILL


def test_an_orderly_stop_does_not_wait_for_the_grace(watched) -> None:
    echo = watched(ECHO)
    echo.child.start()
    echo.until("ready")
    begun = time.monotonic()
    echo.child.stop(Quit())
    assert echo.child.wait(10).code == 0
    assert time.monotonic() - begun < 3


def test_a_killed_child_is_told_as_an_unwanted_end_in_a_sentence(watched) -> None:
    echo = watched(ECHO)
    echo.child.start()
    echo.until("ready")
    os.kill(echo.child.pid, signal.SIGKILL)
    end = echo.child.wait(10)
    assert not end.wanted
    assert "killed" in end.sentence
    assert not echo.child.alive
    assert not echo.child.send(Quit())


def test_a_child_ends_when_its_parent_is_gone(tmp_path: Path, watched) -> None:
    watched(ECHO)
    parent = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from xeno.workers.child import Child
child = Child("child_0", on_event=lambda e: print(child.pid, flush=True), on_exit=lambda e: None)
child.start()
time.sleep(60)
"""
    import subprocess

    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    with process:
        orphan = psutil.Process(int(process.stdout.readline()))
        process.kill()
    gone, _ = psutil.wait_procs([orphan], timeout=10)
    assert gone


def test_secrets_are_neither_in_the_command_line_nor_in_the_environment(watched) -> None:
    key = "ab" * 32
    echo = watched(ECHO)
    echo.child.start([OpenProfile(home="/nowhere", profile="p", key=key)])
    echo.until("open_profile")
    process = psutil.Process(echo.child.pid)
    assert key not in " ".join(process.cmdline())
    assert key not in str(process.environ())
    assert process.environ()["OMP_WAIT_POLICY"] == "PASSIVE"
    assert key not in repr(OpenProfile(home="/nowhere", profile="p", key=key))


def test_a_wrong_command_is_ignored_and_not_repeated_in_the_log(watched, tmp_path: Path) -> None:
    echo = watched(ECHO)
    echo.child.start()
    echo.until("ready")
    with echo.child._sending:
        echo.child._process.stdin.write(b'{"type": "open_profile", "key": "secret"}\n')
        echo.child._process.stdin.flush()
    echo.child.stop(Quit())
    assert echo.child.wait(10).code == 0
    assert "secret" not in (tmp_path / "child_0.log").read_text()


def test_a_bug_in_a_child_is_an_event_with_its_place_and_without_its_text(
    watched, tmp_path: Path
) -> None:
    child = watched(
        """
        channel = Channel()
        def work():
            raise RuntimeError("dear diary")
        run_child(work, channel.emit)
        """
    )
    child.child.start()
    assert child.child.wait(20).code == 1
    failure = child.events[0]
    assert failure.type == "failure"
    assert "RuntimeError at child_0.py" in failure.why
    assert "diary" not in str(failure)
    assert "diary" not in (tmp_path / "child_0.log").read_text()


def test_a_bug_in_a_listener_is_reported_and_the_child_goes_on(
    watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[str] = []
    monkeypatch.setattr(
        threading, "excepthook", lambda args: reported.append(args.exc_type.__name__)
    )
    echo = watched(ECHO)
    keep = echo.child._on_event

    def listener(event: Event) -> None:
        keep(event)
        raise KeyError

    echo.child._on_event = listener
    echo.child.start([Quit()])
    assert echo.child.wait(10).code == 0
    assert reported == ["KeyError"]


def test_a_listener_that_fails_where_nobody_can_be_told_does_not_lose_the_childs_end(
    watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(threading, "excepthook", broken)
    echo = watched(ECHO)
    echo.child._on_event = broken
    echo.child.start([Quit()])
    assert echo.child.wait(20) is not None
    assert [end.code for end in echo.ends] == [0]


def test_a_second_start_is_refused(watched) -> None:
    echo = watched(ECHO)
    echo.child.start([Quit()])
    with pytest.raises(ChildError):
        echo.child.start()
    echo.child.wait(10)
