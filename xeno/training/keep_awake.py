"""Keeps the computer from going to sleep while a run goes on. Never fails.

Linux: an inhibitor of systemd's login manager, held by a child that ends when we do. macOS:
caffeinate, which watches our process. Windows: the thread's execution state.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

_AT_ONCE = 0.2  # seconds in which a helper that cannot work has ended


@contextlib.contextmanager
def kept_awake(wanted: bool = True) -> Iterator[bool]:
    """While the body runs the system does not go to sleep by itself.

    Yields:
        Whether something here does that. Where nothing does, the log (stderr) says so once.
    """
    if not wanted:
        yield False
        return
    if sys.platform == "win32":
        with _execution_state():
            yield True
        return
    helper = _helper()
    if helper is None:
        print("debug: nothing here keeps the computer awake", file=sys.stderr)
        yield False
        return
    try:
        yield True
    finally:
        if helper.stdin is not None:
            with contextlib.suppress(OSError):
                helper.stdin.close()
        helper.terminate()
        helper.wait()


def _helper() -> subprocess.Popen[bytes] | None:
    """The program that keeps the machine awake as long as it runs, None where there is none."""
    if sys.platform == "darwin":
        command = ["caffeinate", "-i", "-w", str(os.getpid())]
    else:
        # `cat` ends when its input closes, which it also does when this process is killed.
        command = [
            "systemd-inhibit",
            "--what=sleep:idle",
            "--who=XENO",
            "--why=A model is being trained",
            "--mode=block",
            "cat",
        ]
    if shutil.which(command[0]) is None:
        return None
    try:
        helper = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
    with contextlib.suppress(subprocess.TimeoutExpired):
        helper.wait(_AT_ONCE)  # there, but without a login manager to ask
        if helper.stdin is not None:
            helper.stdin.close()
        return None
    return helper


@contextlib.contextmanager
def _execution_state() -> Iterator[None]:
    if sys.platform == "win32":
        import ctypes

        continuous, system = 0x80000000, 0x00000001
        ctypes.windll.kernel32.SetThreadExecutionState(continuous | system)
        try:
            yield
        finally:
            ctypes.windll.kernel32.SetThreadExecutionState(continuous)
    else:
        yield
