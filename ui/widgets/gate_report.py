"""What the gate found out about a version: the verdict, and each question with its answer."""

from __future__ import annotations

from PyQt6.QtWidgets import QVBoxLayout, QWidget

from ui.theme import Theme
from ui.widgets.basics import label
from ui.widgets.checks_list import ChecksList
from ui.words import moment
from xeno.training.checks import Check, Verdict
from xeno.versions.gate import GateReport

_VERDICTS: dict[bool | None, Verdict] = {True: "green", None: "amber", False: "red"}
_MEANINGS: dict[Verdict, str] = {
    "green": "Passed",
    "amber": "Could not be asked",
    "red": "Failed",
}


class GateReportView(QWidget):
    """The failed questions stand on top."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setAccessibleName("Report of the gate")
        self.verdict = label("", "heading")
        self.about = label("", "muted")
        self.checks = ChecksList(theme, "Questions at the gate", _MEANINGS)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for part in (self.verdict, self.about, self.checks):
            layout.addWidget(part)

    def show_report(self, report: GateReport | None, compared: str = "") -> None:
        """Show `report`; `compared` names what the version was compared with."""
        checks = [] if report is None else report.checks
        self.checks.show_checks(
            [Check(each.name.capitalize(), _VERDICTS[each.passed], each.detail) for each in checks]
        )
        self.verdict.setText(_verdict(report))
        self.about.setText(_about(report, compared))

    def clear(self, words: str = "") -> None:
        """Show no report, but `words`."""
        self.checks.show_checks([])
        self.verdict.setText("")
        self.about.setText(words)


def _verdict(report: GateReport | None) -> str:
    if report is None:
        return "It was not checked yet."
    failed = sum(each.passed is False for each in report.checks)
    if failed:
        return f"It does not pass the gate: {failed} of {len(report.checks)} questions failed."
    return (
        "It passes the gate." if report.complete else "Its file is whole; nothing more was asked."
    )


def _about(report: GateReport | None, compared: str) -> str:
    if report is None:
        return "The gate asks how a version behaves before it may answer. Deploy begins with it."
    beside = f", beside {compared}" if report.complete and compared else ""
    return f"Checked on {moment(report.created)}{beside}."
