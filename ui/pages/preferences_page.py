"""What the user set: how to be answered, what they know, and the prompt that this gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QComboBox, QGridLayout, QHeaderView, QLabel, QLineEdit

from ui.preference_words import learned_of, marked_prompt
from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, Page, SideBySide, Tool, allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.reply_preview import ReplyPreview
from ui.widgets.table import Table
from xeno.personalization.engine import PersonalizationEngine
from xeno.personalization.preferences import (
    ALLOWED,
    EXPERTISE_LEVELS,
    EXPERTISE_PREFIX,
    Preferences,
    normalised,
    prompt_prefix,
)

TITLES = {
    "communication_style": "St&yle",
    "detail_level": "&Length",
    "response_format": "For&mat",
    "tone": "&Tone",
}
WORDS = {
    "professional": "Professional: direct",
    "casual": "Casual: relaxed",
    "technical": "Technical: exact",
    "brief": "Brief: essentials",
    "medium": "Medium",
    "detailed": "Detailed: examples",
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


@dataclass(frozen=True)
class _State:
    """The preferences in effect; which of them were learned, which the user set."""

    preferences: Preferences
    learned: frozenset[str] = frozenset()
    set_by_user: frozenset[str] = frozenset()
    consent: bool = True


class PreferencesPage(Page):
    """Preferences, expertise, and the system prompt they give.

    Args:
        session: the open profile.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._engine = PersonalizationEngine(session.profile.name, profile=session.profile)
        self._state = _State(Preferences())
        self._earlier: Preferences | None = None  # before the last change made here
        self.notice = Notice(session.theme)
        self.add(self.notice)
        self.add(SideBySide((self._style_card(), 3), (self._expertise_card(), 2)))
        self.add(self._prompt_card())
        self.preview = ReplyPreview(session)
        self.add(self.preview)
        self.column.addStretch(1)
        session.preferences_changed.connect(self.reload)
        session.replies_changed.connect(self._reply_came)
        self._gate()

    def reload(self) -> None:
        """Read the preferences again."""
        learner = self._engine.learner

        def read() -> _State:
            preferences, beliefs = learner.effective(), learner.beliefs()
            learned = learned_of(beliefs, preferences, bool(learner.consent))
            pinned = frozenset(each.dimension for each in beliefs if each.pinned)
            return _State(preferences, frozenset(learned), pinned, bool(learner.consent))

        # After the writes, in their order.
        self._session.tasks.run(read, self._show, owner=self, key="preferences", in_order=True)

    def _style_card(self) -> Card:
        card = Card("How you like to be answered", "Kept at once; the next reply follows it.")
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(10)
        grid.setColumnStretch(1, 1)
        self.choices: dict[str, QComboBox] = {}
        self.origins: dict[str, QLabel] = {}
        self.release: dict[str, Tool] = {}
        for line, (key, values) in enumerate(ALLOWED.items()):
            combo = QComboBox()
            combo.setAccessibleName(TITLES[key].replace("&", ""))
            combo.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            combo.setMinimumContentsLength(12)
            for value in values:
                combo.addItem(_words(key, value), value)
            combo.activated.connect(lambda _, k=key, c=combo: self._set(k, str(c.currentData())))
            title = label(TITLES[key], wrap=False)
            title.setTextFormat(Qt.TextFormat.AutoText)
            title.setBuddy(combo)
            grid.addWidget(title, line, 0)
            grid.addWidget(combo, line, 1)
            name = TITLES[key].replace("&", "")
            origin = label("", "tiny", wrap=False)
            origin.setAccessibleName(f"Where {name} comes from")
            release = Tool(
                self._session.theme,
                "refresh",
                f"Let {name} be learned",
                tip="Take back your choice",
            )
            release.clicked.connect(lambda _, k=key: self._release(k))
            grid.addWidget(origin, line, 2)
            grid.addWidget(release, line, 3)
            self.choices[key] = combo
            self.origins[key] = origin
            self.release[key] = release
        card.add(grid)
        card.body.addStretch(1)
        return card

    def _expertise_card(self) -> Card:
        card = Card("What you know already", "Replies assume this level in these topics.")
        self.topics: RowsModel[tuple[str, str]] = RowsModel(
            [
                Column("Topic", lambda each: each[0]),
                Column("Level", lambda each: f"{WORDS[each[1]]}, {self._source(each[0])}"),
            ],
            self,
        )
        self.topic_table = Table("Expertise by topic", "No topics yet.")
        self.topic_table.show_model(self.topics, stretch=0)
        columns = self.topic_table.horizontalHeader()
        assert columns is not None
        columns.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
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
        line = row(self.topic, self.add_topic, spacing=8)
        line.setStretch(0, 1)
        card.add(line)
        card.add(row(self.level, None, self.remove_topic, spacing=8))
        return card

    def _prompt_card(self) -> Card:
        card = Card("What is sent before your message")
        self.prompt = label("", "muted")
        self.prompt.setTextFormat(Qt.TextFormat.RichText)
        self.prompt.setAccessibleName("System prompt")
        self.prompt.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.legend = label("", "tiny")
        card.add(self.prompt)
        card.add(self.legend)
        return card

    def _show(self, state: _State) -> None:
        preferences = state.preferences
        self._state = state
        for key, combo in self.choices.items():
            combo.setCurrentIndex(combo.findData(getattr(preferences, key)))
            self.origins[key].setText(self._origin(key))
            pinned = key in state.set_by_user
            allow(self.release[key], "" if pinned else "You have not set this.")
        self.topics.show(sorted(preferences.expertise.items()))
        self.prompt.setText(marked_prompt(preferences, state.learned))
        self.legend.setText(
            "Underlined: learned from what you do."
            if state.consent
            else "This can also be learned from what you do, if you allow it on the page Learned."
        )
        self.legend.setVisible(bool(state.learned) or not state.consent)
        self._show_preview(state)
        self._gate()

    def _show_preview(self, state: _State) -> None:
        without = Preferences()
        for key, value in state.preferences.items():
            if key not in state.learned:
                without = without.updated(key, value)
        others = [
            ("Without what was learned", without),
            ("The defaults", Preferences()),
        ]
        if self._earlier is not None:
            others.insert(0, ("Before your last change", self._earlier))
        self.preview.show_prompts(
            prompt_prefix(state.preferences),
            [(name, prompt_prefix(each)) for name, each in others],
        )

    def _source(self, topic: str) -> str:
        return self._origin(EXPERTISE_PREFIX + topic)

    def _origin(self, key: str) -> str:
        if key in self._state.set_by_user:
            return "set by you"
        return "learned" if key in self._state.learned else "default"

    def _gate(self) -> None:
        has_topic = bool(self.topic.text().strip())
        allow(self.add_topic, "" if has_topic else "Write a topic first.")
        chosen = self.topic_table.chosen_row()
        reason = "" if chosen >= 0 else "Select a topic in the table first."
        if chosen >= 0 and self._source(self.topics.records[chosen][0]) != "set by you":
            reason = "This was learned; the page Learned shows why and lets you forget it."
        allow(self.remove_topic, reason)

    def _set(self, key: str, value: str) -> None:
        """Show the change at once and keep it."""
        before = self._state
        try:
            changed = before.preferences.updated(key, value)
        except ValueError as error:  # a topic that is not allowed
            self.notice.explain(error)
            return
        self._remember(changed)
        key = normalised(key, value)[0]
        learned, chosen = before.learned - {key}, before.set_by_user | {key}
        self._show(_State(changed, learned, chosen, before.consent))
        self.notice.hide()
        self._write(lambda: self._engine.update_preference(key, value))

    def _remember(self, changed: Preferences) -> None:
        if changed != self._state.preferences:
            self._earlier = self._state.preferences

    def _release(self, key: str) -> None:
        """Let what is learned, or else the default, take effect again."""
        self._earlier = self._state.preferences
        self._write(lambda: self._engine.learner.unpin(key))

    def _add_topic(self) -> None:
        topic = self.topic.text().strip()
        if not topic:
            return
        self._set(EXPERTISE_PREFIX + topic, str(self.level.currentData()))
        if self.notice.isHidden():
            self.topic.clear()

    def _remove_topic(self) -> None:
        chosen = self.topic_table.chosen_row()
        if chosen < 0 or not self.remove_topic.isEnabled():
            return
        topic = self.topics.records[chosen][0]
        before = self._state
        changed = before.preferences.without_expertise(topic)
        self._remember(changed)
        self._show(_State(changed, before.learned, before.set_by_user, before.consent))
        self._write(lambda: self._engine.forget_expertise(topic))

    def _write(self, change: Callable[[], object]) -> None:
        self._session.tasks.run(change, failed=self._not_kept, owner=self, in_order=True)
        self.reload()  # after the change; what an earlier reading brings is no longer heard

    def _reply_came(self) -> None:
        """Something may have been learned of it."""
        if self.isVisible():
            self.reload()

    def _not_kept(self, error: BaseException) -> None:
        self.notice.explain(error)

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _words(key: str, value: str) -> str:
    if value == "friendly":
        return "Friendly: patient" if key == "communication_style" else "Friendly"
    return WORDS[value]
