"""The privacy budget: a meter, every entry behind it, and the files and acts that go with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QInputDialog,
    QVBoxLayout,
    QWidget,
)

from ui.privacy_report import save_pdf
from ui.rows_model import Column, RowsModel
from ui.session import PLAN, Session
from ui.widgets.basics import button, label, row
from ui.widgets.budget_meter import BudgetMeter
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from ui.words import NONE, count, figure, moment
from xeno.privacy.accounts import PERIOD_MEANING, PERIOD_WARNING, RESET_MEANING
from xeno.privacy.analyzer import PrivacyAnalyzer
from xeno.privacy.entries import Budget, LedgerEntry, Period, Unit
from xeno.privacy.hosts import contacts
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.ledger_files import Format, written
from xeno.store import files

KINDS = {
    "run": "run",
    "round": "federated round",
    "operation": "operation",
    "declared": "operation",
    "budget": "budget changed",
    "reset": "reset",
    "remembered": "restored backup",
}
_PERIODS: dict[Period, str] = {
    "life": "for the life of the profile",
    "year": "each calendar year",
    "quarter": "each calendar quarter",
    "month": "each calendar month",
}


@dataclass(frozen=True)
class _Account:
    """What the panel shows, read off the window's thread."""

    unit: Unit
    entries: list[LedgerEntry]
    spent: float
    lifetime: float
    rules: Budget


class BudgetPanel(QWidget):
    """One account at a time: that of the unit of privacy of the next run."""

    changed = pyqtSignal()  # the budget, by the user

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._account: _Account | None = None
        self._after: float | None = None
        self.notice = Notice(session.theme, "Message about the budget")
        self.meter = BudgetMeter(session.theme)
        self.life = label("", "tiny")
        self.life.setAccessibleName("Spent over the life of the profile")
        self.entries: RowsModel[LedgerEntry] = RowsModel(_columns(), self)
        self.table = Table("Privacy ledger", "Nothing was spent yet.", sortable=False)
        self.table.show_model(self.entries)
        self.table.widths(3, 15, 13, 12, 8, 8, 6)
        self.table.setMinimumHeight(140)
        self._lay_out()
        session.plan_changed.connect(self._follow_unit)

    @property
    def unit(self) -> Unit:
        """The unit of privacy of the next run."""
        chosen: Unit = self._session.setting(PLAN + "privacy_unit", "pair")
        return chosen

    def reload(self) -> None:
        """Read the ledger again."""
        unit = self.unit

        def read() -> _Account:
            ledger = PrivacyLedger(self._session.profile)
            entries = ledger.entries(unit)
            return _Account(
                unit, entries, ledger.spent(unit), ledger.lifetime(unit), ledger.rules(unit)
            )

        self._session.do(read, self._show, owner=self, key="ledger", failed=self.notice.explain)

    def show_next(self, after: float | None) -> None:
        """Show what will be spent after the next run; None where it spends nothing."""
        self._after = after
        if self._account is not None:
            self.meter.show_budget(self._account.spent, after, self._account.rules.epsilon)

    # What it is made of -------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.budget = QDoubleSpinBox()
        self.budget.setAccessibleName("Budget, epsilon")
        self.budget.setRange(0.1, 1000.0)
        self.budget.setDecimals(1)
        self.budget.setKeyboardTracking(False)
        self.budget.setToolTip("The largest epsilon that all private versions together may spend.")
        self.period = QComboBox()
        self.period.setAccessibleName("Period of the budget")
        for period, words in _PERIODS.items():
            self.period.addItem(words, period)
        self.meaning = label("", "tiny")
        title = label("&Budget (ε)", wrap=False)
        title.setBuddy(self.budget)
        self.report = button("Report as &PDF…", name="Save the privacy report as PDF")
        self.csv = button("Ledger as CS&V…", "link", name="Save the ledger as CSV")
        self.json = button("as &JSON…", "link", name="Save the ledger as JSON")
        self.reset = button("Rese&t…", "link", name="Let the account count from nothing again")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addWidget(self.notice)
        layout.addWidget(self.meter)
        layout.addWidget(self.life)
        layout.addWidget(self.table, 1)
        layout.addLayout(row(title, self.budget, self.period, None, self.reset))
        layout.addWidget(self.meaning)
        layout.addLayout(row(self.report, self.csv, self.json, None))
        self.budget.valueChanged.connect(self._change)
        self.period.currentIndexChanged.connect(self._change)
        self.report.clicked.connect(self._save_report)
        self.csv.clicked.connect(lambda: self._save_ledger("csv"))
        self.json.clicked.connect(lambda: self._save_ledger("json"))
        self.reset.clicked.connect(self._ask_for_reset)

    # Showing ------------------------------------------------------------------------------

    def _follow_unit(self) -> None:
        if self._account is not None and self._account.unit != self.unit:
            self.reload()

    def _show(self, account: _Account) -> None:
        self._account = account
        self.entries.show(account.entries)
        for widget in (self.budget, self.period):
            widget.blockSignals(True)
        self.budget.setValue(account.rules.epsilon)
        self.period.setCurrentIndex(self.period.findData(account.rules.period))
        for widget in (self.budget, self.period):
            widget.blockSignals(False)
        warning = "" if account.rules.period == "life" else " " + PERIOD_WARNING
        self.meaning.setText(PERIOD_MEANING[account.rules.period] + warning)
        self.life.setText(
            f"Unit: {account.unit}. All that was ever released under it: "
            f"ε = {account.lifetime:.2f} at δ = {account.rules.delta:g}."
        )
        restored = [each for each in account.entries if each.kind == "remembered"]
        if restored:
            self.notice.inform(restored[-1].note, kind="warning")
        self.show_next(self._after)

    # Acts ---------------------------------------------------------------------------------

    def _change(self) -> None:
        if self._account is None:
            return
        unit, delta = self._account.unit, self._account.rules.delta
        epsilon, period = self.budget.value(), self.period.currentData()

        def change() -> None:
            PrivacyLedger(self._session.profile).set_budget(epsilon, delta, unit, period)

        self._write(change)

    def _ask_for_reset(self) -> None:
        reason, wanted = QInputDialog.getMultiLineText(
            self, "Reset the account", f"{RESET_MEANING}\n\nWhy do earlier versions not matter?"
        )
        if wanted:
            self.reset_account(reason)

    def reset_account(self, reason: str) -> None:
        """Let the account count from nothing again; the ledger keeps the reason."""
        unit = self.unit
        self._write(lambda: PrivacyLedger(self._session.profile).reset(unit, reason))

    def _write(self, act: Callable[[], object]) -> None:
        def changed(_: object) -> None:
            self.reload()
            self.changed.emit()

        self._session.tasks.run(act, changed, self.notice.explain, owner=self, in_order=True)

    def _save_report(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the privacy report", "privacy-report.pdf", "PDF (*.pdf)"
        )
        if path:
            self.save_report(Path(path))

    def save_report(self, path: Path) -> None:
        """Write the report to `path`, off the window's thread."""
        unit, profile = self.unit, self._session.profile

        def save() -> None:
            report = PrivacyAnalyzer(profile=profile, unit=unit).get_privacy_report()
            save_pdf(path, report, contacts(profile))

        self._session.do(save, lambda _: self._saved(path), owner=self, failed=self.notice.explain)

    def _save_ledger(self, form: Format) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the ledger", f"privacy-ledger.{form}")
        if path:
            self.save_ledger(Path(path), form)

    def save_ledger(self, path: Path, form: Format) -> None:
        """Write the ledger as "csv" or "json" to `path`, off the window's thread."""

        def save() -> None:
            text = written(PrivacyLedger(self._session.profile), form)
            files.write_atomic(path, text.encode())

        self._session.do(save, lambda _: self._saved(path), owner=self, failed=self.notice.explain)

    def _saved(self, path: Path) -> None:
        self.notice.inform(f"Saved as {path.name}.")


def _columns() -> list[Column[LedgerEntry]]:
    def released(entry: LedgerEntry, value: float) -> str:
        return NONE if entry.mechanism is None else figure(value, 3)

    return [
        Column("No.", lambda e: str(e.seq)),
        Column("When", lambda e: moment(e.created)),
        Column("What", lambda e: KINDS[e.kind]),
        Column("Version", lambda e: e.version[:12] or NONE),
        Column("ε alone", lambda e: released(e, e.epsilon_alone), right=True),
        Column("ε in total", lambda e: released(e, e.epsilon_total), right=True),
        Column("δ", lambda e: f"{e.delta:g}" if e.mechanism else NONE, right=True),
        Column("Details", _details),
    ]


def _details(entry: LedgerEntry) -> str:
    if entry.budget is not None:
        return f"ε {entry.budget.epsilon:g} {_PERIODS[entry.budget.period]}"
    if entry.note or entry.mechanism is None:
        return entry.note
    mechanism = entry.mechanism
    return (
        f"rate {mechanism.sample_rate:.3g}, noise {mechanism.noise_multiplier:.3g}, "
        f"{count(mechanism.steps, 'step')}"
    )
