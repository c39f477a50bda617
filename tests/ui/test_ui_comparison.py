"""The comparison worth asking: offered quietly, answered by keys, kept as a pair."""

from __future__ import annotations

from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from xeno.feedback.asking import EVERY_SETTING
from xeno.store.pairs import Pairs

LEFT = Qt.MouseButton.LeftButton


@pytest.mark.timeout(300)
def test_a_comparison_is_offered_asked_and_answered_by_a_key(
    window: MainWindow, qtbot: QtBot, starter: Path
) -> None:
    profile, comparison = window._session.profile, window.assistant.comparison
    profile.set_setting(EVERY_SETTING, 1)
    qtbot.keyClicks(window.assistant.input, "How do I learn chess?")
    qtbot.keyClick(window.assistant.input, Qt.Key.Key_Return)
    qtbot.waitUntil(comparison.agree.isVisible, timeout=60_000)
    assert comparison.asking is None  # nothing is written before the user agrees
    qtbot.waitUntil(comparison.agree.isEnabled)
    qtbot.mouseClick(comparison.agree, LEFT)
    qtbot.waitUntil(lambda: comparison.asking is not None, timeout=120_000)
    question = comparison.asking
    assert question is not None
    assert comparison.texts[1].toPlainText().split() == question.second.split()
    qtbot.keyClick(comparison.choices[0], Qt.Key.Key_2)
    qtbot.waitUntil(lambda: Pairs(profile.db).count() == 1)
    pair = Pairs(profile.db).all()[0]
    assert (pair.chosen, pair.rejected) == (question.second, question.first)
    assert comparison.isHidden()


def test_an_offer_that_is_declined_comes_back_more_rarely(window: MainWindow, qtbot: QtBot) -> None:
    comparison = window.assistant.comparison
    waits = []
    for _ in range(3):
        comparison._offer(True)
        qtbot.mouseClick(comparison.dismiss, LEFT)
        assert comparison.isHidden()
        waits.append(comparison._wait)
    assert waits == sorted(set(waits))


def test_comparisons_are_switched_off_in_the_view_menu(window: MainWindow, qtbot: QtBot) -> None:
    comparison = window.assistant.comparison
    comparison._offer(True)
    window.offers.trigger()
    assert comparison.isHidden()
    told: list[bool] = []
    comparison.tell_on(told.append)
    qtbot.waitUntil(lambda: bool(told))
    qtbot.waitUntil(lambda: window._session.profile.setting("asking.on") is False)
