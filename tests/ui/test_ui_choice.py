"""After a regenerate the window asks which reply is better, and goes on with the better one."""

from __future__ import annotations

from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.widgets.reply_choice import ReplyChoice
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pairs

LEFT = Qt.MouseButton.LeftButton
LONG = 120_000  # ms, for a busy machine that loads the model


@pytest.fixture
def chatting(window: MainWindow, starter: Path, qtbot: QtBot) -> MainWindow:
    """The window with one question asked and answered."""
    with qtbot.waitSignal(window.assistant.chat.replied, timeout=LONG):
        window.assistant.ask("How do I learn chess?")
    return window


def _regenerate(window: MainWindow, qtbot: QtBot) -> ReplyChoice:
    """Answers again until the reply says something else; the choice that is offered then."""
    view = window.assistant.view
    for _ in range(8):
        with qtbot.waitSignal(window.assistant.chat.replied, timeout=LONG):
            window.assistant.regenerate()
        qtbot.waitUntil(lambda: view.choice is not None or view.earlier_reply is None)
        if view.choice is not None:
            return view.choice
    raise AssertionError("the model never found other words")


def _texts(window: MainWindow) -> list[str]:
    return [bubble.text.text() for bubble in window.assistant.view.bubbles]


@pytest.mark.timeout(300)
def test_the_better_of_two_replies_stays_and_the_choice_is_kept_as_a_pair(
    chatting: MainWindow, qtbot: QtBot
) -> None:
    pairs, view = Pairs(chatting._session.profile.db), chatting.assistant.view
    choice = _regenerate(chatting, qtbot)
    question, first, second = _texts(chatting)  # the earlier reply can be read meanwhile
    assert view.earlier_reply is not None
    assert view.earlier_reply.text.isVisible()
    assert not choice.hasFocus()
    choice.this.setFocus()
    qtbot.keyClick(choice.this, Qt.Key.Key_1)
    qtbot.waitUntil(lambda: view.choice is None)
    (pair,) = pairs.all()
    assert (pair.chosen.strip(), pair.rejected.strip()) == (first.strip(), second.strip())
    assert _texts(chatting) == [question, first]
    assert view.last_reply is not None
    assert view.last_reply.regenerate_button.isEnabled()
    assert "Kept as a preference pair" in view.last_reply.said.text()
    assert view.last_reply.message is not None
    kept = Conversations(chatting._session.profile.db).messages(
        view.last_reply.message.conversation_id
    )
    assert [message.content.strip() for message in kept] == [question, first.strip()]

    choice = _regenerate(chatting, qtbot)
    third = _texts(chatting)[-1]
    qtbot.mouseClick(choice.this, LEFT)
    qtbot.waitUntil(lambda: pairs.count() == 2)
    assert (pairs.all()[1].chosen.strip(), pairs.all()[1].rejected.strip()) == (
        third.strip(),
        first.strip(),
    )
    qtbot.waitUntil(lambda: _texts(chatting) == [question, third])


@pytest.mark.timeout(300)
def test_a_choice_is_declined_by_saying_so_or_by_going_on(
    chatting: MainWindow, qtbot: QtBot
) -> None:
    view = chatting.assistant.view
    choice = _regenerate(chatting, qtbot)
    second = _texts(chatting)[-1]
    qtbot.mouseClick(choice.neither, LEFT)
    assert view.choice is None
    assert _texts(chatting)[1:] == [second]
    _regenerate(chatting, qtbot)
    third = _texts(chatting)[-1]
    with qtbot.waitSignal(chatting.assistant.chat.replied, timeout=LONG):
        chatting.assistant.ask("How do I bake bread at home?")
    assert view.choice is None
    assert _texts(chatting)[1] == third
    assert len(_texts(chatting)) == 4
    assert Pairs(chatting._session.profile.db).count() == 0


@pytest.mark.timeout(300)
def test_nothing_is_asked_where_comparisons_are_not_wanted(
    chatting: MainWindow, qtbot: QtBot
) -> None:
    view = chatting.assistant.view
    chatting.offers.trigger()
    profile = chatting._session.profile
    qtbot.waitUntil(lambda: profile.setting("asking.on") is False)
    with qtbot.waitSignal(chatting.assistant.chat.replied, timeout=LONG):
        chatting.assistant.regenerate()
    qtbot.waitUntil(lambda: view.earlier_reply is None)
    assert view.choice is None
    assert len(view.bubbles) == 2


def test_earlier_messages_are_added_above_and_none_is_lost(
    window: MainWindow, qtbot: QtBot
) -> None:
    conversations = Conversations(window._session.profile.db)
    made = conversations.create("Tea")
    for number in range(15):
        conversations.add_message(made.id, "user", f"Question {number}")
        conversations.add_message(made.id, "assistant", f"Answer {number}")
    with qtbot.waitSignal(window.assistant.chat.opened):
        window.assistant.chat.open(made.id)
    view = window.assistant.view
    assert len(view.bubbles) == 16
    view.add_question(conversations.add_message(made.id, "user", "The last question"))
    qtbot.mouseClick(view.earlier, LEFT)
    assert _texts(window)[0] == "Question 0"
    assert _texts(window)[-2:] == ["Answer 14", "The last question"]
    assert len(view.bubbles) == 31
    assert view.earlier.isHidden()
