"""The selected version in full: summary, report of the gate, lineage, manifest."""

from __future__ import annotations

from PyQt6.QtGui import QFontDatabase
from PyQt6.QtWidgets import (
    QPlainTextEdit,
    QStackedWidget,
    QTabBar,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ui import version_pages
from ui.session import Session
from ui.version_reading import Details, details
from ui.version_words import BASE_MODEL
from ui.widgets.basics import Page
from ui.widgets.gate_report import GateReportView
from xeno.versions.registry import Version


class VersionDetails(QWidget):
    """Read off the window's thread whenever another version is selected."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.shown: Details | None = None
        self.bar = QTabBar()
        self.bar.setProperty("kind", "pages")
        self.bar.setAccessibleName("Details of the selected version")
        self.bar.setDrawBase(False)
        self.bar.setExpanding(False)
        self.summary, self.lineage = _page("Summary"), _page("Lineage")
        self.gate = GateReportView(session.theme)
        self.manifest = QPlainTextEdit()
        self.manifest.setAccessibleName("Manifest")
        self.manifest.setReadOnly(True)
        self.manifest.setTabChangesFocus(True)
        self.manifest.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        gate = Page()
        gate.setAccessibleName("Gate")
        gate.add(self.gate)
        gate.column.addStretch(1)
        self.stack = QStackedWidget()
        for title, page in (
            ("Summary", self.summary),
            ("Gate", gate),
            ("Lineage", self.lineage),
            ("Manifest", self.manifest),
        ):
            self.bar.addTab(title)
            self.stack.addWidget(page)
        self.bar.currentChanged.connect(self.stack.setCurrentIndex)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.bar)
        layout.addWidget(self.stack, 1)

    def show_version(self, version: Version | None) -> None:
        """Show `version`, or nothing."""
        self.setVisible(version is not None)
        if version is None:
            self.shown = None
            return
        profile = self._session.profile
        self._session.do(
            lambda: details(profile, version), self._show, owner=self, key="version details"
        )

    def open(self, title: str) -> None:
        """Bring a page to the front."""
        titles = [self.bar.tabText(place) for place in range(self.bar.count())]
        self.bar.setCurrentIndex(titles.index(title))

    def _show(self, found: Details) -> None:
        again = self.shown is not None and self.shown.version.address == found.version.address
        self.shown = found
        report = found.report
        compared = BASE_MODEL.lower()
        if report is not None and report.compared is not None:
            compared = found.names.get(report.compared, "another version")
        self.gate.show_report(report, compared)
        for view, text in (
            (self.summary, version_pages.summary(found)),
            (self.lineage, version_pages.lineage(found)),
        ):
            bar = view.verticalScrollBar()
            place = bar.value() if bar is not None and again else 0
            view.setHtml(text)
            if bar is not None:
                bar.setValue(place)
        self.manifest.setPlainText(version_pages.manifest(found))


def _page(name: str) -> QTextBrowser:
    view = QTextBrowser()
    view.setAccessibleName(name)
    view.setOpenLinks(False)
    view.setTabChangesFocus(True)
    return view
