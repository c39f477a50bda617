"""The conversation at the terminal: question and answer, and the commands that begin with `/`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from xeno.assistant import Assistant, PendingReply, Reply, anew
from xeno.cli.output import Output
from xeno.errors import ChildError, XenoError
from xeno.events import Sampling
from xeno.experiments.observing import News, words_of
from xeno.experiments.side_by_side import SideBySide
from xeno.feedback.recorder import FeedbackRecorder
from xeno.inference.settings import drawn, from_text
from xeno.store.conversations import Conversations, StoredMessage
from xeno.store.profile import Profile
from xeno.training.settings.values import shown
from xeno.words import count
from xeno.workers.host_client import HostClient

if TYPE_CHECKING:
    from xeno.feedback.asking import Answer, Asking

HELP = """\
/again   another reply to the last message
/earlier after /again: the reply before was better; the talk goes on with it
/this    after /again: this reply is better
/compare choose between two replies: the choice that teaches most
/new     begin another conversation
/set     how replies are drawn: /set temperature 0.7; alone it says how
/quit    leave (or Ctrl-D)"""


class Talk:
    """One conversation at a time, until the user leaves.

    Args:
        version: who answers; see `Assistant.ask`.
        conversation: id of the conversation to go on with; None begins one.
    """

    def __init__(
        self,
        profile: Profile,
        host: HostClient,
        output: Output,
        sampling: Sampling,
        version: str = "active",
        conversation: str | None = None,
    ) -> None:
        from xeno.feedback.asking import Asking  # brings numpy

        self._host = host
        self._output = output
        self._sampling = sampling
        self._version = version
        self._assistant = Assistant(profile, host, on_news=partial(say_news, output))
        self._recorder = FeedbackRecorder(profile)
        self._asking = Asking(profile, host)
        self._test = SideBySide(profile, host)
        self._conversation = conversation
        self._choice: tuple[StoredMessage, StoredMessage] | None = None  # earlier, this
        turns = Conversations(profile.db).messages(conversation) if conversation else []
        self._last = turns[-1] if turns and turns[-1].role == "assistant" else None
        self._unanswered = bool(turns) and turns[-1].role == "user"

    def go(self) -> None:
        """Question and answer; Ctrl-C ends the reply, not the talk."""
        ready = self._host.ready()
        self._output.say(
            f"{ready.name}: {ready.parameters / 1e6:.1f} million parameters. /help for more."
        )
        for note in ready.notes:
            self._output.say(note)
        commands: dict[str, Callable[[], None]] = {
            "/help": lambda: self._output.say(HELP),
            "/again": self._again,
            "/earlier": lambda: self._choose(earlier=True),
            "/this": lambda: self._choose(earlier=False),
            "/compare": self._compare,
            "/new": self._new,
        }
        while True:
            try:
                text = input("> ").strip()
            except (EOFError, KeyboardInterrupt):
                self._output.say()
                return
            if text in {"/quit", "/exit"}:
                return
            if not text:
                continue
            try:
                if text in commands:
                    commands[text]()
                elif text.split()[0] == "/set":
                    self._set(text.split(maxsplit=2)[1:])
                else:
                    self._ask(text)
            except ChildError as error:
                self._output.error(error)
                self._output.say("/again asks once more.")
            except XenoError as error:
                self._output.error(error)

    def _ask(self, text: str) -> None:
        self._choice = None
        pending = self._assistant.begin(
            self._conversation,
            text,
            self._output.piece,
            sampling=self._sampling,
            version=self._version,
        )
        self._conversation, self._unanswered = pending.conversation_id, True
        self._answered(pending)

    def _again(self) -> None:
        if self._unanswered and self._conversation is not None:
            self._answered(
                self._assistant.begin_retry(
                    self._conversation,
                    self._output.piece,
                    sampling=self._sampling,
                    version=self._version,
                )
            )
            return
        earlier, self._choice = self._last, None
        if earlier is None:
            self._output.say("There is no reply yet.")
            return
        pending = self._assistant.begin_regenerate(
            earlier.id,
            self._output.piece,
            sampling=anew(self._sampling),
            version=self._version,
        )
        this = self._answered(pending)
        if this.content.strip() == earlier.content.strip():
            self._output.say("(It says the same again.)")
        else:
            self._choice = earlier, this
            self._output.say("(Which is better? /earlier or /this keeps your choice as a pair.)")

    def _answered(self, pending: PendingReply) -> StoredMessage:
        """The reply, printed as it comes and kept."""
        try:
            reply = self._assistant.complete(pending)
        except KeyboardInterrupt:
            pending.handle.stop()
            reply = self._assistant.complete(pending, timeout=10.0)
        self._last, self._unanswered = reply.message, False
        self._output.say()
        say_notes(reply, self._output)
        if pending.replaces is None and (self._test.due() or self._asking.due()):
            self._output.say("(/compare: two replies to choose from would teach me something.)")
        return reply.message

    def _choose(self, *, earlier: bool) -> None:
        if self._choice is None:
            self._output.say("There are no two replies to choose from; /again writes another one.")
            return
        chosen, rejected = self._choice if earlier else self._choice[::-1]
        self._recorder.choose(chosen.id, rejected.id)
        self._last, self._choice = chosen, None
        goes_on = " The talk goes on with the earlier reply." if earlier else ""
        self._output.say(f"Kept as a preference pair.{goes_on}")

    def _compare(self) -> None:
        """While a test goes on in the chat, it is its two versions that are compared."""
        compare(self._test if self._test.going() else self._asking, self._output)

    def _set(self, words: list[str]) -> None:
        """Change how replies are drawn, for this talk."""
        if words:
            name, text = words[0].replace("-", "_"), words[1] if len(words) > 1 else ""
            value = from_text(name, text)
            default = Sampling().model_dump().get(name)
            self._sampling = drawn(self._sampling, {name: default if value is None else value})
        for name, value in self._sampling.model_dump().items():
            self._output.say(f"{name} {shown(value)}")

    def _new(self) -> None:
        self._conversation, self._last, self._choice = None, None, None
        self._unanswered = False


def compare(asking: Asking | SideBySide, output: Output) -> None:
    """Ask for the comparison that teaches most, and keep the answer; Ctrl-C ends it."""
    try:
        question = asking.ask_next()
    except KeyboardInterrupt:
        asking.stop()
        return
    if question is None:
        output.say("There is nothing to compare yet; ask something first.")
        return
    output.say(f"You asked: {question.asked}")
    output.say(f"\n1)\n{question.first}\n\n2)\n{question.second}\n")
    answers: dict[str, Answer] = {"1": "first", "2": "second", "=": "equal"}
    try:
        said = input("Better is 1, 2 or = (Enter: rather not): ").strip()
    except (EOFError, KeyboardInterrupt):
        said = ""
    pair = asking.answer(question.id, answers.get(said, "dismissed"))
    output.say("Kept as a preference pair." if pair else "")


def say_news(output: Output, news: News) -> None:
    """What followed from a reply, or from its failure."""
    output.say(f"({words_of(news)})")


def say_notes(reply: Reply, output: Output) -> None:
    """What the user should know of how the reply came about."""
    finished = reply.finished
    for each in reply.news:
        say_news(output, each)
    if finished.fallback:
        output.say(f"({finished.fallback})")
    if finished.dropped_turns:
        dropped = count(finished.dropped_turns, "turn was", "turns were")
        output.say(f"(It is too long to be read at once: the first {dropped} left out.)")
    if finished.cut_tokens:
        cut = count(finished.cut_tokens, "token was", "tokens were")
        output.say(f"(A message is too long to be read: {cut} cut from its beginning.)")
    if finished.reason == "length":
        output.say("(Cut off at the most tokens allowed; --max-tokens allows more.)")
