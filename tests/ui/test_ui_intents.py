"""Examples and intents: added, named, deleted, learned in a child, tried, answered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot
from tiny_models import make_llama

from ui.main_window import MainWindow
from ui.pages.intents_page import IntentsPage
from xeno.personalization.intents import CustomModelTrainer
from xeno.store.profile import Profile

LEFT = Qt.MouseButton.LeftButton
LONG = 60_000  # ms
WHO = ("Ana", "Tom", "Mia", "Ben", "Eva", "Jon", "Ida", "Max", "Lea", "Kim")
ASKED = {
    "call": ("Set up a call with {}", "Arrange a call with {}", "I need to phone {}"),
    "mail": ("Write an email to {}", "Send {} a message", "Draft a letter for {}"),
}


@pytest.fixture
def trainer(profile: Profile) -> CustomModelTrainer:
    made = CustomModelTrainer(profile=profile)
    made.add_training_examples(
        (text.format(who), "", {"intent": intent}, None)
        for intent, texts in ASKED.items()
        for text in texts
        for who in WHO
    )
    return made


def _open(window: MainWindow, qtbot: QtBot) -> IntentsPage:
    page = window.personalization.open("Intents")
    assert isinstance(page, IntentsPage)
    qtbot.waitUntil(lambda: page._state is not None)
    return page


def test_an_example_is_added_renamed_deleted_and_brought_back(
    window: MainWindow, profile: Profile, qtbot: QtBot
) -> None:
    page, store = _open(window, qtbot), CustomModelTrainer(profile=profile)
    assert "50 examples" in page.train_button.toolTip()
    qtbot.keyClicks(page.text, "Ring up Ana")
    assert not page.add_button.isEnabled()
    line = page.intent.lineEdit()
    assert line is not None
    qtbot.keyClicks(line, "call")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: store.intents() == [("call", 1)])
    qtbot.waitUntil(lambda: len(page.examples.records) == 1)
    page.set_intent(page.examples.records[0], "phone")
    qtbot.waitUntil(lambda: store.intents() == [("phone", 1)])
    qtbot.waitUntil(lambda: page.examples.records[0].intent == "phone")
    page.table.choose_row(0)
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: store.count() == 0)
    for left, expected in ((1, [("phone", 1)]), (2, [("call", 1)]), (3, [])):
        qtbot.waitUntil(lambda left=left: len(page._changes) == 4 - left)
        qtbot.mouseClick(page.undo_button, LEFT)
        qtbot.waitUntil(lambda expected=expected: store.intents() == expected)


def test_intents_are_learned_and_tried_without_the_library_in_this_process(
    trainer: CustomModelTrainer, window: MainWindow, qtbot: QtBot
) -> None:
    before = "sklearn" in sys.modules
    page = _open(window, qtbot)
    assert "Train first" in page.try_button.toolTip()
    qtbot.mouseClick(page.train_button, LEFT)
    assert page.stop_button.isVisible()
    qtbot.waitUntil(lambda: "held out are told right" in page.learned.text(), timeout=LONG)
    assert "2 intents from 60 examples" in page.learned.text()
    qtbot.keyClicks(page.trial, "Arrange a call with Zoe")
    qtbot.keyClick(page.trial, Qt.Key.Key_Return)
    qtbot.waitUntil(page.meaning.isVisible, timeout=LONG)
    assert page.meaning.text().startswith("Call")
    assert ("sklearn" in sys.modules) == before


def test_a_training_can_be_stopped(
    trainer: CustomModelTrainer, window: MainWindow, qtbot: QtBot
) -> None:
    page = _open(window, qtbot)
    qtbot.waitUntil(page.train_button.isEnabled)
    qtbot.mouseClick(page.train_button, LEFT)
    qtbot.waitUntil(lambda: window._session.intents._child is not None)
    qtbot.mouseClick(page.stop_button, LEFT)
    qtbot.waitUntil(lambda: page.notice.what.text() == "The training was stopped.", timeout=LONG)
    assert trainer.last_fit is None


def test_replies_are_written_for_an_intent_and_removed(
    trainer: CustomModelTrainer, window: MainWindow, qtbot: QtBot
) -> None:
    page = _open(window, qtbot)
    page.owner_intent.setCurrentIndex(page.owner_intent.findData("mail"))
    qtbot.keyClicks(page.template, "A letter to {name} is on its way.")
    qtbot.keyClick(page.template, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: page.templates.count() == 1)
    assert trainer.written_templates("mail") == ["A letter to {name} is on its way."]
    page.templates.setCurrentRow(0)
    qtbot.mouseClick(page.remove_template, LEFT)
    qtbot.waitUntil(lambda: not trainer.written_templates("mail"))


def test_a_sentence_encoder_is_chosen_refused_and_left(
    window: MainWindow, profile: Profile, qtbot: QtBot, tmp_path: Path
) -> None:
    page, store = _open(window, qtbot), CustomModelTrainer(profile=profile)
    line = page.encoder
    line.use(tmp_path)  # an empty folder
    qtbot.waitUntil(line.notice.isVisible)
    assert "cannot be used as a sentence encoder" in line.notice.what.text()
    assert store.encoder is None
    folder = make_llama(tmp_path / "encoder")
    line.use(folder)
    qtbot.waitUntil(lambda: "the encoder encoder" in line.said.text())
    assert store.encoder == folder.resolve()
    qtbot.mouseClick(line.leave, LEFT)
    qtbot.waitUntil(lambda: store.encoder is None)
    qtbot.waitUntil(lambda: "words and letters" in line.said.text())
