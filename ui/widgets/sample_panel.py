"""What the model in training answers to the fixed prompts: before, and after so many steps."""

from __future__ import annotations

from PyQt6.QtWidgets import QComboBox, QGridLayout, QPlainTextEdit, QVBoxLayout, QWidget

from ui.widgets.basics import allow, label, row
from xeno.events import SampleReplies, SampleReply

_NONE_YET = (
    "No sample replies yet. They are written before the first step and then at each evaluation, "
    "if sample replies are switched on in the advanced settings."
)
_LINES = 4  # of text that a reply has room for


class SamplePanel(QWidget):
    """One row per prompt, with both replies side by side; follows the newest ones until the user
    chooses an earlier step."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[SampleReplies] = []
        self._follows = True
        self.about = label(_NONE_YET, "muted")
        self.step = QComboBox()
        self.step.setAccessibleName("Step whose replies are shown")
        self.step.activated.connect(self._chosen)
        title = label("&Replies after", "muted", wrap=False)
        title.setBuddy(self.step)
        self._head = QWidget()
        head = row(title, self.step, None)
        head.setContentsMargins(0, 0, 0, 0)
        self._head.setLayout(head)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(4)
        self.rows: list[_Row] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.about)
        layout.addWidget(self._head)
        layout.addLayout(self._grid)
        layout.addStretch(1)
        self.begin()

    def begin(self) -> None:
        """A run begins: there are no replies yet."""
        self._written.clear()
        self._follows = True
        self.step.clear()
        self.about.show()
        self._head.hide()
        for each in self.rows:
            each.hide()

    def add(self, event: SampleReplies) -> None:
        """Replies were written."""
        if not event.replies:
            return
        self._written.append(event)
        self.step.addItem(f"step {event.step:,}" if event.step else "no step (the base model)")
        self.about.hide()
        self._head.show()
        allow(self.step, "" if len(self._written) > 1 else "There are no later replies yet.")
        if self._follows:
            self.step.setCurrentIndex(self.step.count() - 1)
            self._show(self.step.count() - 1)

    def _chosen(self, place: int) -> None:
        self._follows = place == self.step.count() - 1
        self._show(place)

    def _show(self, place: int) -> None:
        first, now = self._written[0], self._written[place]
        title = f"After step {now.step:,}" if now.step else "Now"
        while len(self.rows) < len(now.replies):
            self.rows.append(_Row(self._grid, len(self.rows)))
        for before, reply, shown in zip(first.replies, now.replies, self.rows, strict=False):
            shown.show_replies(before, reply, title)


class _Row:
    """The widgets of one prompt in the grid."""

    def __init__(self, grid: QGridLayout, place: int) -> None:
        self.prompt = label("")
        self.now_title = label("", "tiny", wrap=False)
        self.before, self.now = QPlainTextEdit(readOnly=True), QPlainTextEdit(readOnly=True)
        before_title = label("Before training", "tiny", wrap=False)
        line = 3 * place
        grid.addWidget(self.prompt, line, 0, 1, 2)
        for column, (title, text) in enumerate(
            ((before_title, self.before), (self.now_title, self.now))
        ):
            text.setTabChangesFocus(True)
            text.setFixedHeight(text.fontMetrics().lineSpacing() * _LINES + 20)
            grid.addWidget(title, line + 1, column)
            grid.addWidget(text, line + 2, column)
            grid.setColumnStretch(column, 1)
        self._widgets = (self.prompt, before_title, self.now_title, self.before, self.now)

    def hide(self) -> None:
        for widget in self._widgets:
            widget.hide()

    def show_replies(self, before: SampleReply, now: SampleReply, title: str) -> None:
        self.prompt.setText(now.prompt)
        self.now_title.setText(title)
        self.before.setPlainText(_words(before))
        self.now.setPlainText(_words(now))
        self.before.setAccessibleName(f"Reply before training to: {now.prompt}")
        self.now.setAccessibleName(f"{title}, reply to: {now.prompt}")
        for widget in self._widgets:
            widget.show()


def _words(sample: SampleReply) -> str:
    return sample.reply if sample.complete else f"{sample.reply} …"
