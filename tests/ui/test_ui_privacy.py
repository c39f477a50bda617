"""The Privacy tab: the budget with its entries, files and acts, the report, and the words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from tiny_models import make_llama

from ui.main_window import MainWindow
from ui.privacy_report import report_html, report_pdf
from ui.widgets.budget_panel import BudgetPanel
from xeno.privacy.analyzer import PrivacyAnalyzer
from xeno.privacy.hosts import contacts
from xeno.privacy.ledger import PrivacyLedger
from xeno.store.profile import Profile


@pytest.fixture
def panel(window: MainWindow, qtbot: QtBot) -> BudgetPanel:
    """The budget in the Privacy tab, with one operation in the ledger."""
    PrivacyLedger(window._session.profile).declare("count of pairs", 0.5)
    window.tabs.setCurrentWidget(window.privacy)
    panel: BudgetPanel = window.privacy.account
    qtbot.waitUntil(lambda: panel.entries.rowCount() == 1)
    return panel


def _cells(panel: BudgetPanel, line: int) -> list[str]:
    model = panel.entries
    return [str(model.index(line, column).data()) for column in range(model.columnCount())]


def test_every_entry_stands_behind_the_meter(panel: BudgetPanel) -> None:
    assert "0.50 of 16 spent" in panel.meter.words.text()
    assert "ε = 0.50" in panel.life.text()
    cells = _cells(panel, 0)
    assert cells[2] == "operation"
    assert cells[-1] == "count of pairs"


def test_the_period_can_be_chosen_and_says_what_it_means(
    panel: BudgetPanel, window: MainWindow, qtbot: QtBot
) -> None:
    panel.period.setCurrentIndex(panel.period.findData("month"))
    ledger = PrivacyLedger(window._session.profile)
    qtbot.waitUntil(lambda: ledger.rules().period == "month")
    qtbot.waitUntil(lambda: "how fast privacy is spent" in panel.meaning.text())
    assert "each calendar month" in _cells(panel, 1)[-1]


def test_a_reset_needs_a_reason_and_stays_in_the_ledger(panel: BudgetPanel, qtbot: QtBot) -> None:
    panel.reset_account("")
    qtbot.waitUntil(lambda: "was not reset" in panel.notice.what.text())
    panel.reset_account("All versions were deleted.")
    qtbot.waitUntil(lambda: "0.00 of 16 spent" in panel.meter.words.text())
    assert "ε = 0.50" in panel.life.text()
    assert _cells(panel, 1)[2] == "reset"


def test_the_ledger_and_the_report_are_saved(
    panel: BudgetPanel, qtbot: QtBot, tmp_path: Path
) -> None:
    for form in ("csv", "json"):
        panel.save_ledger(tmp_path / f"ledger.{form}", form)  # type: ignore[arg-type]
        qtbot.waitUntil((tmp_path / f"ledger.{form}").exists)
    assert json.loads((tmp_path / "ledger.json").read_text())["entries"][0]["kind"] == "declared"
    panel.save_report(tmp_path / "report.pdf")
    qtbot.waitUntil((tmp_path / "report.pdf").exists)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    qtbot.waitUntil(lambda: "Saved as report.pdf" in panel.notice.what.text())


def test_the_unit_of_the_next_run_chooses_the_account_and_the_words(
    panel: BudgetPanel, window: MainWindow, qtbot: QtBot
) -> None:
    window._session.set("plan.privacy_unit", "conversation")
    qtbot.waitUntil(lambda: "Unit: conversation" in panel.life.text())
    assert panel.entries.rowCount() == 0
    assert "every single conversation" in window.privacy.meaning.text()


def test_a_restored_backup_is_told(panel: BudgetPanel, window: MainWindow, qtbot: QtBot) -> None:
    ledger = PrivacyLedger(window._session.profile)
    ledger.declare("second", 0.5)
    ledger.declare("third", 0.5)
    with window._session.profile.db.transaction() as connection:
        connection.execute("DELETE FROM privacy_ledger WHERE seq > 1")
    panel.reload()
    qtbot.waitUntil(lambda: "2 entries are missing" in panel.notice.what.text())
    assert panel.notice.isVisibleTo(panel)


def test_the_report_says_all_and_is_the_same_for_the_same_ledger(
    profile: Profile, qtbot: QtBot
) -> None:
    PrivacyLedger(profile).declare("a <b>bold</b> count", 2.0)
    report = PrivacyAnalyzer(profile=profile).get_privacy_report() | {"not_private": ["v3"]}
    hosts = contacts(profile)
    page = report_html(report, hosts)
    for words in ("Moderate", "(2.000, 1e-05)", "Not private:</b> v3", "pypi.org", "14.000"):
        assert words in page
    assert "&lt;b&gt;bold" in page
    first = report_pdf(report, hosts)
    qtbot.wait(1100)  # Qt dates a file to the second
    assert report_pdf(report, hosts) == first


@pytest.fixture
def tiny_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A quick model in the starter's place, in the leak check alone."""
    folder = make_llama(tmp_path / "tiny")
    monkeypatch.setattr("ui.widgets.audit_panel.starter_folder", lambda: folder)
    return folder


def test_the_leak_check_runs_beside_the_window_and_says_what_it_found(
    window: MainWindow, qtbot: QtBot, tiny_starter: Path
) -> None:
    panel = window.privacy.audit
    assert "No check is running" in panel.stop.toolTip()
    panel.canaries.setValue(20)
    panel.begin()
    assert not panel.start.isEnabled()
    qtbot.waitUntil(lambda: panel.start.isEnabled(), timeout=200_000)
    assert panel.checks.rowCount() == 8
    assert not panel.notice.isVisibleTo(panel)
    assert "20 random pairs" in panel.leak.text()
    assert "no proof of privacy" in panel.leak.text()


def test_a_leak_check_can_be_stopped(window: MainWindow, qtbot: QtBot, tiny_starter: Path) -> None:
    panel = window.privacy.audit
    panel.begin()
    qtbot.waitUntil(lambda: panel._run is not None)
    panel.end()
    qtbot.waitUntil(lambda: panel.start.isEnabled(), timeout=30_000)
    assert "Stopped" in panel.state.text()
    assert not panel.notice.isVisibleTo(panel)
