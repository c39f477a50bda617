"""One window per home: a second launch raises the first one and ends."""

from __future__ import annotations

import getpass
import hashlib

from PyQt6.QtCore import QObject, pyqtSignal
from PyQt6.QtNetwork import QLocalServer, QLocalSocket

from xeno.paths import Home

_WAIT = 1000  # ms


class SingleInstance(QObject):
    """The claim on a home. `raised` is emitted when another launch asked for the window."""

    raised = pyqtSignal()

    def __init__(self, home: Home) -> None:
        super().__init__()
        key = f"{getpass.getuser()}\0{home.folder}"
        self.name = "xeno-" + hashlib.sha256(key.encode()).hexdigest()[:24]
        self._server: QLocalServer | None = None

    def claim(self) -> bool:
        """True if this is the only window on the home; otherwise the other one was raised."""
        if self._ask_other():
            return False
        server = QLocalServer(self)
        server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        if not server.listen(self.name):
            if self._ask_other():  # it started at the same moment
                return False
            QLocalServer.removeServer(self.name)  # left behind by a crash
            server.listen(self.name)
        server.newConnection.connect(self._connected)
        self._server = server
        return True

    def release(self) -> None:
        """Give the claim back."""
        if self._server is not None:
            self._server.close()

    def _ask_other(self) -> bool:
        socket = QLocalSocket()
        socket.connectToServer(self.name)
        if not socket.waitForConnected(_WAIT):
            return False
        socket.write(b"raise\n")
        socket.waitForBytesWritten(_WAIT)
        socket.disconnectFromServer()
        return True

    def _connected(self) -> None:
        assert self._server is not None
        connection = self._server.nextPendingConnection()
        if connection is not None:
            connection.disconnected.connect(connection.deleteLater)
        self.raised.emit()
