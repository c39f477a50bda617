"""The Pairs page: pairs are found, read, changed, examined, and every change can be undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PyQt6.QtCore import QPoint, Qt
from PyQt6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.pages.pairs_page import PairsPage
from ui.pair_dialog import PairDialog
from xeno.data.importing import import_file
from xeno.store.pairs import Pairs

LEFT = Qt.MouseButton.LeftButton
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def _page(window: MainWindow, qtbot: QtBot, path: Path) -> PairsPage:
    """The page with the pairs of `path`, all shown."""
    report = import_file(window._session.profile, path)
    page = window.personalization.open("Pairs")
    assert isinstance(page, PairsPage)
    qtbot.waitUntil(lambda: len(page.pairs.model.pairs) == min(200, report.imported))
    return page


def _store(window: MainWindow) -> Pairs:
    return Pairs(window._session.profile.db)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two pairs that contradict each other, one with personal data, one plain."""
    records = [
        {"prompt": "Is tea better?", "chosen": "Yes, tea is.", "rejected": "No, coffee is."},
        {"prompt": "Is tea better?", "chosen": "No, coffee is.", "rejected": "Yes, tea is."},
        {
            "prompt": "Write my signature.",
            "chosen": "Jane Doe, jane.doe@example.com",
            "rejected": "Kind regards from all of us here, Jane",
        },
        {"prompt": "How do I sleep?", "chosen": "Go to bed early.", "rejected": "Well, try it."},
    ]
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def test_a_pair_is_read_with_the_words_that_differ(
    window: MainWindow, qtbot: QtBot, mixed: Path
) -> None:
    page = _page(window, qtbot, mixed)
    qtbot.keyClicks(page.pairs.search, "tea")
    qtbot.waitUntil(lambda: page.pairs.model.found == 2)
    page.pairs.select(0)
    qtbot.waitUntil(lambda: "Asked: Is tea better?" in page.pairs.reader.toPlainText())
    shown = page.pairs.reader.toHtml()
    assert "line-through" in shown
    assert "underline" in shown


def test_pairs_are_filtered_and_sorted(window: MainWindow, qtbot: QtBot, mixed: Path) -> None:
    page = _page(window, qtbot, mixed)
    filters, model = page.pairs.filters, page.pairs.model
    filters.kind.setCurrentIndex(filters.kind.findText("Corrections"))
    filters.kind.activated.emit(filters.kind.currentIndex())
    qtbot.waitUntil(lambda: model.found == 0)
    qtbot.mouseClick(filters.clear, LEFT)
    qtbot.waitUntil(lambda: len(model.pairs) == 4)
    assert not filters.clear.isEnabled()
    place = filters.order.findText("Shortest first")
    filters.order.setCurrentIndex(place)
    filters.order.activated.emit(place)
    lengths = sorted(len(pair.chosen) for pair in model.pairs)
    qtbot.waitUntil(lambda: [len(pair.chosen) for pair in model.pairs] == lengths)


def test_the_doctor_reports_and_leads_to_the_pairs(
    window: MainWindow, qtbot: QtBot, mixed: Path
) -> None:
    page = _page(window, qtbot, mixed)
    assert not page.pairs.redact.isEnabled()
    qtbot.mouseClick(page.doctor.examine, LEFT)
    qtbot.waitUntil(lambda: page.doctor.report.isVisible(), timeout=20_000)
    found = dict(page.doctor.findings.records)
    assert found["contradiction"] == 2
    assert found["personal_data"] == 1
    assert "longer" in page.doctor.teaches.text()
    row = [kind for kind, _ in page.doctor.findings.records].index("personal_data")
    page.doctor.table.choose_row(row)
    qtbot.mouseClick(page.doctor.show_pairs, LEFT)
    qtbot.waitUntil(lambda: len(page.pairs.model.pairs) == 1)
    page.pairs.select(0)
    qtbot.mouseClick(page.pairs.redact, LEFT)
    store = _store(window)
    qtbot.waitUntil(lambda: any("[email]" in pair.chosen for pair in store.all()))
    qtbot.waitUntil(page.pairs.undo.isEnabled)
    page.pairs.table.setFocus()
    qtbot.keyClick(page.pairs.table, Qt.Key.Key_Z, CONTROL)
    qtbot.waitUntil(lambda: not any("[email]" in pair.chosen for pair in store.all()))


def test_a_pair_is_edited_in_a_dialog(window: MainWindow, qtbot: QtBot, mixed: Path) -> None:
    page, store = _page(window, qtbot, mixed), _store(window)
    assert not page.pairs.edit.isEnabled()
    page.pairs.select(0)
    page.pairs.table.setFocus()
    qtbot.keyClick(page.pairs.table, Qt.Key.Key_F2)
    dialog = page.pairs.findChild(PairDialog)
    assert dialog is not None
    assert not dialog.save.isEnabled()
    rejected = dialog.rejected.toPlainText()
    dialog.chosen.setPlainText(rejected)
    qtbot.mouseClick(dialog.save, LEFT)
    qtbot.waitUntil(dialog.notice.isVisible)  # equal replies teach nothing
    dialog.chosen.setPlainText("Certainly not.")
    qtbot.mouseClick(dialog.save, LEFT)
    qtbot.waitUntil(lambda: any(pair.chosen == "Certainly not." for pair in store.all()))


def test_every_edit_is_undone_and_done_again(
    window: MainWindow, qtbot: QtBot, pairs_file: Callable[[int], Path]
) -> None:
    page, store = _page(window, qtbot, pairs_file(5)), _store(window)
    browser = page.pairs
    browser.table.setFocus()
    browser.table.selectAll()
    qtbot.keyClick(browser.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: store.count() == 0)
    qtbot.waitUntil(lambda: not browser.model.pairs and browser.undo.isEnabled())
    browser.table.setFocus()
    qtbot.keyClick(browser.table, Qt.Key.Key_Z, CONTROL)
    qtbot.waitUntil(lambda: store.count() == 5)
    qtbot.waitUntil(browser.redo.isEnabled)
    qtbot.keyClick(browser.table, Qt.Key.Key_Z, CONTROL | SHIFT)
    qtbot.waitUntil(lambda: store.count() == 0)


def test_a_weight_is_kept_and_the_selection_stays(
    window: MainWindow, qtbot: QtBot, pairs_file: Callable[[int], Path]
) -> None:
    page, store = _page(window, qtbot, pairs_file(5)), _store(window)
    browser = page.pairs
    browser.select(2)
    chosen = browser.model.pairs[2].id
    browser.weight.setValue(2.5)
    qtbot.waitUntil(lambda: store.get(chosen).weight == 2.5)
    qtbot.waitUntil(lambda: browser.model.pairs[2].weight == 2.5)
    assert browser.table.chosen_row() == 2


def test_all_found_pairs_are_left_out_at_once(
    window: MainWindow,
    qtbot: QtBot,
    pairs_file: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page, store = _page(window, qtbot, pairs_file(28)), _store(window)
    qtbot.keyClicks(page.pairs.search, "sleep")
    qtbot.waitUntil(lambda: page.pairs.model.found == 2)
    menu = page.pairs.all.menu()
    assert menu is not None
    menu.actions()[1].trigger()
    qtbot.waitUntil(lambda: store.count(active=True) == 26)
    yes = QMessageBox.StandardButton.Yes
    monkeypatch.setattr(QMessageBox, "question", lambda *_, **__: yes)
    menu.actions()[4].trigger()
    qtbot.waitUntil(lambda: store.count() == 26)


def test_a_click_on_a_header_sorts(
    window: MainWindow, qtbot: QtBot, pairs_file: Callable[[int], Path]
) -> None:
    page = _page(window, qtbot, pairs_file(5))
    header = page.pairs.table.horizontalHeader()
    assert header is not None
    first = [pair.id for pair in page.pairs.model.pairs]
    port = header.viewport()
    assert port is not None
    place = QPoint(header.sectionViewportPosition(6) + 12, header.height() // 2)
    qtbot.mouseClick(port, LEFT, pos=place)
    qtbot.waitUntil(lambda: [pair.id for pair in page.pairs.model.pairs] == first[::-1])
    assert page.pairs.filters.order.currentText() == "Oldest first"
