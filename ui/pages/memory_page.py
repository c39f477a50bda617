"""What is remembered: facts, episodes and workflows, to be found, changed and forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QInputDialog,
    QLineEdit,
    QMessageBox,
    QSpinBox,
    QTextBrowser,
    QWidget,
)

from ui.changes import Changes, Undo
from ui.memory_dialog import KINDS, Draft, MemoryDialog, content_text
from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, Page, SideBySide, allow, button, label, row
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from ui.words import count, moment, shown_of
from xeno.personalization.memories import Memory
from xeno.personalization.memory import LARGEST_BUDGET, ContextualMemory

_SHOWN = 500  # memories in the table; the search finds all
_SEARCH_DELAY = 250  # ms
_CHOOSE_FIRST = "Select a memory in the table first."


@dataclass(frozen=True)
class _State:
    enabled: bool
    budget: int
    memories: tuple[Memory, ...]
    matching: int
    total: int
    topics: tuple[tuple[str, int], ...]


class MemoryPage(Page):
    """The memories in a table; every change can be undone while the window is open.

    Args:
        session: the open profile.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._memory = ContextualMemory(profile=session.profile)
        self._forgettable = False
        self.notice = Notice(session.theme)
        self._changes = Changes(session, self, self.notice, self.reload, self._failed)
        self.add(self.notice)
        self.add(self._use_card())
        self.add(self._browser_card(), 1)
        session.replies_changed.connect(self._changed)
        self._gate()

    def reload(self) -> None:
        """Read the memories again, after the writes before it."""
        memory, kind, topic = self._memory, self.kind.currentData(), self.topic.currentData()
        search = self.search.text().strip() or None

        def read() -> _State:
            wanted: dict[str, Any] = {"kind": kind, "topic": topic, "search": search}
            return _State(
                memory.enabled,
                memory.budget,
                tuple(memory.all(**wanted, limit=_SHOWN)),
                memory.count(**wanted),
                memory.count(),
                tuple(memory.topics()),
            )

        self._session.tasks.run(
            read, self._show, self._failed, owner=self, key="memories", in_order=True
        )

    # Parts --------------------------------------------------------------------------------

    def _use_card(self) -> Card:
        card = Card()
        self.enabled = QCheckBox("Us&e memories in replies")
        self.enabled.setProperty("kind", "switch")
        self.enabled.setAccessibleName("Use memories in replies")
        self.enabled.clicked.connect(self._switch)
        self.budget = QSpinBox()
        self.budget.setAccessibleName("Characters of the prompt for memories")
        self.budget.setRange(0, LARGEST_BUDGET)
        self.budget.setSingleStep(100)
        self.budget.setGroupSeparatorShown(True)
        self.budget.setSuffix(" characters")
        self.budget.setKeyboardTracking(False)
        self.budget.setToolTip("How much of the system prompt memories may take; 4 are a token")
        self.budget.valueChanged.connect(self._set_budget)
        most = label("At &most", "muted", wrap=False)
        most.setTextFormat(Qt.TextFormat.AutoText)
        most.setBuddy(self.budget)
        room = QWidget()
        room.setLayout(row(most, self.budget, None, spacing=8))
        card.add(SideBySide((self.enabled, 1), (room, 0)))
        words = (
            "Only what you put here is remembered. A reply is told what shares a telling word "
            "with your message, and shows what it was told."
        )
        card.add(label(words, "muted"))
        return card

    def _browser_card(self) -> Card:
        card = Card("What is remembered")
        self.search = QLineEdit()
        self.search.setAccessibleName("Search memories")
        self.search.setPlaceholderText("Search")
        self.search.setClearButtonEnabled(True)
        self.kind = QComboBox()
        self.kind.setAccessibleName("Show which kind")
        self.kind.addItem("All kinds", None)
        for kind, name in KINDS.items():
            self.kind.addItem(f"{name}s", kind)
        self.topic = QComboBox()
        self.topic.setAccessibleName("Show which topic")
        self.topic.addItem("All topics", None)
        self.topic.setMinimumContentsLength(14)
        self.total = label("", "muted", wrap=False)
        self.memories: RowsModel[Memory] = RowsModel(
            [
                Column("Kind", lambda m: KINDS[m.kind]),
                Column("Topic", lambda m: m.topic.replace("_", " ")),
                Column("What", _what),
                Column("Told", _told, sort=lambda m: m.uses, tip="How often a reply was told it"),
                Column("Changed", lambda m: moment(m.updated)[:10], sort=lambda m: m.updated),
            ],
            self,
        )
        self.table = Table(
            "Memories", "Nothing is remembered yet. Add a fact, an episode or a workflow."
        )
        self.table.show_model(self.memories, stretch=2)
        self.table.widths(8, 14, 20, 7, 10)
        self.table.hide_when_narrow(600, 4)
        self.table.setMinimumHeight(240)
        self.reader = QTextBrowser()
        self.reader.setAccessibleName("The selected memory")
        self.reader.setFixedHeight(self.fontMetrics().lineSpacing() * 7 + 24)
        self.reader.hide()
        self.add_button = button("&Add…", "primary", name="Remember something")
        self.edit_button = button("&Change…", name="Change the selected memory", tip="Enter")
        self.pin_button = button("Tell al&ways", name="Tell the selected memory in every reply")
        self.delete_button = button("&Delete", "danger", name="Delete the memory", tip="Delete")
        self.forget_button = button("For&get a topic…", "danger")
        self.undo_button = button("U&ndo", tip="Ctrl+Z")
        line = row(self.search, self.kind, self.topic, spacing=8)
        line.setStretch(0, 1)
        card.add(line)
        card.add(self.table, 1)
        card.add(self.reader)
        card.add(
            row(
                self.add_button, self.edit_button, self.pin_button, self.delete_button, None,
                spacing=8,
            )
        )  # fmt: skip
        card.add(row(self.undo_button, self.forget_button, None, self.total, spacing=8))
        self._connect()
        return card

    def _connect(self) -> None:
        self._wait = QTimer(self, singleShot=True, interval=_SEARCH_DELAY)
        self._wait.timeout.connect(self.reload)
        self.search.textChanged.connect(lambda _: self._wait.start())
        for choice in (self.kind, self.topic):
            choice.activated.connect(lambda _: self.reload())
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._selected())
        self.memories.modelReset.connect(self._selected)
        self.table.doubleClicked.connect(lambda _: self._edit())
        self.add_button.clicked.connect(self._add)
        self.edit_button.clicked.connect(self._edit)
        self.pin_button.clicked.connect(self._pin)
        self.delete_button.clicked.connect(self._delete)
        self.forget_button.clicked.connect(self._ask_topic)
        self.undo_button.clicked.connect(self._changes.take_back)
        for keys, where, act in (
            (Qt.Key.Key_Return, self.table, self._edit),
            (Qt.Key.Key_Delete, self.table, self._delete),
            (QKeySequence.StandardKey.Undo, self.table, self._changes.take_back),
        ):
            shortcut = QShortcut(QKeySequence(keys), where)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(act)

    # Showing ------------------------------------------------------------------------------

    def _show(self, state: _State) -> None:
        chosen = self._chosen()
        self.enabled.setChecked(state.enabled)
        if not self.budget.hasFocus():
            self.budget.blockSignals(True)
            self.budget.setValue(state.budget)
            self.budget.blockSignals(False)
        topic = self.topic.currentData()
        self.topic.clear()
        self.topic.addItem("All topics", None)
        for name, number in state.topics:
            self.topic.addItem(f"{name.replace('_', ' ')} ({number})", name)
        self.topic.setCurrentIndex(max(0, self.topic.findData(topic)))
        self.memories.show(state.memories)
        names = [each.id for each in state.memories]
        if chosen is not None and chosen.id in names:
            self.table.choose_row(names.index(chosen.id))
        self.total.setText(
            shown_of(len(state.memories), state.matching, state.total, "memory", "memories")
        )
        self.table.empty = (
            "Nothing matches." if state.total else "Nothing is remembered yet. Add something."
        )
        self._forgettable = bool(state.total)
        self._selected()

    def _chosen(self) -> Memory | None:
        return self.memories.at(self.table.chosen_row())

    def _selected(self) -> None:
        memory = self._chosen()
        self.reader.setVisible(memory is not None)
        if memory is not None:
            self.reader.setPlainText(_whole(memory))
            self.pin_button.setText("Tell &where it fits" if memory.pinned else "Tell al&ways")
        self._gate()

    def _gate(self) -> None:
        reason = "" if self._chosen() else _CHOOSE_FIRST
        for control in (self.edit_button, self.pin_button, self.delete_button):
            allow(control, reason)
        allow(self.forget_button, "" if self._forgettable else "Nothing is remembered yet.")
        self._changes.offer(self.undo_button)

    def _changed(self) -> None:
        if self.isVisible():
            self.reload()

    # What the user does -------------------------------------------------------------------

    def _add(self) -> None:
        self._open(None)

    def _edit(self) -> None:
        memory = self._chosen()
        if memory is not None:
            self._open(memory)

    def _open(self, memory: Memory | None) -> MemoryDialog:
        dialog = MemoryDialog(self._session.theme, memory, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: self._written(memory, dialog.draft))
        dialog.open()
        return dialog

    def _written(self, before: Memory | None, draft: Draft | None) -> None:
        if draft is None:
            return
        memory = self._memory
        if before is None:
            self._changes.make(lambda: _store(memory, draft), "Take back what was added")
        else:
            self._change(
                before,
                content=draft.content,
                importance=draft.importance,
                pinned=draft.pinned,
            )

    def _change(self, memory: Memory, **values: Any) -> None:
        store = self._memory

        def change() -> Undo:
            before = store.edit(memory.id, **values)
            return lambda: store.restore([before])

        self._changes.make(change, "Undo the change")

    def _pin(self) -> None:
        found = self._chosen()
        if found is not None:
            self._change(found, pinned=not found.pinned)

    def _delete(self) -> None:
        found = self._chosen()
        if found is None:
            return
        store = self._memory

        def delete() -> Undo:
            gone = store.delete(found.id)
            return lambda: store.restore([gone])

        self._changes.make(delete, "Bring the memory back")

    def _ask_topic(self) -> None:
        topic, given = QInputDialog.getText(
            self,
            "Forget a topic",
            "Everything of this topic, and all that speaks of it, is forgotten:",
            text=str(self.topic.currentData() or ""),
        )
        if given and topic.strip():
            memory = self._memory
            self._session.do(
                lambda: memory.about(topic),
                lambda found: self._forget(topic.strip(), found),
                owner=self,
                failed=self._failed,
            )

    def _forget(self, topic: str, found: Sequence[Memory]) -> None:
        if not found:
            self.notice.inform(f"Nothing is remembered of “{topic}”.")
            return
        listed = "\n".join(f"• {memory.text[:90]}" for memory in found[:8])
        more = f"\n… and {len(found) - 8} more" if len(found) > 8 else ""
        answer = QMessageBox.question(
            self,
            "Forget a topic",
            f"Forget {count(len(found), 'memory', 'memories')} of “{topic}”?\n\n{listed}{more}\n\n"
            "Conversations that were told them keep their words until you delete them.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer != QMessageBox.StandardButton.Yes:
            return
        store = self._memory

        def forget() -> Undo:
            gone = store.forget(topic)
            return lambda: store.restore(gone)

        self._changes.make(forget, f"Bring back “{topic}”")

    def _switch(self, on: bool) -> None:
        self._changes.keep(lambda: self._memory.set_enabled(on))

    def _set_budget(self, characters: int) -> None:
        self._changes.keep(lambda: self._memory.set_budget(characters))

    def _failed(self, error: BaseException) -> None:
        self.notice.explain(error)
        self._gate()

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _store(memory: ContextualMemory, draft: Draft) -> Undo:
    """Keep what was written, as one of its kind; returns what undoes it."""
    earlier = [
        each
        for each in memory.all(kind=draft.kind, topic=draft.topic)
        if draft.kind != "episode" and (draft.kind != "fact" or each.name == draft.name)
    ]
    if draft.kind == "fact":
        made = memory.store_fact(
            draft.topic, draft.name, draft.content, importance=draft.importance
        )
    elif draft.kind == "episode":
        made = memory.store_episode(draft.topic, draft.content, importance=draft.importance)
    else:
        made = memory.store_workflow(draft.topic, draft.content, importance=draft.importance)
    if draft.pinned:
        memory.edit(made.id, pinned=True)
    return (lambda: memory.restore(earlier)) if earlier else (lambda: memory.delete(made.id))


def _what(memory: Memory) -> str:
    said = content_text(memory) if memory.kind != "workflow" else " → ".join(memory.content)
    return f"{memory.name.replace('_', ' ')}: {said}" if memory.name else said


def _told(memory: Memory) -> str:
    if memory.pinned:
        return "always"
    return count(memory.uses, "time") if memory.uses else "not yet"


def _whole(memory: Memory) -> str:
    """The memory with where it came from."""
    used = f"last told {moment(memory.used)}" if memory.used else "not told yet"
    source = "you" if memory.source == "user" else memory.source
    around = "".join(f"\n{key.replace('_', ' ')}: {said}" for key, said in memory.context.items())
    name = f" · {memory.name.replace('_', ' ')}" if memory.name else ""
    return (
        f"{memory.topic.replace('_', ' ')}{name}\n{content_text(memory)}{around}\n\n"
        f"From {source}, {moment(memory.created)}; {used}. "
        f"Importance {round(100 * memory.importance)} %."
    )
