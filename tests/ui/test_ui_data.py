"""The Data page: a file is looked at before it comes in, and what came in can go again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.pages.data_page import DataPage
from xeno.collect.teacher import teacher_of
from xeno.data.imports import Imports
from xeno.store.pairs import Pairs

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def page(window: MainWindow) -> DataPage:
    opened = window.personalization.open("Data")
    assert isinstance(opened, DataPage)
    return opened


def _pairs(window: MainWindow) -> Pairs:
    return Pairs(window._session.profile.db)


def test_a_file_is_shown_before_it_is_stored_and_can_be_taken_back(
    window: MainWindow,
    page: DataPage,
    qtbot: QtBot,
    pairs_file: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panel, store = page.importing, _pairs(window)
    assert not panel.start.isEnabled()
    assert panel.start.toolTip()
    panel.open(pairs_file(8))
    qtbot.waitUntil(panel.start.isEnabled)
    assert len(panel.rows.records) == 8
    assert "8 records" in panel.about.text()
    assert store.count() == 0
    qtbot.mouseClick(panel.start, LEFT)
    qtbot.waitUntil(panel.outcome.isVisible)
    assert panel.outcome.text() == "8 pairs imported."
    qtbot.waitUntil(lambda: len(page.past.rows.records) == 1)
    assert not page.past.undo.isEnabled()
    page.past.table.choose_row(0)
    yes = QMessageBox.StandardButton.Yes
    monkeypatch.setattr(QMessageBox, "question", lambda *_, **__: yes)
    qtbot.mouseClick(page.past.undo, LEFT)
    qtbot.waitUntil(lambda: store.count() == 0)
    qtbot.waitUntil(lambda: page.past.rows.records[0].undone is not None)


def test_columns_with_other_names_are_mapped_by_hand_and_remembered(
    window: MainWindow, page: DataPage, qtbot: QtBot, tmp_path: Path
) -> None:
    path, panel = tmp_path / "odd.csv", page.importing
    path.write_text("frage,gut,schlecht\nWarum?,Darum.,Nur so.\nWann?,,Nie.\n", encoding="utf-8")
    panel.open(path)
    qtbot.waitUntil(panel.columns.isVisible)
    assert not panel.start.isEnabled()
    for field, column in (("prompt", "frage"), ("chosen", "gut"), ("rejected", "schlecht")):
        qtbot.waitUntil(panel.fields[field].isEnabled)
        combo = panel.fields[field]
        combo.setCurrentIndex(combo.findData(column))
        combo.activated.emit(combo.currentIndex())
    qtbot.waitUntil(panel.start.isEnabled)
    assert "Line 3: " in panel.left_out.toPlainText()
    qtbot.mouseClick(panel.start, LEFT)
    qtbot.waitUntil(panel.outcome.isVisible)
    assert _pairs(window).count() == 1
    panel.open(path)
    qtbot.waitUntil(panel.start.isEnabled)
    assert panel.rows.records[0].known


def test_a_stopped_import_stores_nothing(
    window: MainWindow, page: DataPage, qtbot: QtBot, tmp_path: Path
) -> None:
    path, panel = tmp_path / "long.jsonl", page.importing
    record = '{{"prompt": "Question {0}?", "chosen": "Yes, {0}.", "rejected": "No, {0}."}}\n'
    path.write_text("".join(record.format(i) for i in range(20_000)), encoding="utf-8")
    panel.open(path)
    qtbot.waitUntil(panel.start.isEnabled)
    assert "first 500 records" in panel.about.text()
    qtbot.mouseClick(panel.start, LEFT)
    qtbot.waitUntil(panel.cancel.isVisible)
    qtbot.mouseClick(panel.cancel, LEFT)
    qtbot.waitUntil(panel.notice.isVisible)
    assert "stopped" in panel.notice.what.text()
    assert _pairs(window).count() == 0
    assert not Imports(window._session.profile.db).all()


def test_an_import_goes_on_when_its_dialog_is_closed(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    path, dialog = tmp_path / "long.jsonl", window.import_pairs()
    record = '{{"prompt": "Question {0}?", "chosen": "Yes, {0}.", "rejected": "No, {0}."}}\n'
    path.write_text("".join(record.format(i) for i in range(5000)), encoding="utf-8")
    dialog.panel.open(path)
    qtbot.waitUntil(dialog.start.isEnabled)
    qtbot.mouseClick(dialog.start, LEFT)
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert dialog.isHidden()
    qtbot.waitUntil(dialog.isVisible, timeout=20_000)
    assert dialog.outcome.text() == "5,000 pairs imported."
    assert _pairs(window).count() == 5000


def test_pairs_are_exported_in_a_chosen_format(
    page: DataPage, qtbot: QtBot, pairs_file: Callable[[int], Path], tmp_path: Path
) -> None:
    page.importing.open(pairs_file(3))
    qtbot.waitUntil(page.importing.start.isEnabled)
    qtbot.mouseClick(page.importing.start, LEFT)
    qtbot.waitUntil(page.importing.outcome.isVisible)
    page.exporting.write(tmp_path / "out.json")
    qtbot.waitUntil(page.exporting.notice.isVisible)
    assert "3 records" in page.exporting.notice.what.text()
    assert len(json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))) == 3
    page.exporting.what.setCurrentIndex(0)
    page.exporting.write(tmp_path / "everything")
    qtbot.waitUntil((tmp_path / "everything" / "pairs.jsonl").exists)


def test_a_collector_shows_what_it_will_read_before_it_reads(
    page: DataPage, qtbot: QtBot, tmp_path: Path
) -> None:
    folder, panel = tmp_path / "notes", page.collecting
    folder.mkdir()
    text = "# Sleep\n\n" + "Go to bed at the same time each day, and leave the telephone out. " * 3
    (folder / "sleep.md").write_text(text, encoding="utf-8")
    panel.source.setCurrentIndex(panel.source.findData("markdown"))
    panel.source.activated.emit(panel.source.currentIndex())
    panel.target.setText(str(tmp_path / "collected.jsonl"))
    assert not panel.show_plan.isEnabled()
    panel.place.setText(str(folder))
    assert not panel.start.isEnabled()
    qtbot.mouseClick(panel.show_plan, LEFT)
    qtbot.waitUntil(panel.start.isEnabled)
    assert panel.entries.records[0][0] == "sleep.md"
    assert not (tmp_path / "collected.jsonl").exists()
    qtbot.mouseClick(panel.start, LEFT)
    qtbot.waitUntil(panel.notice.isVisible)
    assert "1 record added" in panel.notice.what.text()
    qtbot.waitUntil(lambda: len(page.past.rows.records) == 1)


def test_a_folder_without_a_repository_is_explained(
    page: DataPage, qtbot: QtBot, tmp_path: Path
) -> None:
    subprocess.run(["git", "--version"], check=True, capture_output=True)
    panel = page.collecting
    panel.place.setText(str(tmp_path))
    panel.target.setText(str(tmp_path / "git.jsonl"))
    qtbot.mouseClick(panel.show_plan, LEFT)
    qtbot.waitUntil(panel.notice.isVisible)
    assert not panel.start.isEnabled()


def test_a_teacher_is_off_until_it_is_named(
    window: MainWindow, page: DataPage, qtbot: QtBot
) -> None:
    panel, form = page.collecting, page.collecting.teacher
    panel.source.setCurrentIndex(panel.source.findData("teacher"))
    panel.source.activated.emit(panel.source.currentIndex())
    qtbot.waitUntil(lambda: "Off" in form.state.text())
    assert not panel.show_plan.isEnabled()
    form.address.setText("http://example.com/v1")  # not encrypted
    form.model.setText("some-model")
    qtbot.mouseClick(form.use, LEFT)
    qtbot.waitUntil(form.notice.isVisible)
    form.address.setText("http://127.0.0.1:9/v1")
    form.key.setText("a-key")
    qtbot.mouseClick(form.use, LEFT)
    qtbot.waitUntil(panel.show_plan.isEnabled)
    assert not form.key.text()
    qtbot.mouseClick(form.off, LEFT)
    qtbot.waitUntil(lambda: not panel.show_plan.isEnabled())
    assert teacher_of(window._session.profile) is None
