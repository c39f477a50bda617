"""What the user set: how to be answered, what they know, and the prompt that this gives."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLineEdit

from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, Page, allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from xeno.personalization.engine import PersonalizationEngine
from xeno.personalization.preferences import (
    ALLOWED,
    EXPERTISE_LEVELS,
    EXPERTISE_PREFIX,
    Preferences,
    prompt_prefix,
)

TITLES = {
    "communication_style": "St&yle",
    "detail_level": "&Length",
    "response_format": "For&mat",
    "tone": "&Tone",
}
WORDS = {
    "professional": "Professional: to the point",
    "casual": "Casual: as among colleagues",
    "technical": "Technical: exact terms",
    "brief": "Brief: the essentials",
    "medium": "Medium",
    "detailed": "Detailed: with examples",
    "conversational": "Plain sentences",
    "structured": "Numbered steps",
    "bullet_points": "Bullet points",
    "formal": "Formal",
    "neutral": "Neutral",
    "humorous": "Humorous",
    "beginner": "Beginner",
    "intermediate": "Intermediate",
    "advanced": "Advanced",
    "expert": "Expert",
}


class PreferencesPage(Page):
    """Preferences, expertise, and the system prompt they give.

    Args:
        session: the open profile.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._engine = PersonalizationEngine(session.profile.name, profile=session.profile)
        self._preferences = Preferences()
        self.notice = Notice(session.theme)
        self.add(self.notice)
        columns = QHBoxLayout()
        columns.setSpacing(16)
        columns.addWidget(self._style_card(), 1)
        columns.addWidget(self._expertise_card(), 1)
        self.add(columns)
        self.add(self._prompt_card())
        self.column.addStretch(1)
        session.preferences_changed.connect(self.reload)
        self._gate()

    def reload(self) -> None:
        """Read the preferences again."""
        read = lambda: self._engine.preferences  # noqa: E731  (after the writes, in their order)
        self._session.tasks.run(read, self._show, owner=self, key="preferences", in_order=True)

    def _style_card(self) -> Card:
        card = Card("How you like to be answered", "Kept at once; the next reply follows it.")
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(10)
        grid.setColumnStretch(1, 1)
        self.choices: dict[str, QComboBox] = {}
        for line, (key, values) in enumerate(ALLOWED.items()):
            combo = QComboBox()
            combo.setAccessibleName(TITLES[key].replace("&", ""))
            for value in values:
                combo.addItem(_words(key, value), value)
            combo.activated.connect(lambda _, k=key, c=combo: self._set(k, str(c.currentData())))
            title = label(TITLES[key], wrap=False)
            title.setTextFormat(Qt.TextFormat.AutoText)
            title.setBuddy(combo)
            grid.addWidget(title, line, 0)
            grid.addWidget(combo, line, 1)
            self.choices[key] = combo
        card.add(grid)
        card.body.addStretch(1)
        return card

    def _expertise_card(self) -> Card:
        card = Card("What you know already", "Replies assume this level in these topics.")
        self.topics: RowsModel[tuple[str, str]] = RowsModel(
            [
                Column("Topic", lambda each: each[0]),
                Column("Level", lambda each: WORDS[each[1]]),
            ],
            self,
        )
        self.topic_table = Table("Expertise by topic", "No topics yet.")
        self.topic_table.show_model(self.topics, stretch=0)
        self.topic_table.setMinimumHeight(110)
        self.topic_table.setMaximumHeight(150)
        self.topic = QLineEdit()
        self.topic.setAccessibleName("New topic")
        self.topic.setPlaceholderText("Topic, e.g. python")
        self.topic.setMaxLength(48)
        self.level = QComboBox()
        self.level.setAccessibleName("Level in the new topic")
        for value in EXPERTISE_LEVELS:
            self.level.addItem(WORDS[value], value)
        self.level.setCurrentIndex(1)
        self.add_topic = button("&Add", name="Add the topic")
        self.remove_topic = button("&Remove", name="Remove the selected topic")
        self.topic.textChanged.connect(lambda _: self._gate())
        self.topic.returnPressed.connect(self._add_topic)
        self.add_topic.clicked.connect(self._add_topic)
        self.remove_topic.clicked.connect(self._remove_topic)
        selection = self.topic_table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._gate())
        card.add(self.topic_table, 1)
        line = row(self.topic, self.level, spacing=8)
        line.setStretch(0, 1)
        card.add(line)
        card.add(row(self.add_topic, self.remove_topic, None, spacing=8))
        return card

    def _prompt_card(self) -> Card:
        card = Card("What is sent before your message")
        self.prompt = label("", "muted")
        self.prompt.setAccessibleName("System prompt")
        self.prompt.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        card.add(self.prompt)
        return card

    def _show(self, preferences: Preferences) -> None:
        self._preferences = preferences
        for key, combo in self.choices.items():
            combo.setCurrentIndex(combo.findData(getattr(preferences, key)))
        self.topics.show(sorted(preferences.expertise.items()))
        self.prompt.setText(prompt_prefix(preferences))
        self._gate()

    def _gate(self) -> None:
        has_topic = bool(self.topic.text().strip())
        allow(self.add_topic, "" if has_topic else "Write a topic first.")
        chosen = self.topic_table.chosen_row()
        allow(self.remove_topic, "" if chosen >= 0 else "Select a topic in the table first.")

    def _set(self, key: str, value: str) -> None:
        """Show the change at once and keep it."""
        try:
            self._show(self._preferences.updated(key, value))
        except ValueError as error:  # a topic that is not allowed
            self.notice.explain(error)
            return
        self.notice.hide()
        self._write(lambda: self._engine.update_preference(key, value))

    def _add_topic(self) -> None:
        topic = self.topic.text().strip()
        if not topic:
            return
        self._set(EXPERTISE_PREFIX + topic, str(self.level.currentData()))
        if self.notice.isHidden():
            self.topic.clear()

    def _remove_topic(self) -> None:
        chosen = self.topic_table.chosen_row()
        if chosen < 0:
            return
        topic = self.topics.records[chosen][0]
        self._show(self._preferences.without_expertise(topic))
        self._write(lambda: self._engine.forget_expertise(topic))

    def _write(self, change: Callable[[], object]) -> None:
        self._session.tasks.run(change, failed=self._not_kept, owner=self, in_order=True)
        self.reload()  # after the change; what an earlier reading brings is no longer heard

    def _not_kept(self, error: BaseException) -> None:
        self.notice.explain(error)

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _words(key: str, value: str) -> str:
    if value == "friendly":
        return "Friendly: warm and patient" if key == "communication_style" else "Friendly"
    return WORDS[value]
