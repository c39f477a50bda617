"""What the user says about replies: thumbs, stars, corrections, and which of two is better.

Kept off the window's thread; corrections and choices become preference pairs.
"""

from __future__ import annotations

from functools import partial

from PyQt6.QtCore import QObject, pyqtSignal

from ui.session import Session
from ui.widgets.bubbles import ReplyBubble
from ui.widgets.message_view import MessageView
from ui.widgets.reply_choice import EARLIER, NEITHER
from xeno.errors import XenoError
from xeno.feedback.recorder import FeedbackRecorder
from xeno.store.pairs import Pair


class ReplyFeedback(QObject):
    """Keeps what is said about the replies of one session's conversations."""

    chosen = pyqtSignal()  # the question which reply is better is answered, or declined

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._recorder = FeedbackRecorder(session.profile)

    def wire(self, bubble: ReplyBubble) -> None:
        """Keep what is said about the reply in `bubble`."""
        bubble.thumbed.connect(lambda message_id, up: self._thumb(bubble, message_id, up))
        bubble.rated.connect(lambda message_id, stars: self._rate(bubble, message_id, stars))
        bubble.corrected.connect(lambda message_id, text: self._correct(bubble, message_id, text))

    def offer_choice(self, view: MessageView) -> None:
        """Ask whether the last reply is better than what it was regenerated from."""
        choice = view.offer_choice()
        if choice is not None:
            choice.chosen.connect(partial(self._choose, view))

    def _choose(self, view: MessageView, answer: str) -> None:
        choice, earlier, this = view.choice, view.earlier_reply, view.last_reply
        if choice is None or earlier is None or this is None:
            return
        if answer == NEITHER:
            view.settle()
            self.chosen.emit()
            return
        better, worse = (earlier, this) if answer == EARLIER else (this, earlier)
        assert better.message is not None
        assert worse.message is not None
        ids = better.message.id, worse.message.id

        def done(pair: Pair) -> None:
            if view.choice is choice:
                view.settle(earlier=answer == EARLIER)
                self._tell(better, pair)
            self._pair_kept()
            self.chosen.emit()

        def failed(error: BaseException) -> None:
            if view.choice is choice:
                choice.wait()
            self._session.tasks.failed.emit(error)

        choice.wait("Your choice is being kept.")
        self._session.do(lambda: self._recorder.choose(*ids), done, owner=view, failed=failed)

    def _thumb(self, bubble: ReplyBubble, message_id: str, up: bool) -> None:
        self._session.do(lambda: self._recorder.thumb(message_id, up), self._kept, owner=bubble)

    def _rate(self, bubble: ReplyBubble, message_id: str, stars: int) -> None:
        self._session.do(lambda: self._recorder.rate(message_id, stars), self._kept, owner=bubble)

    def _kept(self, _result: object) -> None:
        self._session.replies_changed.emit()

    def _correct(self, bubble: ReplyBubble, message_id: str, text: str) -> None:
        def done(pair: Pair) -> None:
            bubble.close_editor()
            self._tell(bubble, pair)
            self._pair_kept()

        def failed(error: BaseException) -> None:
            if isinstance(error, XenoError) and bubble.editor is not None:
                bubble.editor.refuse(str(error))
            else:
                self._session.tasks.failed.emit(error)

        self._session.do(
            lambda: self._recorder.correct(message_id, text), done, owner=bubble, failed=failed
        )

    def _tell(self, bubble: ReplyBubble, pair: Pair) -> None:
        notes = " ".join(pair.quality_notes)
        bubble.tell(f"Kept as a preference pair, quality {pair.quality:.2f}. {notes}".strip())

    def _pair_kept(self) -> None:
        self._session.pairs_changed.emit()
        self._session.replies_changed.emit()
