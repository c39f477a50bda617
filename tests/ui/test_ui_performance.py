"""The Performance tab: figures and warnings, a canary, and A/B tests from begin to end."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QSpinBox, QTableView
from pytestqt.qtbot import QtBot
from version_parts import passed, release

from ui.main_window import MainWindow
from ui.pages.trials_page import TrialsPage
from xeno import ABTestingManager, PerformanceTracker
from xeno.events import CanaryRolledBack
from xeno.experiments.canary import Canaries
from xeno.store.profile import Profile

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def versions(profile: Profile) -> list[str]:
    """Two versions that passed the gate; made before the window reads them."""
    made = [release(profile, seed).address for seed in (1, 2)]
    passed(profile, *made)
    return made


@pytest.fixture
def trials(versions: list[str], window: MainWindow, qtbot: QtBot) -> TrialsPage:
    """The page of trials, on screen and read."""
    window.tabs.setCurrentWidget(window.performance)
    page = window.performance.open("Trials")
    assert isinstance(page, TrialsPage)
    qtbot.waitUntil(lambda: page.canary.version.count() == 2)
    return page


def test_without_measurements_it_says_so_and_offers_nothing(
    window: MainWindow, qtbot: QtBot
) -> None:
    page = window.performance.measurements
    window.tabs.setCurrentWidget(window.performance)
    assert page.table.empty.startswith("No replies yet")
    assert not page.save.isEnabled()
    assert page.save.toolTip() == "Nothing was measured yet."
    qtbot.waitUntil(lambda: page.plot._plot is not None)  # loaded on another thread


def test_what_is_measured_is_shown_drawn_warned_of_and_exported(
    profile: Profile, window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    tracker = PerformanceTracker(profile.name, profile=profile)
    for place in range(40):
        tracker.record_metrics(
            "base", {"tokens_per_second": 90.0 - place, "error": float(place % 4 == 0)}
        )
    page = window.performance.measurements
    window.tabs.setCurrentWidget(window.performance)
    qtbot.waitUntil(lambda: page.model.rowCount() == 1)
    assert page.model.records[0].error_rate == 0.25
    assert [page.metric.itemText(place) for place in range(2)] == [
        "Tokens per second",
        "Errors (1 yes, 0 no)",
    ]
    qtbot.waitUntil(lambda: len(page.plot.points("Base model")) == 40)
    assert page.notice.isVisible()
    assert page.notice.more.text() == "Base model: tokens per second 85.5 before, 75.5 now."
    qtbot.mouseClick(page.notice.action, LEFT)
    for ending in ("csv", "json"):
        path = tmp_path / f"numbers.{ending}"
        with qtbot.waitSignal(window._session.told):
            page.export_to(path)
        assert path.stat().st_size > 1000
    rows = json.loads((tmp_path / "numbers.json").read_text())
    assert {row["metric"] for row in rows} == {"tokens_per_second", "error"}
    page.reload()
    qtbot.waitUntil(lambda: not page.notice.isVisible())


def test_a_canary_is_begun_watched_and_promoted(
    profile: Profile, versions: list[str], trials: TrialsPage, qtbot: QtBot
) -> None:
    panel = trials.canary
    panel.version.setCurrentIndex(panel.version.findData(versions[1]))
    panel.traffic.setValue(25)
    qtbot.mouseClick(panel.start, LEFT)
    qtbot.waitUntil(lambda: panel.going.isVisible())
    canary = Canaries(profile).current()
    assert canary is not None
    assert (canary.address, canary.traffic) == (versions[1], 0.25)
    assert "v2 answers in 25 %" in panel.told.text()
    assert panel.model.rowCount() == 2
    assert not trials.tests.create.isEnabled()
    assert "canary" in trials.tests.create.toolTip()
    qtbot.mouseClick(panel.promote, LEFT)
    qtbot.waitUntil(lambda: panel.beginning.isVisible())
    qtbot.waitUntil(lambda: trials.model.rowCount() == 2)
    assert [each.action for each in trials.model.records] == ["promoted", "started"]
    trials.table.choose_row(0)
    assert trials.numbers.text().startswith("Canary: 0 requests, 0 failed,")
    assert trials.numbers.text().endswith("Evidence 1 of 20.")


def test_a_test_is_begun_and_ended_with_a_winner(
    profile: Profile, versions: list[str], trials: TrialsPage, qtbot: QtBot
) -> None:
    panel, tests = trials.tests, ABTestingManager(profile.name, profile=profile)
    assert panel.create.toolTip() == "Give the test a name."
    panel.name.setFocus()
    qtbot.keyClicks(panel.name, "style")
    for side, address in zip(panel.sides, versions, strict=True):
        side.setCurrentIndex(side.findData(address))
    qtbot.keyClick(panel.name, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: panel.model.rowCount() == 1)
    going = tests.in_chat()
    assert going is not None
    assert [going.model_a, going.model_b] == versions
    assert not trials.canary.start.isEnabled()
    for number in range(60):
        tests.record_result("style", ("variant_a", "variant_b")[number % 2], {
            "rating": 3.0 + number % 2,
        })  # fmt: skip
    trials.reload()
    qtbot.waitUntil(lambda: any(each["winner"] == "variant_b" for _, each in panel.metrics.records))
    panel.end_menu.actions()[2].trigger()
    qtbot.waitUntil(lambda: not panel.end.isEnabled())
    assert tests.get("style").winner == "variant_b"


@pytest.mark.parametrize("size", [(1024, 640), (1500, 950)])
def test_both_pages_fit_and_every_control_has_a_name(
    window: MainWindow, versions: list[str], qtbot: QtBot, size: tuple[int, int]
) -> None:
    window.resize(*size)
    window.tabs.setCurrentWidget(window.performance)
    for name in window.performance.names:
        page = window.performance.open(name)
        qtbot.wait(50)
        assert page.width() <= window.performance.width()
        if isinstance(page, TrialsPage):
            bar = page.horizontalScrollBar()
            assert bar is not None
            assert bar.maximum() == 0
        for kind in (QAbstractButton, QComboBox, QSpinBox, QLineEdit, QTableView):
            for control in page.findChildren(kind):
                part = isinstance(control.parent(), QComboBox | QSpinBox | QTableView)
                if control.isVisible() and not part:
                    assert control.accessibleName(), control
    assert (window.width(), window.height()) == size


def test_what_follows_from_a_failed_reply_is_told_from_the_thread_that_waited(
    window: MainWindow, qtbot: QtBot
) -> None:
    session, threads = window._session, list[int]()
    session.versions_changed.connect(lambda: threads.append(threading.get_ident()))
    news = CanaryRolledBack(version="v" * 64, reason="4 of 20 requests failed.")
    waiting = threading.Thread(target=session.news.emit, args=(news,))
    with qtbot.waitSignal(session.told) as told:
        waiting.start()
    waiting.join()
    assert "4 of 20 requests failed" in told.args[0]
    assert threads == [threading.get_ident()]
