"""A version before it may answer: the gate's questions, its report, what the user decides."""

from __future__ import annotations

from PyQt6.QtWidgets import (
    QButtonGroup,
    QLineEdit,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ui.deploying import deploy_checked
from ui.session import Session
from ui.version_words import privacy_sentence, titled
from ui.widgets.basics import Page, allow, button, label, row
from ui.widgets.gate_report import GateReportView
from ui.widgets.work_dialog import WorkDialog
from xeno.experiments.canary import Canaries
from xeno.versions.gate import GateReport
from xeno.versions.registry import Registry, Version
from xeno.workers.gate_client import GateRun, valid_report

_CHECKING = "The version is being checked."
_WHY = "It did not pass. Write why it may answer all the same; that is kept in the history."


class DeployDialog(WorkDialog):
    """Checks `version` unless a report says already that it passed; closing changes nothing.

    Args:
        trial: begin with a part of the conversations instead of all.
    """

    def __init__(
        self, session: Session, version: Version, parent: QWidget, *, trial: bool = False
    ) -> None:
        super().__init__(session, f"Deploy {version.label}", "the check", parent)
        self._version = version
        self._passed = False
        self._deploying = False
        self.setMinimumSize(520, 440)
        self.resize(760, 640)
        self.report = GateReportView(session.theme)
        self.everywhere = QRadioButton("Answer e&verywhere")
        self.trial = QRadioButton("&Try it in")
        self.traffic = QSpinBox()
        self.traffic.setRange(1, 100)
        self.traffic.setValue(10)
        self.traffic.setSuffix(" %")
        self.traffic.setAccessibleName("Share of the conversations, in percent")
        self.reason = QLineEdit()
        self.reason.setAccessibleName("Why it may answer all the same")
        self.reason.setPlaceholderText("Why it may answer all the same")
        self.check = button("&Check again", name="Check the version again")
        self.go = button("&Deploy", "primary", name=f"Deploy {version.label}")
        self._lay_out()
        (self.trial if trial else self.everywhere).setChecked(True)
        self._connect()
        self.gate()
        profile = session.profile

        def kept() -> GateReport | None:  # of the version as it is now
            return valid_report(profile, Registry(profile).get(version.address))

        session.do(kept, self._begin, owner=self, failed=self.failed)

    def _lay_out(self) -> None:
        self._ways = QButtonGroup(self)
        for way, name in (
            (self.everywhere, "Answer everywhere"),
            (self.trial, "Try it in a part of the conversations"),
        ):
            way.setAccessibleName(name)
            self._ways.addButton(way)
        page = Page()
        page.setAccessibleName("Report of the gate")
        page.column.setContentsMargins(0, 0, 6, 0)
        page.add(self.report)
        page.column.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        layout.addWidget(label(titled(self._version), "title"))
        layout.addWidget(label(privacy_sentence(self._version), "muted"))
        layout.addWidget(self.notice)
        layout.addWidget(self.work)
        layout.addWidget(page, 1)
        layout.addWidget(self.reason)
        rest = label("of the conversations", wrap=False)
        layout.addLayout(row(self.everywhere, self.trial, self.traffic, rest, None))
        layout.addLayout(row(self.check, None, self.close_button, self.go))

    def _connect(self) -> None:
        self.check.clicked.connect(self.begin_check)
        self.go.clicked.connect(self._go)
        self.reason.textChanged.connect(lambda _: self.gate())
        self.trial.toggled.connect(lambda _: self.gate())

    def begin_check(self) -> None:
        """Send the version through the gate, in a child."""
        profile, address = self._session.profile, self._version.address
        self.notice.hide()
        self._passed = False
        self.report.clear(
            "It answers 20 questions and reads held-out pairs, beside what answers now. Nothing "
            "of yours leaves this computer."
        )
        self.work.begin(lambda tell: GateRun(profile, address, tell))
        self.gate()

    def _begin(self, report: GateReport | None) -> None:
        if report is None:
            self.begin_check()
        else:
            self.show_outcome(report)

    def show_outcome(self, answer: object) -> None:
        """Show what the gate found out."""
        assert isinstance(answer, GateReport)
        self._passed = answer.passed
        profile = self._session.profile

        def shown(compared: str) -> None:
            self.report.show_report(answer, compared)
            self.gate()

        def name() -> str:
            if answer.compared is None:
                return "the base model"
            return Registry(profile).get(answer.compared).label

        self._session.do(name, shown, owner=self)
        self._session.versions_changed.emit()

    def stopped(self) -> None:
        """Say that the check was ended."""
        self.report.clear("The check was stopped.")
        self.gate()

    def failed(self, error: BaseException) -> None:
        """Say why it could not be checked."""
        self.report.clear("It was not checked.")
        super().failed(error)
        self._session.versions_changed.emit()

    def gate(self) -> None:
        """Offer what can be done now."""
        busy = _CHECKING if self.work.busy else "It is being deployed." if self._deploying else ""
        override = not self._passed and not self.work.busy
        self.reason.setVisible(override)
        why = _WHY if override and not self.reason.text().strip() else ""
        for control in (self.everywhere, self.trial, self.check):
            allow(control, busy)
        alone = "It would answer everywhere." if self.everywhere.isChecked() else ""
        allow(self.traffic, busy or alone)
        allow(self.go, busy or why)
        words = "&Try it" if self.trial.isChecked() else "&Deploy"
        self.go.setText(f"{words} all the same" if override else words)

    def _go(self) -> None:
        override = "" if self._passed else self.reason.text().strip()
        self._deploying = True
        self.gate()
        if self.trial.isChecked():
            self._try_out(override)
        else:
            deploy_checked(
                self._session,
                self._version.address,
                self,
                self._ended,
                self.notice.explain,
                override,
            )

    def _try_out(self, override: str) -> None:
        canaries, address = Canaries(self._session.profile), self._version.address
        traffic = self.traffic.value()

        def done(_: object) -> None:
            self._session.told.emit(
                f"{self._version.label} answers in {traffic} % of the conversations.",
                f"{privacy_sentence(self._version)} It is taken back by itself where it does "
                "worse.",
            )
            self._session.versions_changed.emit()
            self._ended(True)

        def failed(error: BaseException) -> None:
            self.notice.explain(error)
            self._session.versions_changed.emit()
            self._ended(False)

        self._session.do(
            lambda: canaries.start(address, traffic / 100, override=override),
            done,
            owner=self,
            failed=failed,
        )

    def reject(self) -> None:
        """Close; but not in the moment in which the version is deployed."""
        if not self._deploying:
            super().reject()

    def _ended(self, worked: bool) -> None:
        self._deploying = False
        self.gate()
        if worked:
            self.accept()
