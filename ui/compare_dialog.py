"""Versions side by side: what is compared, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QSpinBox,
    QTabWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ui import comparison_pages
from ui.session import Session
from ui.version_words import BASE_MODEL, titled
from ui.widgets.basics import allow, button, label, row
from ui.widgets.work_dialog import WorkDialog
from xeno.events import CompareVersions, VersionsCompared
from xeno.gate.prompts import PROMPTS
from xeno.versions.comparing import Comparison
from xeno.versions.registry import Version
from xeno.workers.version_work_client import VersionWork

BASE = "base"
_MOST = 6
_EXAMPLES = 3
_ADDRESS = int(Qt.ItemDataRole.UserRole)
_PAGES = ("What to compare", "Replies", "Figures")


class CompareDialog(WorkDialog):
    """Two to six versions, or the base model, on the same questions and held-out pairs.

    Args:
        versions: all that can be chosen.
        chosen: those that are, the first being what the others are compared with.
    """

    def __init__(
        self,
        session: Session,
        versions: Sequence[Version],
        chosen: Sequence[str],
        parent: QWidget,
    ) -> None:
        super().__init__(session, "Compare versions", "the comparison", parent)
        self.setMinimumSize(560, 460)
        self.resize(940, 700)
        self._titles = {BASE: BASE_MODEL} | {each.label: titled(each) for each in versions}
        self.found: Comparison | None = None
        self.first = QComboBox()
        self.first.setAccessibleName("Compared with")
        self.others = QListWidget()
        self.others.setAccessibleName("Versions to compare")
        self.others.setMinimumHeight(110)
        for title, address in (
            *((titled(each), each.address) for each in versions),
            (BASE_MODEL, BASE),
        ):
            self.first.addItem(title, address)
            item = QListWidgetItem(title, self.others)
            item.setData(_ADDRESS, address)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            ticked = address in chosen[1:]
            item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
        self.first.setCurrentIndex(max(0, self.first.findData(chosen[0])))
        self.prompts = QPlainTextEdit("\n".join(question for _, question in PROMPTS[:_EXAMPLES]))
        self.prompts.setAccessibleName("Questions to ask, one a line")
        self.prompts.setTabChangesFocus(True)
        self.pairs = QCheckBox("Also on &held-out pairs")
        self.pairs.setAccessibleName("Also on held-out pairs")
        self.pairs.setToolTip("Up to 64 pairs of conversations that none of them learned from")
        self.pairs.setChecked(True)
        self.longest = QSpinBox()
        self.longest.setAccessibleName("Longest reply, in tokens")
        self.longest.setRange(1, 4096)
        self.longest.setValue(128)
        self.longest.setSuffix(" tokens")
        self.replies, self.figures = _page("Replies side by side"), _page("Figures")
        self.tabs = QTabWidget()
        self.tabs.setAccessibleName("Pages of the comparison")
        self.tabs.setDocumentMode(True)
        self.start = button("&Compare", "primary", name="Compare the versions")
        self._lay_out()
        self._connect()
        self.gate()

    def _lay_out(self) -> None:
        setup = QWidget()
        grid = QGridLayout(setup)
        grid.setContentsMargins(2, 14, 2, 2)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(8)
        for place, (title, control) in enumerate(
            (
                ("Compared &with", self.first),
                ("&Versions", self.others),
                ("&Questions", self.prompts),
            )
        ):
            name = label(title, wrap=False)
            name.setTextFormat(Qt.TextFormat.AutoText)
            name.setBuddy(control)
            grid.addWidget(name, place, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(control, place, 1)
        hint = label(
            "One question a line, each sent as a first message. Answered greedily.", "tiny"
        )
        grid.addWidget(hint, 3, 1)
        longest = label("&Longest reply", wrap=False)
        longest.setBuddy(self.longest)
        grid.addLayout(row(self.pairs, None, longest, self.longest), 4, 1)
        grid.setRowStretch(1, 1)
        grid.setRowStretch(2, 1)
        for title, page in zip(_PAGES, (setup, self.replies, self.figures), strict=True):
            self.tabs.addTab(page, title)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 16, 22, 18)
        layout.setSpacing(12)
        layout.addWidget(self.notice)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.work)
        layout.addLayout(row(None, self.close_button, self.start))
        for place in (1, 2):
            self.tabs.setTabVisible(place, False)

    def _connect(self) -> None:
        self.first.currentIndexChanged.connect(lambda _: self.gate())
        self.others.itemChanged.connect(lambda _: self.gate())
        self.prompts.textChanged.connect(self.gate)
        self.pairs.toggled.connect(lambda _: self.gate())
        self.start.clicked.connect(self.compare)
        self._session.theme.changed.connect(self._paint)

    def chosen(self) -> tuple[str, ...]:
        """What is compared, the reference first."""
        first = str(self.first.currentData())
        items = [self.others.item(place) for place in range(self.others.count())]
        others = [
            str(item.data(_ADDRESS))
            for item in items
            if item is not None and item.checkState() == Qt.CheckState.Checked
        ]
        return (first, *(each for each in others if each != first))

    def compare(self) -> None:
        """Let the versions answer and read, in a child."""
        profile = self._session.profile
        order = CompareVersions(
            versions=self.chosen(),
            prompts=self._asked(),
            held_out=self.pairs.isChecked(),
            max_tokens=self.longest.value(),
        )
        self.notice.hide()
        self.work.begin(lambda tell: VersionWork(profile, order, tell))
        self.gate()

    def _asked(self) -> tuple[str, ...]:
        lines = (line.strip() for line in self.prompts.toPlainText().splitlines())
        return tuple(line for line in lines if line)

    def gate(self) -> None:
        """Offer what can be done now."""
        busy = "The versions are being compared." if self.work.busy else ""
        why = ""
        if len(self.chosen()) < 2:
            why = "Tick a version to compare."
        elif len(self.chosen()) > _MOST:
            why = f"At most {_MOST} can be compared at once."
        elif not self._asked() and not self.pairs.isChecked():
            why = "Write a question, or compare on held-out pairs."
        allow(self.start, busy or why)
        for control in (self.first, self.others, self.prompts, self.pairs, self.longest):
            allow(control, busy)

    def show_outcome(self, answer: object) -> None:
        """Show the replies and the figures."""
        assert isinstance(answer, VersionsCompared)
        self.found = Comparison.model_validate(answer.comparison)
        self._paint()
        for place in (1, 2):
            self.tabs.setTabVisible(place, True)
        self.tabs.setCurrentIndex(1 if self.found.prompts else 2)
        self.gate()

    def _paint(self) -> None:
        if self.found is not None:
            colors = self._session.theme.colors
            self.replies.setHtml(comparison_pages.replies(self.found, colors, self._titles))
            self.figures.setHtml(comparison_pages.figures(self.found, self._titles))


def _page(name: str) -> QTextBrowser:
    view = QTextBrowser()
    view.setAccessibleName(name)
    view.setOpenLinks(False)
    view.setTabChangesFocus(True)
    return view
