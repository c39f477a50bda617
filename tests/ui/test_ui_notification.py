"""The message on the desktop, over a real session bus to a real receiver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A receiver with the signature of freedesktop's Notify, and a sender, on one bus.
RECEIVER = """
import sys
from PyQt6.QtCore import QCoreApplication, QObject, QTimer, pyqtClassInfo, pyqtSlot
from PyQt6.QtDBus import QDBusConnection
@pyqtClassInfo("D-Bus Interface", "org.freedesktop.Notifications")
class Receiver(QObject):
    @pyqtSlot(str, "uint", str, str, str, "QStringList", "QVariantMap", int, result="uint")
    def Notify(self, name, replaces, icon, title, text, actions, hints, milliseconds):
        print("received", name, "|", title, "|", text, flush=True)
        QTimer.singleShot(0, app.quit)
        return 1
app = QCoreApplication(sys.argv)
receiver = Receiver()
bus = QDBusConnection.sessionBus()
assert bus.registerObject(
    "/org/freedesktop/Notifications", receiver, QDBusConnection.RegisterOption.ExportAllSlots)
assert bus.registerService("org.freedesktop.Notifications")
print("listening", flush=True)
QTimer.singleShot(20000, app.quit)
app.exec()
"""
SENDER = """
import subprocess, sys
from PyQt6.QtWidgets import QApplication
from ui.notification import notify, why_not
app = QApplication(sys.argv)
receiver = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
assert receiver.stdout.readline() == "listening\\n"
assert why_not() == ""
assert notify("Training has ended", "The run is complete & kept.")
print(receiver.stdout.readline(), end="")
receiver.wait(20)
"""


@pytest.mark.skipif(shutil.which("dbus-run-session") is None, reason="needs a D-Bus daemon")
def test_a_message_reaches_the_desktops_notification_service() -> None:
    ended = subprocess.run(
        ["dbus-run-session", "--", sys.executable, "-c", SENDER, RECEIVER],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert "received XENO | Training has ended | The run is complete &amp; kept." in ended.stdout, (
        ended.stderr
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the tray is used elsewhere")
def test_without_a_bus_nothing_is_sent_and_the_reason_is_said() -> None:
    program = (
        "import sys; from PyQt6.QtWidgets import QApplication; app = QApplication(sys.argv)\n"
        "from ui.notification import notify, why_not\n"
        "print(notify('a', 'b'), why_not())"
    )
    nowhere = os.environ | {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
        env=nowhere,
    )
    assert ended.stdout.startswith("False There is no session bus")
