"""What is learned, as the window shows it: consent, beliefs, evidence, and how a reply changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.pages.learned_page import LearnedPage
from ui.pages.preferences_page import PreferencesPage
from ui.preference_words import marked_prompt
from xeno.personalization.learning import Learner
from xeno.personalization.preferences import Preferences
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile

LEFT = Qt.MouseButton.LeftButton
LONG = 120_000  # ms, for a busy machine that loads the model
REPLY = (
    "In order to bake bread one must first procure flour, water and yeast. Thereafter combine "
    "the ingredients and permit the dough to rise for a considerable period of time."
)


@pytest.fixture
def learner(profile: Profile) -> Learner:
    """A learner that was allowed to learn and saw three corrections into short lists."""
    made = Learner(profile)
    made.set_consent(True)
    talk = Conversations(profile.db)
    conversation = talk.create("Bread").id
    for number in range(3):
        talk.add_message(conversation, "user", f"How do I bake bread number {number}?")
        reply = talk.add_message(conversation, "assistant", REPLY)
        made.correction(reply, "- Mix\n- Let it rise\n- Bake", None)
    return made


@pytest.fixture
def page(window: MainWindow, qtbot: QtBot) -> LearnedPage:
    made = window.personalization.open("Learned")
    assert isinstance(made, LearnedPage)
    qtbot.waitUntil(lambda: len(made.beliefs.records) >= 4)
    return made


def _choose(page: LearnedPage, dimension: str, qtbot: QtBot) -> None:
    names = [each.dimension for each in page.beliefs.records]
    page.table.choose_row(names.index(dimension))
    qtbot.waitUntil(lambda: page._dimension == dimension)


def test_nothing_is_learned_before_it_is_allowed(
    page: LearnedPage, window: MainWindow, qtbot: QtBot
) -> None:
    learner = Learner(window._session.profile)
    assert not page.consent.isChecked()
    assert not page.signals["rating"].isEnabled()
    assert "Switch learning on" in page.signals["rating"].toolTip()
    page.consent.setFocus()
    qtbot.keyClick(page.consent, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: learner.consent is True)
    qtbot.waitUntil(page.signals["rating"].isEnabled)
    qtbot.mouseClick(page.signals["rating"], LEFT)
    qtbot.waitUntil(lambda: learner.signals()["rating"] is False)


def test_a_belief_shows_the_very_words_and_they_can_be_left_out(
    learner: Learner, page: LearnedPage, qtbot: QtBot
) -> None:
    _choose(page, "response_format", qtbot)
    qtbot.waitUntil(lambda: len(page.evidence.records) == 3)
    assert "Bullet points" in page.said.text()
    page.evidence_table.choose_row(0)
    assert page.words.isVisible()
    qtbot.mouseClick(page.count, LEFT)
    qtbot.waitUntil(lambda: learner.belief("response_format").evidence == 2)
    qtbot.waitUntil(lambda: page.evidence.records and page.evidence.records[0].undone)
    assert page.count.text().startswith("Count it")
    qtbot.mouseClick(page.count, LEFT)
    qtbot.waitUntil(lambda: learner.belief("response_format").evidence == 3)


def test_what_the_user_sets_wins_until_they_take_it_back(
    learner: Learner, page: LearnedPage, qtbot: QtBot
) -> None:
    _choose(page, "response_format", qtbot)
    assert learner.effective().response_format == "bullet_points"
    page.value.setCurrentIndex(page.value.findData("structured"))
    qtbot.mouseClick(page.pin, LEFT)
    qtbot.waitUntil(lambda: "set by you" in page.said.text())
    assert learner.effective().response_format == "structured"
    qtbot.mouseClick(page.unpin, LEFT)
    qtbot.waitUntil(lambda: "learned" in page.said.text())
    assert learner.effective().response_format == "bullet_points"


def test_one_belief_or_everything_is_forgotten(
    learner: Learner, page: LearnedPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    yes = QMessageBox.StandardButton.Yes
    monkeypatch.setattr(QMessageBox, "question", lambda *_, **__: yes)
    _choose(page, "response_format", qtbot)
    qtbot.waitUntil(page.reset.isEnabled)
    qtbot.mouseClick(page.reset, LEFT)
    qtbot.waitUntil(lambda: learner.belief("response_format").evidence == 0)
    assert learner.belief("detail_level").evidence == 3
    qtbot.waitUntil(page.reset_all.isEnabled)
    qtbot.mouseClick(page.reset_all, LEFT)
    qtbot.waitUntil(lambda: learner.belief("detail_level").evidence == 0)


def test_the_prompt_marks_what_was_learned(
    learner: Learner, window: MainWindow, qtbot: QtBot
) -> None:
    page = window.personalization.open("Preferences")
    assert isinstance(page, PreferencesPage)
    qtbot.waitUntil(lambda: "<u>Write in bullet points" in page.prompt.text())
    assert page.origins["response_format"].text() == "learned"
    combo = page.choices["response_format"]
    combo.setCurrentIndex(combo.findData("structured"))
    combo.activated.emit(combo.currentIndex())
    assert "numbered steps" in page.prompt.text()
    assert page.origins["response_format"].text() == "set by you"
    qtbot.waitUntil(lambda: learner.effective().response_format == "structured")
    qtbot.mouseClick(page.release["response_format"], LEFT)
    qtbot.waitUntil(lambda: page.origins["response_format"].text() == "learned")


def test_marks_fall_on_their_own_words_only() -> None:
    told = Preferences(communication_style="friendly", tone="friendly", expertise={"c++": "expert"})
    marked = marked_prompt(told, {"tone", "expertise_level.c++"})
    assert marked.count("<u>") == 2
    assert "<u>friendly tone</u>" in marked
    assert "<u>expert in c++</u>" in marked
    assert "<u>" not in marked_prompt(told, ())


def test_two_replies_show_what_a_preference_changes(
    window: MainWindow, starter: Path, qtbot: QtBot
) -> None:
    page = window.personalization.open("Preferences")
    assert isinstance(page, PreferencesPage)
    preview = page.preview
    assert not preview.ask.isEnabled()
    assert "differs" in preview.ask.toolTip()
    combo = page.choices["response_format"]
    combo.setCurrentIndex(combo.findData("bullet_points"))
    combo.activated.emit(combo.currentIndex())
    assert preview.other.currentText() == "Before your last change"
    qtbot.mouseClick(preview.ask, LEFT)
    assert preview.stop.isVisible()
    qtbot.waitUntil(preview.ask.isEnabled, timeout=LONG)
    before, now = (text.toPlainText() for text in preview.texts)
    assert now.count("\n- ") + now.startswith("- ") >= 2
    assert before
    assert before != now
    assert not Conversations(window._session.profile.db).all()
