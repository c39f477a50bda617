"""The assistant with the real starter model: ask, stop, answer again, judge, correct, survive."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.widgets.bubbles import ReplyBubble
from ui.widgets.message_view import EXAMPLES
from xeno.feedback.recorder import FeedbackRecorder
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pairs

LEFT = Qt.MouseButton.LeftButton
LONG = 120_000  # ms, for a busy machine that loads the model


@pytest.fixture
def chatting(window: MainWindow, starter: Path, qtbot: QtBot) -> MainWindow:
    """The window with one question asked, by one click, and answered."""
    suggestion = next(
        each for each in window.assistant.findChildren(QPushButton) if each.text() == EXAMPLES[0]
    )
    with qtbot.waitSignal(window.assistant.chat.replied, timeout=LONG):
        qtbot.mouseClick(suggestion, LEFT)
    return window


def _last(window: MainWindow) -> ReplyBubble:
    bubble = window.assistant.view.last_reply
    assert bubble is not None
    return bubble


def _write(window: MainWindow, qtbot: QtBot, text: str) -> None:
    qtbot.keyClicks(window.assistant.input, text)
    qtbot.keyClick(window.assistant.input, Qt.Key.Key_Return)


def test_the_first_answer_is_one_click_away(chatting: MainWindow, qtbot: QtBot) -> None:
    bubble = _last(chatting)
    assert "bread" in bubble.text.text().lower() or len(bubble.text.text()) > 20
    assert "base model" in bubble.meta.text()
    assert "tokens/s" in bubble.meta.text()
    assert not chatting.assistant.view.invitation.isVisible()
    qtbot.mouseClick(bubble.prompt_button, LEFT)
    assert "You are a personal assistant" in bubble.prompt.text()
    assert bubble.prompt.isVisible()


def test_shift_enter_begins_a_line_and_enter_sends(window: MainWindow, qtbot: QtBot) -> None:
    entry = window.assistant.input
    assert not window.assistant.send_button.isEnabled()
    qtbot.keyClicks(entry, "one")
    qtbot.keyClick(entry, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(entry, "two")
    assert entry.toPlainText() == "one\ntwo"
    assert window.assistant.send_button.isEnabled()
    entry.submitted.disconnect()  # no model is needed to see that Enter sends
    with qtbot.waitSignal(entry.submitted):
        qtbot.keyClick(entry, Qt.Key.Key_Return)


def test_a_reply_is_judged_corrected_and_asked_for_again(
    chatting: MainWindow, qtbot: QtBot
) -> None:
    profile = chatting._session.profile
    recorder, pairs = FeedbackRecorder(profile), Pairs(profile.db)
    bubble = _last(chatting)
    assert bubble.message is not None
    reply = bubble.message
    qtbot.mouseClick(bubble.thumbs[True], LEFT)
    qtbot.mouseClick(bubble.stars[3], LEFT)
    qtbot.waitUntil(lambda: len(recorder.feedback_of(reply.id)) == 2)
    values = {each.kind: each.value for each in recorder.feedback_of(reply.id)}
    assert values == {"thumb": 1, "rating": 4}

    chatting.activateWindow()
    qtbot.keyClick(chatting, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    assert bubble.editor is not None
    assert bubble.editor.text.toPlainText() == reply.content
    qtbot.mouseClick(bubble.editor.save, LEFT)
    assert "Nothing is changed" in bubble.editor.problem.text()
    bubble.editor.text.selectAll()
    qtbot.keyClicks(bubble.editor.text, "Mix, knead, let it rise, bake.")
    qtbot.keyClick(bubble.editor.text, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: "quality" in bubble.said.text())
    (pair,) = pairs.all()
    assert (pair.chosen, pair.rejected) == ("Mix, knead, let it rise, bake.", reply.content)

    with qtbot.waitSignal(chatting.assistant.chat.replied, timeout=LONG):
        qtbot.mouseClick(bubble.regenerate_button, LEFT)
    again = _last(chatting)
    assert again.text.text()  # drawn, so most often in other words
    kept = Conversations(profile.db)
    assert len(kept.messages(reply.conversation_id)) == 2
    assert len(kept.messages(reply.conversation_id, superseded=True)) == 3


def test_a_reply_can_be_stopped(chatting: MainWindow, qtbot: QtBot) -> None:
    chat = chatting.assistant.chat
    with qtbot.waitSignal(chat.replied, timeout=LONG):
        with qtbot.waitSignal(chat.grew, timeout=LONG):
            _write(chatting, qtbot, "How do I make good coffee?")
        chatting.activateWindow()
        qtbot.keyClick(chatting, Qt.Key.Key_Escape)
    assert "stopped" in _last(chatting).meta.text()
    assert not chatting.assistant.stop_button.isVisible()


def test_a_killed_host_is_told_and_the_message_is_sent_again(
    chatting: MainWindow, qtbot: QtBot
) -> None:
    assistant, host = chatting.assistant, chatting._session.host
    with qtbot.waitSignal(assistant.chat.failed, timeout=LONG):
        with qtbot.waitSignal(assistant.chat.grew, timeout=LONG):
            _write(chatting, qtbot, "How do I make good coffee?")
        assert host.pid is not None
        os.kill(host.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    assert assistant.notice.isVisible()
    qtbot.waitUntil(lambda: len(assistant.view.bubbles) == 3)
    with qtbot.waitSignal(assistant.chat.replied, timeout=LONG):
        qtbot.mouseClick(assistant.notice.action, LEFT)
    assert [bubble.frame.property("kind") for bubble in assistant.view.bubbles] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]


def test_conversations_are_kept_found_and_exported(
    chatting: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    assistant = chatting.assistant
    chatting.activateWindow()
    qtbot.keyClick(chatting, Qt.Key.Key_N, Qt.KeyboardModifier.ControlModifier)
    assert assistant.view.invitation.isVisible()
    qtbot.keyClick(chatting, Qt.Key.Key_H, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: len(assistant.conversations.model.conversations) == 1)
    qtbot.keyClicks(assistant.conversations.search, "no such words")
    qtbot.waitUntil(lambda: not assistant.conversations.model.conversations)
    assistant.conversations.search.clear()
    qtbot.waitUntil(lambda: len(assistant.conversations.model.conversations) == 1)
    index = assistant.conversations.model.index(0)
    place = assistant.conversations.list.visualRect(index).center()
    qtbot.mouseClick(assistant.conversations.list.viewport(), LEFT, pos=place)
    qtbot.waitUntil(lambda: len(assistant.view.bubbles) == 2)
    target = tmp_path / "talk.md"
    chatting.export_to(target)
    qtbot.waitUntil(target.exists)
    assert EXAMPLES[0] in target.read_text("utf-8")
