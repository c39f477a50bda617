"""The Personalization tab: preferences are kept at once, pairs can be found and left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.pages.pairs_page import PairsPage
from ui.pages.preferences_page import PreferencesPage
from ui.widgets.basics import Page
from ui.widgets.pairs_browser import PairsBrowser
from xeno.personalization.engine import PersonalizationEngine
from xeno.store.pairs import Pairs


def _preferences(window: MainWindow) -> PreferencesPage:
    page = window.personalization.open("Preferences")
    assert isinstance(page, PreferencesPage)
    return page


def _pairs(window: MainWindow) -> PairsBrowser:
    page = window.personalization.open("Pairs")
    assert isinstance(page, PairsPage)
    return page.pairs


def _import(window: MainWindow, path: Path, qtbot: QtBot) -> str:
    dialog = window.import_pairs()
    qtbot.keyClicks(dialog.path, str(path))
    qtbot.keyClick(dialog.path, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dialog.start.isEnabled() or dialog.notice.isVisible())
    if dialog.start.isEnabled():
        qtbot.keyClick(dialog.start, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dialog.outcome.isVisible() or dialog.notice.isVisible())
    told = f"{dialog.outcome.text()} {dialog.left_out.toPlainText()} {dialog.notice.what.text()}"
    dialog.close()
    return told


def test_a_preference_is_kept_at_once_and_shown_in_the_prompt(
    window: MainWindow, qtbot: QtBot
) -> None:
    tab, profile = _preferences(window), window._session.profile
    combo = tab.choices["response_format"]
    qtbot.waitUntil(lambda: bool(tab.prompt.text()))
    combo.setFocus()
    qtbot.keyClicks(combo, "Bul")
    qtbot.keyClick(combo, Qt.Key.Key_Return)
    combo.activated.emit(combo.currentIndex())
    assert "bullet points" in tab.prompt.text()
    engine = PersonalizationEngine("default", profile=profile)
    qtbot.waitUntil(lambda: engine.preferences.response_format == "bullet_points")


def test_expertise_is_added_and_removed(window: MainWindow, qtbot: QtBot) -> None:
    tab, profile = _preferences(window), window._session.profile
    engine = PersonalizationEngine("default", profile=profile)
    assert not tab.add_topic.isEnabled()
    qtbot.keyClicks(tab.topic, "Python")
    qtbot.keyClick(tab.topic, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dict(engine.preferences.expertise) == {"python": "intermediate"})
    qtbot.waitUntil(lambda: "intermediate in python" in tab.prompt.text())
    tab.topic_table.choose_row(0)
    qtbot.mouseClick(tab.remove_topic, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not engine.preferences.expertise)


def test_a_topic_that_cannot_be_one_is_refused_in_place(window: MainWindow, qtbot: QtBot) -> None:
    tab = _preferences(window)
    qtbot.keyClicks(tab.topic, "?!")
    qtbot.keyClick(tab.topic, Qt.Key.Key_Return)
    assert tab.notice.isVisible()
    assert "topic" in tab.notice.what.text()


def test_imported_pairs_appear_and_can_be_found(
    window: MainWindow, qtbot: QtBot, pairs_file: Callable[[int], Path]
) -> None:
    assert _import(window, pairs_file(30), qtbot).startswith("30 pairs imported.")
    model = _pairs(window).model
    qtbot.waitUntil(lambda: len(model.pairs) == 30)
    qtbot.keyClicks(_pairs(window).search, "sleep")
    qtbot.waitUntil(lambda: 0 < len(model.pairs) < 30)
    assert all("sleep" in pair.prompt[-1].content for pair in model.pairs)


def test_what_is_wrong_in_a_file_is_told_by_line(
    window: MainWindow, qtbot: QtBot, pairs_file: Callable[[int], Path]
) -> None:
    path = pairs_file(3)
    with path.open("a", encoding="utf-8") as file:
        file.write("this is no JSON\n")
    told = _import(window, path, qtbot)
    assert "3 pairs imported" in told
    assert "Line 4:" in told


def test_a_file_that_is_not_there_is_explained(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    told = _import(window, tmp_path / "nothing.jsonl", qtbot)
    assert "nothing.jsonl" in told


def test_a_pair_is_left_out_used_again_and_deleted(
    window: MainWindow,
    qtbot: QtBot,
    pairs_file: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _import(window, pairs_file(3), qtbot)
    browser, store = _pairs(window), Pairs(window._session.profile.db)
    qtbot.waitUntil(lambda: len(browser.model.pairs) == 3)
    assert not browser.use.isEnabled()
    browser.select(0)
    qtbot.mouseClick(browser.use, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: store.count(active=True) == 2)
    qtbot.waitUntil(
        lambda: "2 pairs" in browser.total.text() or "1 left out" in browser.total.text()
    )
    yes = QMessageBox.StandardButton.Yes
    monkeypatch.setattr(QMessageBox, "question", lambda *_, **__: yes)
    qtbot.waitUntil(lambda: len(browser.model.pairs) == 3)
    browser.select(0)
    qtbot.mouseClick(browser.delete, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: store.count() == 2)


def test_many_pairs_are_read_page_by_page(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    line = '{{"prompt": "Question {0}?", "chosen": "Yes, {0}.", "rejected": "No, {0}."}}\n'
    path.write_text("".join(line.format(i) for i in range(450)), encoding="utf-8")
    _import(window, path, qtbot)
    browser = _pairs(window)
    qtbot.waitUntil(lambda: len(browser.model.pairs) == 200)
    browser.table.scrollToBottom()
    qtbot.waitUntil(lambda: len(browser.model.pairs) == 400)


def test_the_pages_turn_with_the_keyboard(window: MainWindow, qtbot: QtBot) -> None:
    tab = window.personalization
    window.activateWindow()
    control = Qt.KeyboardModifier.ControlModifier
    seen = []
    for _ in tab.names:
        seen.append(tab.names[tab.bar.currentIndex()])
        qtbot.keyClick(tab, Qt.Key.Key_PageDown, control)
    assert tuple(seen) == tab.names
    assert tab.bar.currentIndex() == 0
    qtbot.keyClick(tab, Qt.Key.Key_PageUp, control)
    assert tab.names[tab.bar.currentIndex()] == "Data"


def test_every_page_fits_beside_the_assistant_in_the_smallest_window(
    window: MainWindow, qtbot: QtBot
) -> None:
    window.resize(window.minimumSizeHint())
    assert window.minimumSizeHint().width() <= 960  # half of a usual screen
    for name in window.personalization.names:
        page = window.personalization.open(name)
        assert isinstance(page, Page)
        bar = page.horizontalScrollBar()
        assert bar is not None
        qtbot.waitUntil(lambda bar=bar: bar.maximum() == 0)
