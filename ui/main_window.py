"""The window: five tabs, the assistant at the right, menus, and a status bar."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from PyQt6.QtCore import QByteArray, Qt, QTimer, QUrl, pyqtSignal
from PyQt6.QtGui import QAction, QActionGroup, QCloseEvent, QDesktopServices, QKeySequence
from PyQt6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLabel,
    QMainWindow,
    QMenu,
    QMessageBox,
    QTabWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ui.assistant_dock import AssistantDock
from ui.forecasting import ForecastFeed
from ui.import_dialog import ImportDialog
from ui.performance_tab import PerformanceTab
from ui.personalization_tab import PersonalizationTab
from ui.privacy_tab import PrivacyTab
from ui.reply_settings_dialog import ReplySettingsDialog
from ui.session import Session
from ui.theme import MODES, TEXT_SIZES
from ui.training_tab import TrainingTab
from ui.version_names import VersionNames
from ui.versions_tab import VersionsTab
from ui.widgets.basics import label
from ui.widgets.notice import Notice
from ui.words import count
from xeno import __version__
from xeno.data.transcript import write_transcript
from xeno.inference.settings import ReplySettings, read_settings
from xeno.store.conversations import Conversations
from xeno.store.runs import Run, Runs

SHORTCUTS = (
    ("Ctrl+1 … Ctrl+5", "Personalization, Training, Performance, Versions, Privacy"),
    ("Ctrl+Page Up, Ctrl+Page Down", "The page before, the next one, in Personalization"),
    ("Ctrl+L", "Write a message to the assistant"),
    ("Enter, Shift+Enter", "Send the message, begin a line"),
    ("Esc", "Stop the reply"),
    ("Ctrl+R", "Answer again"),
    ("Ctrl+E", "Suggest an improvement of the last reply"),
    ("Ctrl+Enter", "Save the improved reply"),
    ("Ctrl+,", "How replies are drawn and computed"),
    ("Ctrl+N", "New conversation"),
    ("Ctrl+H", "Earlier conversations"),
    ("Ctrl+B", "Show or hide the assistant"),
    ("Ctrl+I", "Import preference pairs"),
    ("Ctrl+Z, Ctrl+Shift+Z", "Undo, redo an edit of pairs"),
    ("1, 2, 0", "Between two replies: the first, the second, neither is better (or with Alt)"),
    ("Ctrl+S", "Export the conversation"),
    ("F5", "Refresh the open tab"),
    ("F1", "This list"),
    ("Ctrl+Q", "Quit"),
)
NARROWEST = 588  # px of the tabs: what the pages of Personalization need
_HOST_WORDS = {"starting": "Assistant is loading", "ready": "Assistant ready"}


class MainWindow(QMainWindow):
    """Everything that the user sees.

    Args:
        session: the open profile; closed by whoever made it, after `closed`.
    """

    closed = pyqtSignal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._closing = False
        self.setWindowTitle("XENO")
        self.setDockOptions(QMainWindow.DockOption.AnimatedDocks)
        self.names = VersionNames(session)
        self.feed = ForecastFeed(session)
        self.notice = Notice(session.theme)
        self.personalization = PersonalizationTab(session, self.import_pairs)
        self.training = TrainingTab(session, self.feed, self.import_pairs)
        self.performance = PerformanceTab(session)
        self.versions = VersionsTab(session)
        self.privacy = PrivacyTab(session, self.feed)
        self.tabs = QTabWidget()
        self.tabs.setAccessibleName("Tabs")
        self.tabs.setDocumentMode(True)
        self.tabs.setMinimumWidth(NARROWEST)  # in a small window the assistant gives way first
        bar = self.tabs.tabBar()
        assert bar is not None
        bar.setDrawBase(False)
        for tab, title in (
            (self.personalization, "Personalization"),
            (self.training, "Training"),
            (self.performance, "Performance"),
            (self.versions, "Versions"),
            (self.privacy, "Privacy"),
        ):
            tab.setAccessibleName(title)
            self.tabs.addTab(tab, title)
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.notice)
        column.addWidget(self.tabs, 1)
        self.setCentralWidget(centre)
        self.assistant = AssistantDock(session, self.names)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.assistant)
        self._build_status()
        self._build_menus()
        self._connect()
        self._restore()

    def begin(self) -> None:
        """What is done once the window is on screen: the model loads, leftovers are told."""
        self.names.reload()
        self._session.warm_host()
        runs = Runs(self._session.profile.db)
        self._session.do(runs.mark_interrupted, self._tell_interrupted, owner=self)
        self._session.runs.begin()
        # Loaded ahead on another thread, so that the first plot is there at once.
        self._session.do(lambda: importlib.import_module("pyqtgraph"))
        self.personalization.prepare()

    # Parts --------------------------------------------------------------------------------

    def _build_status(self) -> None:
        bar = self.statusBar()
        assert bar is not None
        self.answering = label("", wrap=False)
        self.answering.setAccessibleName("Which model answers")
        self.run_state = label("", wrap=False)
        self.run_state.setAccessibleName("Training")
        self.host = label("", wrap=False)
        self.host.setAccessibleName("State of the assistant")
        bar.addWidget(self.answering)
        bar.addPermanentWidget(self.run_state)
        bar.addPermanentWidget(self.host)
        bar.setSizeGripEnabled(False)

    def _build_menus(self) -> None:
        bar = self.menuBar()
        assert bar is not None
        files, view, helps = bar.addMenu("&File"), bar.addMenu("&View"), bar.addMenu("&Help")
        assert files is not None
        assert view is not None
        assert helps is not None
        self._action(files, "&Import preference pairs…", self.import_pairs, "Ctrl+I")
        self.export_action = self._action(
            files, "&Export conversation…", self.export_conversation, "Ctrl+S"
        )
        files.aboutToShow.connect(self._gate_export)
        files.setToolTipsVisible(True)
        files.addSeparator()
        self._action(files, "&Quit", self.close, "Ctrl+Q")
        for place in range(self.tabs.count()):
            self._action(
                view,
                f"&{place + 1} {self.tabs.tabText(place)}",
                lambda _=False, place=place: self.tabs.setCurrentIndex(place),
                f"Ctrl+{place + 1}",
            )
        view.addSeparator()
        toggle = self.assistant.toggleViewAction()
        assert toggle is not None
        toggle.setText("Show &assistant")
        toggle.setShortcut(QKeySequence("Ctrl+B"))
        view.addAction(toggle)
        self._action(view, "&New conversation", self._new_conversation, "Ctrl+N")
        self._action(view, "&Write a message", self._write, "Ctrl+L")
        self._action(view, "&Earlier conversations", self._conversations, "Ctrl+H")
        self._action(view, "S&top the reply", self.assistant.chat.stop, "Esc")
        self._action(view, "Answer a&gain", self.assistant.regenerate, "Ctrl+R")
        self._action(view, "Suggest an &improvement", self.assistant.suggest_improvement, "Ctrl+E")
        self._action(view, "&Refresh", self._refresh, "F5")
        view.addSeparator()
        self.offers = QAction("Offer &comparisons of replies", self, checkable=True, checked=True)
        self.offers.setToolTip("Now and then, below the conversation")
        comparison = self.assistant.comparison
        self.offers.triggered.connect(comparison.switch)
        view.aboutToShow.connect(lambda: comparison.tell_on(self.offers.setChecked))
        view.addAction(self.offers)
        self._action(view, "Reply &settings…", self.change_reply_settings, "Ctrl+,")
        theme = self._session.theme
        self._choices(view, "&Theme", MODES, theme.mode, lambda name: self._look("ui.theme", name))
        self._choices(
            view, "Text &size", TEXT_SIZES, theme.text_size,
            lambda name: self._look("ui.text_size", name),
        )  # fmt: skip
        self._action(helps, "&Keyboard shortcuts", self.show_shortcuts, "F1")
        self._action(helps, "Open the &data folder", self._open_folder)
        self._action(helps, "&About XENO", self._about)

    def _action(self, menu: QMenu, text: str, do: Callable[..., object], key: str = "") -> QAction:
        action = QAction(text, self)
        if key:
            action.setShortcut(QKeySequence(key))
        action.triggered.connect(lambda checked=False: do())
        menu.addAction(action)
        return action

    def _choices(
        self, menu: QMenu, title: str, names: object, current: str, choose: Callable[[str], None]
    ) -> None:
        submenu = menu.addMenu(title)
        assert submenu is not None
        group = QActionGroup(submenu)
        for name in names:  # type: ignore[attr-defined]
            action = QAction(str(name).capitalize(), group, checkable=True)
            action.setChecked(name == current)
            action.triggered.connect(lambda _, name=name: choose(name))
            submenu.addAction(action)

    def _connect(self) -> None:
        session = self._session
        session.tasks.failed.connect(self.notice.explain)
        session.told.connect(lambda text, detail: self.notice.inform(text, detail))
        session.host_state.connect(self._show_host)
        session.run_started.connect(lambda _: self.run_state.setText("Training"))
        session.run_finished.connect(lambda _: self.run_state.setText(""))
        session.plan_changed.connect(self._show_answering)
        self.names.changed.connect(self._show_answering)
        self.closed.connect(self.privacy.audit.close_run)
        self.training.privacy_wanted.connect(lambda: self.tabs.setCurrentWidget(self.privacy))

    # Status -------------------------------------------------------------------------------

    def _show_host(self, state: str, sentence: str) -> None:
        self.host.setText(_HOST_WORDS.get(state, "Assistant is not running"))
        self.host.setToolTip(sentence)
        self._show_answering()

    def _show_answering(self) -> None:
        if text := self.names.answering():
            pass
        elif self._session.host_ready is not None:
            text = f"Base model answers: {self._session.host_ready.name}"
        else:
            text = "Base model answers"
        self.answering.setText(text)

    def _tell_interrupted(self, runs: list[Run]) -> None:
        if runs:
            self.notice.inform(
                f"{count(len(runs), 'run')} did not end when XENO was last closed.",
                "Your pairs and versions are as they were. It can be resumed in the Training tab.",
                kind="warning",
                action="&Show it",
                do=lambda: self.tabs.setCurrentWidget(self.training),
            )

    # Actions ------------------------------------------------------------------------------

    def change_reply_settings(self) -> None:
        """Open the settings of replies."""
        session = self._session

        def opened(settings: ReplySettings) -> None:
            ReplySettingsDialog(session, settings, self).open()

        session.do(lambda: read_settings(session.profile), opened, owner=self, key="reply settings")

    def import_pairs(self) -> ImportDialog:
        """Open the import of a preference file."""
        dialog = ImportDialog(self._session, self)
        dialog.open()
        return dialog

    def export_conversation(self) -> None:
        """Write the open conversation to a file, as Markdown or JSON."""
        if self.assistant.chat.conversation_id is None:
            return
        name, _ = QFileDialog.getSaveFileName(
            self, "Export the conversation", "conversation.md", "Markdown (*.md);;JSON (*.json)"
        )
        if name:
            self.export_to(Path(name))

    def export_to(self, path: Path) -> None:
        """Write the open conversation to `path`; `.json` gives JSON, all else Markdown."""
        conversation_id = self.assistant.chat.conversation_id
        store = Conversations(self._session.profile.db)

        def work() -> None:
            assert conversation_id is not None
            write_transcript(path, store.messages(conversation_id))

        self._session.do(
            work, lambda _: self.notice.inform("The conversation is exported."), owner=self
        )

    def _gate_export(self) -> None:
        missing = self.assistant.chat.conversation_id is None
        self.export_action.setEnabled(not missing)
        self.export_action.setToolTip("No conversation is open." if missing else "")

    def _new_conversation(self) -> None:
        self.assistant.show()
        self.assistant.new_conversation()

    def _write(self) -> None:
        self.assistant.show()
        self.assistant.input.setFocus()

    def _conversations(self) -> None:
        self.assistant.show()
        self.assistant.list_button.toggle()
        if self.assistant.list_button.isChecked():
            self.assistant.conversations.search.setFocus()

    def _refresh(self) -> None:
        tab = self.tabs.currentWidget()
        if tab is self.training:
            self.feed.refresh()
        elif tab is not None:
            tab.reload()  # type: ignore[attr-defined]

    def _look(self, setting: str, name: str) -> None:
        self._session.set(setting, name)
        self._session.theme.apply(
            self._session.setting("ui.theme", "system"),
            self._session.setting("ui.text_size", "normal"),
        )

    def show_shortcuts(self) -> None:
        """The list of keys."""
        rows = "".join(
            f"<tr><td style='padding:4px 28px 4px 0'><b>{key}</b></td><td>{what}</td></tr>"
            for key, what in SHORTCUTS
        )
        page = QTextBrowser()
        page.setAccessibleName("Keyboard shortcuts")
        page.setHtml(f"<table>{rows}</table>")
        self._dialog("Keyboard shortcuts", page)

    def _about(self) -> None:
        page = QLabel(
            f"<h3>XENO {__version__}</h3>"
            "<p>Makes a local language model its user's own.</p>"
            "<p>Free software under the GNU General Public License, version 3 or later. It comes "
            "without any warranty.</p><p>Everything stays on this computer.</p>"
        )
        page.setWordWrap(True)
        self._dialog("About XENO", page)

    def _dialog(self, title: str, page: QWidget) -> None:
        dialog = QDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(title)
        dialog.setMinimumSize(520, 420 if isinstance(page, QTextBrowser) else 160)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(dialog.close)
        layout = QVBoxLayout(dialog)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.addWidget(page, 1)
        layout.addWidget(buttons)
        dialog.open()

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._session.profile.home.folder)))

    # Opening and closing ------------------------------------------------------------------

    def _restore(self) -> None:
        self.resize(1320, 860)
        for setting, restore in (
            ("ui.geometry", self.restoreGeometry),
            ("ui.layout", self.restoreState),
        ):
            stored = self._session.setting(setting)
            if isinstance(stored, str):
                restore(QByteArray.fromHex(stored.encode("ascii", "ignore")))
        if self._session.setting("ui.layout") is None:
            self.resizeDocks([self.assistant], [430], Qt.Orientation.Horizontal)

    def raise_window(self) -> None:
        """Bring the window to the front: a second launch asked for it."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802
        assert event is not None
        if self.training.training and not self._may_close():
            event.ignore()
            return
        if self.training.training:  # close again when the run has ended
            event.ignore()
            self._session.run_finished.connect(lambda _: QTimer.singleShot(0, self.close))
            return
        for setting, state in (
            ("ui.geometry", self.saveGeometry()),
            ("ui.layout", self.saveState()),
        ):
            self._session.set(setting, bytes(state.toHex().data()).decode("ascii"))
        super().closeEvent(event)
        if not self._closing:
            self._closing = True
            self.closed.emit()

    def _may_close(self) -> bool:
        question = QMessageBox(self)
        question.setWindowTitle("A run is training")
        question.setText("Stop the run and close?")
        later = question.addButton("&Go on next time", QMessageBox.ButtonRole.AcceptRole)
        keep = question.addButton("&Keep what it learned", QMessageBox.ButtonRole.AcceptRole)
        discard = question.addButton("&Discard it", QMessageBox.ButtonRole.DestructiveRole)
        stay = question.addButton("&Stay", QMessageBox.ButtonRole.RejectRole)
        question.setDefaultButton(stay)
        question.setEscapeButton(stay)
        question.exec()
        clicked = question.clickedButton()
        if clicked not in (later, keep, discard):
            return False
        if clicked is later:
            self.training.put_back()
        else:
            self.training.stop_run(keep=clicked is keep)
        return True
