"""Opens the window: the profile first, then everything else around it."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PyQt6.QtCore import QEventLoop, QTimer
from PyQt6.QtGui import QGuiApplication
from PyQt6.QtWidgets import QApplication, QMessageBox

from ui.crash import CrashReports
from ui.main_window import MainWindow
from ui.passphrase_dialog import PassphraseAsker
from ui.session import Session, read_settings
from ui.single_instance import SingleInstance
from ui.tasks import Explanation
from ui.theme import Theme
from xeno.errors import LockedProfileError
from xeno.paths import Home
from xeno.store.profile import Profile, open_profile

NO_DISPLAY = "There is no display to open a window on; run `make demo` to see XENO at work here."


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the window and stay until it is closed. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="xeno-gui", description="Opens XENO's window.")
    parser.add_argument("--home", metavar="DIR", help="the folder that holds all data")
    chosen = parser.parse_args(arguments)
    if not has_display():
        print(NO_DISPLAY, file=sys.stderr)
        return 1
    app = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(app, QApplication)
    app.setApplicationName("XENO")
    app.setDesktopFileName("xeno")
    QGuiApplication.setQuitOnLastWindowClosed(True)
    home = Home.at(chosen.home)
    reports = CrashReports(home.folder / "crash-reports")
    reports.install()
    instance = SingleInstance(home)
    try:
        if not instance.claim():
            return 0
        return _run(app, home, instance)
    finally:
        instance.release()
        reports.uninstall()


def _run(app: QApplication, home: Home, instance: SingleInstance) -> int:
    theme = Theme(app)
    theme.apply()
    opened = open_for_window(home)
    if opened is None:
        return 1
    profile, settings = opened
    theme.apply(settings.get("ui.theme", "system"), settings.get("ui.text_size", "normal"))
    session = Session(profile, theme, settings)
    window = MainWindow(session)
    instance.raised.connect(window.raise_window)
    window.show()
    QTimer.singleShot(0, window.begin)
    try:
        return app.exec()
    finally:
        session.close()


def open_for_window(home: Home) -> tuple[Profile, dict[str, Any]] | None:
    """The profile and the window's settings, read on a worker thread; None if it stays locked.

    A wrong passphrase is asked for again; any other failure is told.
    """
    asker = PassphraseAsker()
    while True:
        try:
            return _waited(lambda: _open(home, asker))
        except Exception as error:  # the edge: it is shown, whatever it is
            if asker.cancelled:
                return None
            told = Explanation.of(error)
            if isinstance(error, LockedProfileError) and asker._answer is not None:
                asker.problem = told.what
                continue
            box = QMessageBox(QMessageBox.Icon.Critical, "XENO", told.what)
            box.setInformativeText("\n".join(filter(None, (told.why, told.todo))))
            box.exec()
            return None


def _open(home: Home, asker: PassphraseAsker) -> tuple[Profile, dict[str, Any]]:
    profile = open_profile(home, passphrase=asker.ask)
    return profile, read_settings(profile)


def _waited(work: Any) -> Any:
    """The result of `work`, computed on another thread while the window's events go on."""
    loop = QEventLoop()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        poll = QTimer()
        poll.timeout.connect(lambda: loop.quit() if future.done() else None)
        poll.start(5)
        loop.exec()
    return future.result()


def has_display() -> bool:
    """Whether Qt will find a display. Qt itself ends the process when it finds none."""
    if sys.platform in ("win32", "darwin"):
        return True
    platform = os.environ.get("QT_QPA_PLATFORM", "")
    if platform.split(":")[0] in ("offscreen", "minimal", "vnc", "linuxfb", "eglfs"):
        return True
    if os.environ.get("WAYLAND_DISPLAY"):
        return True
    display = os.environ.get("DISPLAY", "")
    return bool(display) and _answers(display)


def _answers(display: str) -> bool:
    """Whether the X server `display` accepts a connection; True where that cannot be asked."""
    host, _, rest = display.rpartition(":")
    number = rest.split(".")[0]
    if host not in ("", "unix") or not number.isdigit():
        return True
    path = Path(f"/tmp/.X11-unix/X{number}")
    for address in (str(path), f"\0{path}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(address)
            except OSError:
                continue
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
