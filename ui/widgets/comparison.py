"""The comparison worth asking, offered below the conversation and never in the way.

A quiet line offers it; only when the user agrees are further replies written. Which version or
setting wrote which reply is not shown, and chance decides which stands first. While a test goes
on in the chat, the two replies are its two versions' (`xeno.experiments.side_by_side`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QFrame, QGridLayout, QTextBrowser, QVBoxLayout, QWidget

from ui.session import Session
from ui.widgets.basics import Tool, allow, button, label, on_key, row, set_kind
from xeno.store.pairs import Pair

if TYPE_CHECKING:
    from xeno.experiments.side_by_side import BlindQuestion, SideBySide
    from xeno.feedback.asking import Answer, Asking, Question

_BUSY = "A reply is on its way; wait for it or stop it first."
_HIGHEST = 190  # px of a reply; longer ones scroll
_ASKED = 140  # characters shown of the question
_EVERY = 6  # replies after an offer that was declined; more after each further one


class Comparison(QFrame):
    """Offers a comparison, shows two replies side by side, keeps the choice as a pair.

    Keys, while it has the focus: 1 and 2 choose, 0 says that neither is better.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._made: Asking | None = None
        self._making = threading.Lock()
        self._asker: Asking | SideBySide | None = None  # who asks now
        self._question: Question | BlindQuestion | None = None
        self._busy = False
        self._wanted = False  # replies are being written for a comparison
        self._declined = 0  # offers in a row that nobody wanted
        self._wait = 0  # replies until the next offer
        self.setAccessibleName("Comparison of two replies")
        set_kind(self, "notice-info")
        self.told = label("")
        self.agree = button("Co&mpare", name="Write two replies and compare them")
        self.dismiss = Tool(session.theme, "cross", "Not now", tip="Not now")
        self.texts = tuple(_reply(name) for name in ("First reply", "Second reply"))
        self.choices = (
            button("&1  This one", name="The first reply is better"),
            button("&2  This one", name="The second reply is better"),
        )
        self.neither = button("&0  Neither", "link", name="Neither reply is better")
        self.replies = QWidget()
        self._lay_out()
        self._connect()
        self.hide()

    @property
    def asking(self) -> Question | BlindQuestion | None:
        """The question that is open."""
        return self._question

    def tell_on(self, tell: Callable[[bool], None]) -> None:
        """Call `tell` with whether comparisons are offered."""
        self._session.do(lambda: self._asking().on, tell, owner=self)

    def switch(self, on: bool) -> None:
        """Offer comparisons from now on, or never."""
        self._session.tasks.run(lambda: self._asking().switch(on), in_order=True)
        if not on:
            self.stop()
            self._close()

    def replied(self) -> None:
        """A reply has come: offer a comparison if it is time for one."""
        self._wait = max(0, self._wait - 1)
        if not self._wait and self.isHidden():
            self._session.do(self._due, self._offer, owner=self, key="asking due")

    def set_busy(self, busy: bool) -> None:
        """The conversation goes first: nothing is written for a comparison meanwhile."""
        self._busy = busy
        if busy:
            self.stop()
        allow(self.agree, _BUSY if busy else "")

    def stop(self) -> None:
        """End the writing of replies."""
        if self._wanted and self._asker is not None:
            self._asker.stop()

    def _asking(self) -> Asking:
        """Made when it is first needed, on a task's thread: it brings numpy."""
        from xeno.feedback.asking import Asking

        with self._making:
            if self._made is None:
                self._made = Asking(self._session.profile, self._session.host)
            return self._made

    def _due(self) -> bool:
        """Whether to offer one now. On a task's thread."""
        from xeno.experiments.side_by_side import SideBySide

        asking, test = self._asking(), SideBySide(self._session.profile, self._session.host)
        return asking.on and (test.due() or asking.due())

    def _ask(self) -> Question | BlindQuestion | None:
        """The next question: the test's where one goes on. On a task's thread."""
        from xeno.experiments.side_by_side import SideBySide

        test = SideBySide(self._session.profile, self._session.host)
        self._asker = test if test.going() else self._asking()
        return self._asker.ask_next()

    def _lay_out(self) -> None:
        grid = QGridLayout(self.replies)
        grid.setContentsMargins(0, 0, 6, 0)
        grid.setSpacing(8)
        for place in range(2):
            grid.addWidget(self.texts[place], 0, place)
            grid.addWidget(self.choices[place], 1, place, Qt.AlignmentFlag.AlignHCenter)
            grid.setColumnStretch(place, 1)
        grid.addWidget(self.neither, 2, 0, 1, 2, Qt.AlignmentFlag.AlignHCenter)
        head = row(self.told, self.agree, self.dismiss, spacing=8)
        head.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 6, 6, 6)
        layout.setSpacing(8)
        layout.addLayout(head)
        layout.addWidget(self.replies)

    def _connect(self) -> None:
        self.agree.clicked.connect(self._write)
        self.dismiss.clicked.connect(self._not_now)
        answers: tuple[tuple[str, QWidget, Answer], ...] = (
            ("1", self.choices[0], "first"),
            ("2", self.choices[1], "second"),
            ("0", self.neither, "equal"),
        )
        for key, control, answer in answers:
            control.clicked.connect(lambda _=False, answer=answer: self._answer(answer))  # type: ignore[attr-defined]
            on_key(self, key, partial(self._answer, answer))

    # Offering -----------------------------------------------------------------------------

    def _offer(self, due: bool) -> None:
        if due and self.isHidden():
            self._show_words("Comparing two replies now would teach much.", agree=True)

    def _show_words(self, text: str, *, agree: bool = False) -> None:
        self.told.setText(text)
        self.setAccessibleDescription(text)
        self.agree.setVisible(agree)
        self.replies.setVisible(self._question is not None)
        self.show()

    def _not_now(self) -> None:
        question = self._question
        if question is not None:
            self._keep(question, "dismissed")
        elif self._wanted:
            self.stop()
        else:
            self._decline()
        self._close()

    def _decline(self) -> None:
        self._declined += 1
        self._wait = _EVERY * 2 ** min(4, self._declined - 1)

    def _close(self) -> None:
        self._question = None
        self.hide()

    # Asking -------------------------------------------------------------------------------

    def _write(self) -> None:
        if self._busy or self._wanted:
            return
        self._wanted = True
        self._declined = 0
        self._show_words("Writing replies to compare…")
        self.dismiss.setFocus()
        self._session.do(self._ask, self._show, owner=self, failed=self._failed)

    def _show(self, question: Question | BlindQuestion | None) -> None:
        self._wanted = False
        if question is None or self.isHidden():
            if question is not None:  # dismissed meanwhile
                self._keep(question, "dismissed")
            self._close()
            return
        self._question = question
        for view, text in zip(self.texts, (question.first, question.second), strict=True):
            view.setPlainText(text)
        asked = " ".join(question.asked.split())
        asked = asked if len(asked) <= _ASKED else asked[: _ASKED - 1] + "…"
        self._show_words(f"Which reply is better? You asked: {asked}")
        self.choices[0].setFocus()

    def _failed(self, error: BaseException) -> None:
        self._wanted = False
        self._close()
        self._session.tasks.failed.emit(error)

    def _answer(self, answer: Answer) -> None:
        question = self._question
        if question is not None:
            self._close()
            self._keep(question, answer)

    def _keep(self, question: Question | BlindQuestion, answer: Answer) -> None:
        asker = self._asker
        assert asker is not None, "a question was asked by somebody"

        def done(pair: Pair | None) -> None:
            if pair is not None:
                self._session.pairs_changed.emit()
                self._session.told.emit("Your choice is kept as a preference pair.", "")

        self._session.tasks.run(
            lambda: asker.answer(question.id, answer), done, owner=self, in_order=True
        )


def _reply(name: str) -> QTextBrowser:
    view = QTextBrowser()
    view.setAccessibleName(name)
    view.setOpenLinks(False)
    view.setTabChangesFocus(True)
    view.setMinimumHeight(90)
    view.setMaximumHeight(_HIGHEST)
    return view
