"""What the user means: examples of intents, the classifier learned from them, and the replies."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PyQt6.QtCore import Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QInputDialog,
    QLineEdit,
    QListWidget,
    QProgressBar,
)

from ui.changes import Changes, Undo
from ui.preference_words import value_name
from ui.rows_model import Column, RowsModel
from ui.session import Session
from ui.widgets.basics import Card, Page, allow, button, label, row, set_kind
from ui.widgets.encoder_line import EncoderLine
from ui.widgets.notice import Notice
from ui.widgets.table import Table
from ui.words import NONE, count, share, shown_of
from xeno.errors import ChildError
from xeno.events import IntentPredicted
from xeno.workers.intents_client import STOPPED

if TYPE_CHECKING:  # brings numpy, which the window's start need not wait for
    from xeno.personalization.classifier import Fit
    from xeno.personalization.intents import CustomModelTrainer, Example

_SHOWN = 500  # examples in the table; the search finds all
_SEARCH_DELAY = 250  # ms
_LEAST = 50  # examples that training needs
_CHOOSE_FIRST = "Select an example in the table first."


@dataclass(frozen=True)
class _State:
    examples: tuple[Example, ...]
    matching: int
    total: int
    named: int
    intents: tuple[tuple[str, int], ...]
    fit: Fit | None
    fresh: int
    automatic: bool


class IntentsPage(Page):
    """Examples at the top; below, what was learned of them, a text to try, and templates.

    scikit-learn works in a child process; this one only reads and writes the examples.

    Args:
        session: the open profile.
    """

    _due = pyqtSignal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._opened: CustomModelTrainer | None = None
        self._state: _State | None = None
        self._training = False
        self._trying = False
        self.notice = Notice(session.theme)
        self._changes = Changes(session, self, self.notice, self.reload, self._failed)
        self.add(self.notice)
        self.add(self._examples_card(), 1)
        self.add(self._classifier_card())
        self.add(self._templates_card())
        self._due.connect(self._train)
        self._gate()

    def reload(self) -> None:
        """Read the examples and the last training again, after the writes before it."""
        search, intent = self.search.text().strip() or None, self.filter.currentData()

        def read() -> _State:
            trainer = self._trainer()
            intents = tuple(trainer.intents())
            return _State(
                tuple(trainer.examples(intent=intent, search=search, limit=_SHOWN)),
                trainer.count(intent=intent, search=search),
                trainer.count(),
                sum(number for _, number in intents),
                intents,
                trainer.last_fit,
                trainer.new_examples,
                trainer.automatic,
            )

        self._session.tasks.run(
            read, self._show, self._failed, owner=self, key="intents", in_order=True
        )
        self.encoder.reload()

    def _trainer(self) -> CustomModelTrainer:
        """The examples' store; called on a task's thread, one at a time."""
        if self._opened is None:
            module = importlib.import_module("xeno.personalization.intents")
            self._opened = module.CustomModelTrainer(
                profile=self._session.profile, learn_again=self._tell_due
            )
        return self._opened

    def _tell_due(self) -> None:
        """Called on a task's thread: enough examples came to learn again."""
        try:
            self._due.emit()
        except RuntimeError:  # the page is gone
            return

    # Parts --------------------------------------------------------------------------------

    def _examples_card(self) -> Card:
        card = Card(
            "Examples",
            "What you write, and what you mean by it. “unknown” is like nothing else here.",
        )
        self.search = QLineEdit()
        self.search.setAccessibleName("Search examples")
        self.search.setPlaceholderText("Search")
        self.search.setClearButtonEnabled(True)
        self.filter = QComboBox()
        self.filter.setAccessibleName("Show which intent")
        self.filter.setMinimumContentsLength(16)
        self.filter.addItem("All intents", None)
        self.total = label("", "muted", wrap=False)
        self.examples: RowsModel[Example] = RowsModel(
            [
                Column("Text", lambda e: e.input),
                Column("Intent", lambda e: e.intent or NONE),
                Column("Reply", lambda e: e.output or NONE),
            ],
            self,
        )
        self.table = Table("Examples", "No examples yet. Write one below.")
        self.table.show_model(self.examples, stretch=0)
        self.table.widths(30, 16, 14)
        self.table.setMinimumHeight(220)
        self.text = QLineEdit()
        self.text.setAccessibleName("Text of the example")
        self.text.setPlaceholderText("What you would write, e.g. Set up a call with Ana")
        self.intent = QComboBox()
        self.intent.setEditable(True)
        self.intent.setAccessibleName("Intent of the example")
        self.intent.setMinimumContentsLength(16)
        line = self.intent.lineEdit()
        assert line is not None
        line.setPlaceholderText("Intent")
        line.setAccessibleName("Intent of the example")
        self.reply = QLineEdit()
        self.reply.setAccessibleName("Reply to the example")
        self.reply.setPlaceholderText("What it is answered with (may be empty)")
        self.add_button = button("&Add", name="Add the example")
        self.name_button = button("Set &intent…", name="Set the intent of the selected example")
        self.delete_button = button("&Delete", "danger", tip="Delete", name="Delete the example")
        self.undo_button = button("U&ndo", tip="Ctrl+Z")
        head = row(self.search, self.filter, self.total, spacing=8)
        head.setStretch(0, 1)
        card.add(head)
        card.add(self.table, 1)
        card.add(row(self.name_button, self.delete_button, self.undo_button, None, spacing=8))
        first = row(self.text, self.intent, spacing=8)
        first.setStretch(0, 1)
        second = row(self.reply, self.add_button, spacing=8)
        second.setStretch(0, 1)
        card.add(first)
        card.add(second)
        self._wait = QTimer(self, singleShot=True, interval=_SEARCH_DELAY)
        self._wait.timeout.connect(self.reload)
        self.search.textChanged.connect(lambda _: self._wait.start())
        self.filter.activated.connect(lambda _: self.reload())
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self._gate())
        self.examples.modelReset.connect(self._gate)
        for field in (self.text, self.reply, line):
            field.textChanged.connect(lambda _: self._gate())
            field.returnPressed.connect(self._add)
        self.add_button.clicked.connect(self._add)
        self.name_button.clicked.connect(self._ask_intent)
        self.delete_button.clicked.connect(self._delete)
        self.undo_button.clicked.connect(self._changes.take_back)
        for keys, act in (
            (Qt.Key.Key_Return, self._ask_intent),
            (Qt.Key.Key_Delete, self._delete),
            (QKeySequence.StandardKey.Undo, self._changes.take_back),
        ):
            shortcut = QShortcut(QKeySequence(keys), self.table)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(act)
        return card

    def _classifier_card(self) -> Card:
        card = Card("What was learned of them")
        self.learned = label("", "muted")
        self.train_button = button("&Train", "primary", name="Learn the intents of all examples")
        self.stop_button = button("&Stop", name="Stop the training")
        self.stop_button.hide()
        self.automatic = QCheckBox("Learn again when enough ne&w examples came")
        self.automatic.setAccessibleName("Learn again when enough new examples came")
        self.automatic.clicked.connect(self._switch)
        self.progress = QProgressBar()
        self.progress.setAccessibleName("Training")
        self.progress.setTextVisible(False)
        self.progress.setRange(0, 0)
        self.progress.hide()
        self.encoder = EncoderLine(self._session, self._trainer)
        self.trial = QLineEdit()
        self.trial.setAccessibleName("Text to try")
        self.trial.setPlaceholderText("Write something and see what it is taken for")
        self.trial.setClearButtonEnabled(True)
        self.try_button = button("Tr&y", name="Say what the text means")
        self.meaning = label("")
        self.meaning.setAccessibleName("What the text means")
        self.meaning.hide()
        self.guesses = label("", "muted")
        self.guesses.setAccessibleName("The best guesses")
        self.guesses.hide()
        line = row(self.trial, self.try_button, spacing=8)
        line.setStretch(0, 1)
        card.add(self.learned)
        card.add(row(self.train_button, self.stop_button, self.automatic, None, spacing=12))
        card.add(self.progress)
        card.add(self.encoder)
        card.add(line)
        card.add(self.meaning)
        card.add(self.guesses)
        self.train_button.clicked.connect(self._train)
        self.stop_button.clicked.connect(self._stop)
        self.trial.textChanged.connect(lambda _: self._gate())
        self.trial.returnPressed.connect(self._try)
        self.try_button.clicked.connect(self._try)
        return card

    def _templates_card(self) -> Card:
        card = Card(
            "Replies to an intent",
            "What is in {braces} is filled in by the program that asks for the reply.",
        )
        self.owner_intent = QComboBox()
        self.owner_intent.setAccessibleName("Intent whose replies are shown")
        self.owner_intent.setMinimumContentsLength(20)
        self.templates = QListWidget()
        self.templates.setAccessibleName("Replies to the intent")
        self.templates.setWordWrap(True)
        self.templates.setFixedHeight(self.fontMetrics().lineSpacing() * 6 + 20)
        self.template = QLineEdit()
        self.template.setAccessibleName("Reply to add")
        self.template.setPlaceholderText("e.g. A call with {name} is booked for {time}.")
        self.add_template = button("Add &reply", name="Add the reply")
        self.remove_template = button("Re&move", "danger", name="Remove the selected reply")
        line = row(self.template, self.add_template, self.remove_template, spacing=8)
        line.setStretch(0, 1)
        card.add(row(self.owner_intent, None))
        card.add(self.templates)
        card.add(line)
        self.owner_intent.activated.connect(lambda _: self._read_templates())
        self.templates.currentRowChanged.connect(lambda _: self._gate())
        self.template.textChanged.connect(lambda _: self._gate())
        self.template.returnPressed.connect(self._add_template)
        self.add_template.clicked.connect(self._add_template)
        self.remove_template.clicked.connect(self._remove_template)
        key = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.templates)
        key.setContext(Qt.ShortcutContext.WidgetShortcut)
        key.activated.connect(self._remove_template)
        return card

    # Showing ------------------------------------------------------------------------------

    def _show(self, state: _State) -> None:
        chosen = self._chosen()
        self._state = state
        _refill(self.filter, [("All intents", None), *_listed(state.intents)])
        _refill(self.owner_intent, _listed(state.intents))
        written = self.intent.currentText()
        self.intent.clear()
        self.intent.addItems([name for name, _ in state.intents])
        self.intent.setEditText(written)
        self.examples.show(state.examples)
        names = [each.id for each in state.examples]
        if chosen is not None and chosen.id in names:
            self.table.choose_row(names.index(chosen.id))
        self.total.setText(shown_of(len(state.examples), state.matching, state.total, "example"))
        self.table.empty = (
            "Nothing matches." if state.total else "No examples yet. Write one below."
        )
        self.automatic.setChecked(state.automatic)
        self.learned.setText(_sentence(state))
        self._read_templates()
        self._gate()

    def _chosen(self) -> Example | None:
        return self.examples.at(self.table.chosen_row())

    def _gate(self) -> None:
        reason = "" if self._chosen() else _CHOOSE_FIRST
        for control in (self.name_button, self.delete_button):
            allow(control, reason)
        self._changes.offer(self.undo_button)
        missing = "" if self.text.text().strip() else "Write a text first."
        if not missing and not self.intent.currentText().strip():
            missing = "Say what it means first: write or choose an intent."
        allow(self.add_button, missing)
        state = self._state
        named = state.named if state else 0
        few = f"{_LEAST} examples with an intent are needed; you have {named}."
        running = "The intents are being learned." if self._training else ""
        enough = named >= _LEAST and state is not None and len(state.intents) > 1
        if named >= _LEAST:
            few = "At least two intents are needed."
        allow(self.train_button, running or ("" if enough else few))
        allow(self.stop_button, "" if self._training else "Nothing is being learned.")
        self.stop_button.setVisible(self._training)
        self.progress.setVisible(self._training)
        untrained = "" if state and state.fit else "Train first."
        busy = running or ("The text is being looked at." if self._trying else "")
        empty = "" if self.trial.text().strip() else "Write a text first."
        allow(self.try_button, untrained or busy or empty)
        no_intent = "" if self.owner_intent.count() else "Add an example of an intent first."
        unwritten = "" if self.template.text().strip() else "Write a reply first."
        allow(self.add_template, no_intent or unwritten)
        selected = self.templates.currentRow() >= 0
        allow(self.remove_template, "" if selected else "Select a reply first.")

    # Examples -----------------------------------------------------------------------------

    def _add(self) -> None:
        if not self.add_button.isEnabled():
            return
        text, intent = self.text.text().strip(), self.intent.currentText().strip()
        reply = self.reply.text().strip()

        def add() -> Undo:
            trainer = self._trainer()
            line = " ".join(text.split())
            earlier = [each for each in trainer.examples(search=line) if each.input == line]
            kept = trainer.add_training_example(text, reply, {"intent": intent})
            if earlier:
                return lambda: trainer.restore(earlier[0])
            return lambda: trainer.delete(kept.id)

        self._changes.make(add, "Take back what was added")
        self.text.clear()
        self.reply.clear()
        self.text.setFocus()

    def _ask_intent(self) -> None:
        example = self._chosen()
        if example is None or self._state is None:
            return
        names = [name for name, _ in self._state.intents]
        place = names.index(example.intent) if example.intent in names else 0
        intent, given = QInputDialog.getItem(
            self, "Set the intent", f"“{example.input[:120]}” means:", names, place, True
        )
        if given and intent.strip():
            self.set_intent(example, intent.strip())

    def set_intent(self, example: Example, intent: str) -> None:
        """Say that `example` means `intent`."""

        def change() -> Undo:
            trainer = self._trainer()
            before = trainer.set_intent(example.id, intent)
            return lambda: trainer.restore(before)

        self._changes.make(change, "Undo the change of the intent")

    def _delete(self) -> None:
        example = self._chosen()
        if example is None:
            return

        def delete() -> Undo:
            trainer = self._trainer()
            gone = trainer.delete(example.id)
            return lambda: trainer.restore(gone)

        self._changes.make(delete, "Bring the example back")

    # The classifier -----------------------------------------------------------------------

    def _switch(self, on: bool) -> None:
        self._changes.keep(lambda: self._trainer().set_automatic(on))

    def _train(self) -> None:
        if self._training or not self.train_button.isEnabled():
            return
        self._training = True
        self.notice.hide()
        self._gate()
        self._session.do(
            self._session.intents.train, self._trained, owner=self, failed=self._not_trained
        )

    def _trained(self, result: dict[str, object]) -> None:
        self._training = False
        if result["success"]:
            accuracy = result["accuracy"]
            assert isinstance(accuracy, float)
            self.notice.inform(
                f"{count(int(str(result['intents'])), 'intent')} learned from "
                f"{count(int(str(result['examples_used'])), 'example')}.",
                f"{share(accuracy)} of the examples held out are told right.",
            )
        else:
            self.notice.inform(
                "The intents were not learned.", str(result["error"]), kind="warning"
            )
        self.reload()

    def _stop(self) -> None:
        self._session.do(self._session.intents.stop)

    def _not_trained(self, error: BaseException) -> None:
        self._training = False
        if isinstance(error, ChildError) and error.what == STOPPED:
            self.notice.inform("The training was stopped.", error.why)
        else:
            self.notice.explain(error)
        self._gate()

    def _try(self) -> None:
        if not self.try_button.isEnabled():
            return
        text, client = self.trial.text().strip(), self._session.intents
        self._trying = True
        self._gate()
        self._session.do(
            lambda: client.predict(text), self._told, owner=self, failed=self._not_told
        )

    def _told(self, found: IntentPredicted) -> None:
        self._trying = False
        unknown = found.intent == "unknown"
        self.meaning.setText(
            "Unknown: no intent is sure enough."
            if unknown
            else f"{value_name(found.intent)}, {share(found.confidence)} sure."
        )
        set_kind(self.meaning, "warning" if unknown else "good")
        guesses = ", ".join(f"{value_name(n)} {share(p)}" for n, p in found.ranked[:4])
        answer = f"\nReply: {found.reply}" if found.reply else ""
        self.guesses.setText(f"Best guesses: {guesses}.{answer}")
        self.meaning.show()
        self.guesses.show()
        self._gate()

    def _not_told(self, error: BaseException) -> None:
        self._trying = False
        self._failed(error)

    # Templates ----------------------------------------------------------------------------

    def _read_templates(self) -> None:
        intent = self.owner_intent.currentData()
        if intent is None:
            self.templates.clear()
            self._gate()
            return
        self._session.tasks.run(
            lambda: self._trainer().written_templates(intent),
            self._show_templates,
            self._failed,
            owner=self,
            key="templates",
            in_order=True,
        )

    def _show_templates(self, found: list[str]) -> None:
        self.templates.clear()
        self.templates.addItems(found)
        self._gate()

    def _add_template(self) -> None:
        if not self.add_template.isEnabled():
            return
        intent, text = str(self.owner_intent.currentData()), self.template.text()
        self._changes.keep(lambda: self._trainer().add_response_template(intent, text))
        self.template.clear()

    def _remove_template(self) -> None:
        item = self.templates.currentItem()
        if item is None:
            return
        intent, text = str(self.owner_intent.currentData()), item.text()

        def remove() -> Undo:
            trainer = self._trainer()
            trainer.delete_response_template(intent, text)
            return lambda: trainer.add_response_template(intent, text)

        self._changes.make(remove, "Bring the reply back")

    def _failed(self, error: BaseException) -> None:
        self.notice.explain(error)
        self._gate()

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()


def _listed(intents: tuple[tuple[str, int], ...]) -> list[tuple[str, str | None]]:
    return [(f"{name} ({number})", name) for name, number in intents]


def _refill(combo: QComboBox, items: list[tuple[str, str | None]]) -> None:
    """Put `items` into `combo`; what was chosen stays chosen if it is there."""
    chosen = combo.currentData()
    combo.clear()
    for text, data in items:
        combo.addItem(text, data)
    combo.setCurrentIndex(max(0, combo.findData(chosen)) if items else -1)


def _sentence(state: _State) -> str:
    """What was learned, and of how much, in plain words."""
    fit = state.fit
    if fit is None:
        missing = max(0, _LEAST - state.named)
        more = f" {count(missing, 'more is', 'more are')} needed." if missing else ""
        return f"Nothing is learned yet. {count(state.named, 'example')} with an intent.{more}"
    since = f" {count(state.fresh, 'example')} came since." if state.fresh else ""
    return (
        f"{count(fit.intents, 'intent')} from {count(fit.examples_used, 'example')}; "
        f"{share(fit.accuracy)} of {fit.validation_examples} held out are told right. Below "
        f"{share(fit.threshold)} sure, a text is unknown.{since}"
    )
