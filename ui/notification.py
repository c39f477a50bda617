"""A message on the desktop when a run has ended and the window is not the one in front.

On Linux it goes to the desktop's notification service over the session bus, elsewhere through
the system tray. It says that a run ended and how; never what was learned or said.
"""

from __future__ import annotations

import sys

from PyQt6.QtCore import QMetaType, QTimer
from PyQt6.QtGui import QIcon
from PyQt6.QtWidgets import QApplication, QSystemTrayIcon

SETTING = "ui.notify"
_SERVICE, _PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
_SHOWN = 10_000  # ms


def why_not() -> str:
    """Why this desktop shows no messages; empty where it does."""
    if _is_linux():
        from PyQt6.QtDBus import QDBusConnection

        if not QDBusConnection.sessionBus().isConnected():
            return "There is no session bus here that could carry a message to the desktop."
        return ""
    if not QSystemTrayIcon.isSystemTrayAvailable() or not QSystemTrayIcon.supportsMessages():
        return "This desktop has no place for messages."
    return ""


def notify(title: str, text: str) -> bool:
    """Show a message on the desktop; whether it was handed over."""
    if why_not():
        return False
    return _over_bus(title, text) if _is_linux() else _from_tray(title, text)


def _is_linux() -> bool:
    return sys.platform.startswith("linux")


def _over_bus(title: str, text: str) -> bool:
    """Freedesktop's Notify: name, replaces, icon, summary, body, actions, hints, milliseconds."""
    from PyQt6.QtDBus import QDBusArgument, QDBusConnection, QDBusMessage

    message = QDBusMessage.createMethodCall(_SERVICE, _PATH, _SERVICE, "Notify")
    replaces, milliseconds = QDBusArgument(), QDBusArgument()
    replaces.add(0, QMetaType.Type.UInt.value)
    milliseconds.add(_SHOWN, QMetaType.Type.Int.value)
    actions = QDBusArgument([], QMetaType.Type.QStringList.value)
    # The body may be read as markup.
    body = text.replace("&", "&amp;").replace("<", "&lt;")
    message.setArguments(["XENO", replaces, "", title, body, actions, {}, milliseconds])
    return QDBusConnection.sessionBus().send(message)


def _from_tray(title: str, text: str) -> bool:
    icon = QApplication.windowIcon()
    tray = QSystemTrayIcon(icon if not icon.isNull() else QIcon(), QApplication.instance())
    tray.show()
    tray.showMessage(title, text, icon, _SHOWN)
    QTimer.singleShot(_SHOWN, tray.deleteLater)
    return True
