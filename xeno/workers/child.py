"""Runs one child process: events out, commands in, a stop that escalates, an end in a sentence.

The window, the command line and the tests use this same supervisor. It knows nothing of Qt:
callbacks are called on the child's reader thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError

import xeno
from xeno.errors import ChildError
from xeno.events import Command, Event, OpenProfile, decode_event, encode
from xeno.store.profile import Profile

GRACE_SECONDS = 5.0  # from the orderly command to SIGTERM
TERMINATE_SECONDS = 3.0  # from SIGTERM to SIGKILL
LONGEST_LINE = 64 * 1024 * 1024
LOG_BYTES = 1024 * 1024

# What a child must not do: spin on the other process's cores, or ask the network for anything.
_CHILD_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class ChildExit:
    """How a child ended.

    Attributes:
        code: its exit status; negative is the number of the signal that ended it.
        sentence: the same in words for the user.
        wanted: whether it was asked to end (`stop` or `kill`) or ended in order (status 0).
    """

    code: int
    sentence: str
    wanted: bool


def opening(profile: Profile) -> OpenProfile:
    """The command that opens `profile` in a child. It holds the key: for a pipe only."""
    return OpenProfile(home=str(profile.home.folder), profile=profile.name, key=profile.key.hex())


class Child:
    """One child process running `python -m module`.

    Args:
        module: the module to run, e.g. "xeno.workers.host".
        on_event: called with every event, on the reader thread.
        on_exit: called once with the end, on the reader thread, after the last event.
        nice: how much the child yields to others (0 to 19); the trainer uses 10.
        log: file that takes the child's stderr; None throws it away.
    """

    def __init__(
        self,
        module: str,
        *,
        on_event: Callable[[Event], None],
        on_exit: Callable[[ChildExit], None],
        nice: int = 0,
        log: Path | None = None,
    ) -> None:
        self.module = module
        self._on_event = on_event
        self._on_exit = on_exit
        self._nice = nice
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._stopper: threading.Thread | None = None
        self._sending = threading.Lock()
        self._ended = threading.Event()
        self._wanted = False
        self._exit: ChildExit | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None before `start`."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process has started and its end has not been seen yet."""
        return self._process is not None and not self._ended.is_set()

    def start(self, commands: Sequence[Command] = ()) -> None:
        """Start the process and send it `commands`, secrets included: they travel on stdin.

        Raises:
            ChildError: if the process cannot be started, or a second start is tried.
        """
        if self._process is not None:
            raise ChildError(f"The child {self.module} was already started.")
        try:
            with _opened(self._log) as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", self.module],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=_environment(),
                    start_new_session=os.name == "posix",  # its own group: Ctrl-C is ours alone
                    creationflags=_creation_flags(self._nice),
                )
        except OSError as error:
            raise ChildError(
                f"The process {self.module} could not be started.",
                f"The system said: {error.strerror or error}.",
                "Close other programs or restart the computer, then try again.",
            ) from error
        if self._nice and os.name == "posix":
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self._nice)
        self._reader = threading.Thread(target=self._read, name=f"reader of {self.module}")
        self._reader.daemon = True
        self._reader.start()
        for command in commands:
            self.send(command)

    def send(self, command: Command) -> bool:
        """Send `command`; False if the child is not there any more to take it."""
        process = self._process
        if process is None or process.stdin is None or self._ended.is_set():
            return False
        with self._sending:
            try:
                process.stdin.write(encode(command))
                process.stdin.flush()
            except (OSError, ValueError):  # a broken pipe, or closed by another thread
                return False
        return True

    def stop(self, orderly: Command | None = None, *, grace: float = GRACE_SECONDS) -> None:
        """Ask the child to end and return at once: `orderly`, SIGTERM, SIGKILL.

        Args:
            orderly: the command that ends it; without one stdin is closed instead.
            grace: seconds it has before SIGTERM to its group; SIGKILL follows 3 s later.
        """
        if not self.alive:
            return
        self._wanted = True
        if orderly is None:
            self._close_stdin()
        else:
            self.send(orderly)
        if self._stopper is None:
            self._stopper = threading.Thread(
                target=self._escalate, args=(grace,), name=f"stop of {self.module}", daemon=True
            )
            self._stopper.start()

    def kill(self) -> None:
        """End the child and its group at once."""
        if self.alive:
            self._wanted = True
            self._signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> ChildExit | None:
        """The end of the child; None if it lives on after `timeout` seconds.

        Called from one of the callbacks it does not wait for the reader thread it is on.
        """
        if self._process is None or not self._ended.wait(timeout):
            return None
        for thread in (self._reader, self._stopper):
            if thread is not None and thread is not threading.current_thread():
                thread.join(timeout)
        return self._exit

    def _read(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with process.stdout as output:
            while line := output.readline(LONGEST_LINE):
                try:
                    event = decode_event(line)
                except ValidationError:
                    continue  # not an event: a library's print that slipped through
                try:
                    self._on_event(event)
                except Exception:  # the thread's edge: a listener's bug must not stall the child
                    _report()
        code = process.wait()
        wanted = self._wanted or code == 0
        self._exit = ChildExit(code, _sentence(self.module, code), wanted)
        self._ended.set()
        self._close_stdin()
        self._on_exit(self._exit)

    def _escalate(self, grace: float) -> None:
        if self._ended.wait(grace):
            return
        self._signal(signal.SIGTERM)
        if self._ended.wait(TERMINATE_SECONDS):
            return
        self._signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

    def _signal(self, number: int) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "nt":
                process.kill()
            else:
                os.killpg(process.pid, number)

    def _close_stdin(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with self._sending, contextlib.suppress(OSError):
                self._process.stdin.close()


def _report() -> None:
    """Give the exception at hand to the program's handler for threads."""
    kind, error, trace = sys.exc_info()
    assert kind is not None
    # Where the handler fails too (standard error is closed, say) nobody is left to tell.
    with contextlib.suppress(Exception):
        threading.excepthook(
            threading.ExceptHookArgs((kind, error, trace, threading.current_thread()))
        )


def _opened(log: Path | None) -> IO[bytes] | contextlib.nullcontext[int]:
    """The file for the child's stderr: appended to, begun anew when it has grown large."""
    if log is None:
        return contextlib.nullcontext(subprocess.DEVNULL)
    log.parent.mkdir(parents=True, exist_ok=True)
    large = log.exists() and log.stat().st_size > LOG_BYTES
    return log.open("wb" if large else "ab")


def _environment() -> dict[str, str]:
    """The child's environment: ours, quiet and offline, and able to import this very package."""
    root = str(Path(xeno.__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **_CHILD_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)}


def _creation_flags(nice: int) -> int:
    """What a process group, no console and less priority are called on Windows; 0 elsewhere."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return flags | (subprocess.BELOW_NORMAL_PRIORITY_CLASS if nice else 0)
    return 0


def _sentence(module: str, code: int) -> str:
    name = {"xeno.workers.host": "model host", "xeno.workers.trainer": "trainer"}.get(
        module, module
    )
    if code == 0:
        return f"The {name} ended."
    if code > 0:
        return f"The {name} ended with status {code}."
    try:
        cause = signal.Signals(-code).name
    except ValueError:
        cause = f"signal {-code}"
    if cause == "SIGKILL":
        return f"The {name} was killed ({cause}), often because memory ran out."
    if cause in {"SIGTERM", "SIGINT", "SIGHUP"}:
        return f"The {name} was told to end ({cause})."
    return f"The {name} crashed ({cause})."
