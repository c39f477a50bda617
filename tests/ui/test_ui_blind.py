"""While a test goes on the chat does not say who answers, and picks are results of the test."""

from __future__ import annotations

from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot
from test_personalized import released
from tiny_models import make_llama

from ui.main_window import MainWindow
from xeno import ABTestingManager
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile
from xeno.workers.host_client import BASE_SETTING

LONG = 240_000  # ms, for a busy machine that loads the model


@pytest.fixture
def tested(profile: Profile, tmp_path: Path) -> ABTestingManager:
    """A test of two versions of a tiny model goes on in the chat."""
    base = make_llama(tmp_path / "tiny")
    profile.set_setting(BASE_SETTING, str(base))
    a, b = (released(profile, base, seed).address for seed in (1, 2))
    tests = ABTestingManager(profile.name, profile=profile)
    tests.create_test("style", a, b, metrics=["preferred"], in_chat=True)
    return tests


@pytest.mark.timeout(600)
def test_the_user_picks_blindly_and_reads_who_it_was_when_the_test_has_ended(
    tested: ABTestingManager, window: MainWindow, qtbot: QtBot
) -> None:
    dock, session = window.assistant, window._session
    session.versions_changed.emit()
    with qtbot.waitSignal(dock.chat.replied, timeout=LONG):
        dock.ask("What is tea?")
    bubble = dock.view.last_reply
    assert bubble is not None
    qtbot.waitUntil(lambda: bubble.meta.text().startswith("one of two versions"))

    dock.comparison._offer(True)
    qtbot.mouseClick(dock.comparison.agree, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.comparison.asking is not None, timeout=LONG)
    with qtbot.waitSignal(session.pairs_changed):
        qtbot.keyClick(dock.comparison, Qt.Key.Key_2)
    assert Pairs(session.profile.db).count() == 1
    found = tested.results("style", "preferred")
    assert sorted(value for _, _, value in found) == [0.0, 1.0]

    tested.end_test("style", "variant_b")
    session.versions_changed.emit()
    qtbot.waitUntil(lambda: bubble.meta.text().startswith("v"))
