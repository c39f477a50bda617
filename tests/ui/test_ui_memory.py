"""The memory browser: remember, find, change, forget, undo; and what a reply was told."""

from __future__ import annotations

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QInputDialog, QMessageBox
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.memory_dialog import MemoryDialog
from ui.pages.memory_page import MemoryPage
from xeno.personalization.memory import ContextualMemory
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def memory(profile: Profile) -> ContextualMemory:
    made = ContextualMemory(profile=profile)
    made.store_fact("kitchen", "oven", "a small one with a stone")
    made.store_fact("family", "birthdays", {"Ana": "3 May"})
    made.store_episode("meeting", "Planned the release with Ana")
    return made


@pytest.fixture
def page(memory: ContextualMemory, window: MainWindow, qtbot: QtBot) -> MemoryPage:
    made = window.personalization.open("Memory")
    assert isinstance(made, MemoryPage)
    qtbot.waitUntil(lambda: len(made.memories.records) == 3)
    return made


def _choose(page: MemoryPage, topic: str) -> None:
    topics = [each.topic for each in page.memories.records]
    page.table.choose_row(topics.index(topic))


def _dialog(page: MemoryPage) -> MemoryDialog:
    (found,) = [each for each in page.findChildren(MemoryDialog) if each.isVisible()]
    return found


def test_a_workflow_is_written_with_the_keyboard_and_taken_back(
    memory: ContextualMemory, page: MemoryPage, qtbot: QtBot
) -> None:
    qtbot.mouseClick(page.add_button, LEFT)
    dialog = _dialog(page)
    dialog.kind.setCurrentIndex(dialog.kind.findData("workflow"))
    assert not dialog.name.isVisible()
    assert not dialog.save.isEnabled()
    qtbot.keyClicks(dialog.topic, "morning")
    qtbot.keyClicks(dialog.content, "Check email")
    qtbot.keyClick(dialog.content, Qt.Key.Key_Return)
    qtbot.keyClicks(dialog.content, "Make tea")
    qtbot.mouseClick(dialog.save, LEFT)
    qtbot.waitUntil(lambda: memory.retrieve_workflow("morning") == ["Check email", "Make tea"])
    qtbot.waitUntil(page.undo_button.isEnabled)
    qtbot.mouseClick(page.undo_button, LEFT)
    qtbot.waitUntil(lambda: memory.retrieve_workflow("morning") is None)


def test_a_fact_that_was_known_comes_back_when_its_replacement_is_taken_back(
    memory: ContextualMemory, page: MemoryPage, qtbot: QtBot
) -> None:
    qtbot.mouseClick(page.add_button, LEFT)
    dialog = _dialog(page)
    qtbot.keyClicks(dialog.topic, "kitchen")
    qtbot.keyClicks(dialog.name, "oven")
    qtbot.keyClicks(dialog.content, "a large one")
    qtbot.mouseClick(dialog.save, LEFT)
    qtbot.waitUntil(lambda: memory.retrieve_fact("kitchen", "oven") == "a large one")
    qtbot.waitUntil(page.undo_button.isEnabled)
    qtbot.mouseClick(page.undo_button, LEFT)
    qtbot.waitUntil(lambda: memory.retrieve_fact("kitchen", "oven") == "a small one with a stone")


def test_a_changed_mapping_stays_one(
    memory: ContextualMemory, page: MemoryPage, qtbot: QtBot
) -> None:
    _choose(page, "family")
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Return)
    dialog = _dialog(page)
    dialog.content.setPlainText('{"Ana": "3 May", "Tom": "9 June"}')
    qtbot.mouseClick(dialog.save, LEFT)
    qtbot.waitUntil(
        lambda: memory.retrieve_fact("family", "birthdays") == {"Ana": "3 May", "Tom": "9 June"}
    )


def test_memories_are_found_deleted_and_brought_back(
    memory: ContextualMemory, page: MemoryPage, qtbot: QtBot
) -> None:
    assert not page.delete_button.isEnabled()
    qtbot.keyClicks(page.search, "oven")
    qtbot.waitUntil(lambda: len(page.memories.records) == 1)
    assert "1 of 3" in page.total.text()
    page.table.choose_row(0)
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: memory.count() == 2)
    qtbot.waitUntil(page.undo_button.isEnabled)
    qtbot.mouseClick(page.undo_button, LEFT)
    qtbot.waitUntil(lambda: memory.count() == 3)


def test_a_topic_is_forgotten_whole_and_brought_back(
    memory: ContextualMemory, page: MemoryPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def yes(_parent: object, _title: str, text: str, *_: object) -> QMessageBox.StandardButton:
        asked.append(text)
        return QMessageBox.StandardButton.Yes

    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("Ana", True))
    monkeypatch.setattr(QMessageBox, "question", yes)
    qtbot.mouseClick(page.forget_button, LEFT)
    qtbot.waitUntil(lambda: memory.count() == 1)
    assert "2 memories" in asked[0]
    qtbot.waitUntil(page.undo_button.isEnabled)
    qtbot.mouseClick(page.undo_button, LEFT)
    qtbot.waitUntil(lambda: memory.count() == 3)


def test_memory_is_switched_off_and_pinned(
    memory: ContextualMemory, page: MemoryPage, qtbot: QtBot
) -> None:
    _choose(page, "kitchen")
    qtbot.mouseClick(page.pin_button, LEFT)
    qtbot.waitUntil(lambda: [m.topic for m in memory.chosen_for("Hello")] == ["kitchen"])
    page.enabled.setFocus()
    qtbot.keyClick(page.enabled, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: not memory.enabled)
    page.budget.setValue(300)
    qtbot.waitUntil(lambda: memory.budget == 300)


def test_a_reply_shows_the_memories_it_was_told(window: MainWindow, qtbot: QtBot) -> None:
    talk = Conversations(window._session.profile.db)
    conversation = talk.create("Bread").id
    talk.add_message(conversation, "user", "How do I bake bread?")
    told = {"id": 1, "kind": "fact", "text": "kitchen, oven: a small one"}
    talk.add_message(conversation, "assistant", "Mix, bake.", metadata={"memories": [told]})
    window.assistant.chat.open(conversation)
    qtbot.waitUntil(lambda: window.assistant.view.last_reply is not None)
    bubble = window.assistant.view.last_reply
    assert bubble is not None
    assert bubble.memories_button.text() == "Told 1 memory"
    assert not bubble.memories.isVisible()
    qtbot.waitUntil(bubble.memories_button.isVisible)
    bubble.memories_button.setFocus()
    qtbot.keyClick(bubble.memories_button, Qt.Key.Key_Space)
    assert bubble.memories.isVisible()
    assert "a small one" in bubble.memories.text()
