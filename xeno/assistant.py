"""The conversation: keeps what is said, sends it to the model host, keeps what comes back.

At once, for scripts:

    reply = Assistant(profile, host).ask(None, "How do I cook rice?")

In two steps, for a window that must not wait:

    pending = assistant.begin(None, "How do I cook rice?", on_delta=show, on_done=tell)
    reply = assistant.complete(pending)          # once pending.handle.done
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xeno.errors import InvalidValueError, XenoError
from xeno.events import ChatMessage, ReplyFinished, Sampling
from xeno.experiments.observing import News, Observer
from xeno.inference.settings import read_settings
from xeno.personalization.engine import PersonalizationEngine
from xeno.personalization.memories import Memory, system_prompt
from xeno.personalization.memory import ContextualMemory
from xeno.store.conversations import Conversations, StoredMessage
from xeno.store.profile import Profile
from xeno.workers.host_client import HostClient, ReplyHandle

TITLE_LENGTH = 60
LONGEST_MESSAGE = 100_000  # characters


@dataclass(frozen=True)
class PendingReply:
    """A reply on its way, with what `complete` needs to keep it.

    Attributes:
        conversation_id: the conversation, made by `begin` when it was new.
        question: the user's stored message that is answered.
        system_prompt: what is sent before the turns.
        handle: the request; `handle.stop()` ends it.
        replaces: id of the reply that this one takes the place of, for a regeneration.
        memories: what the system prompt says of the user's memories.
        version: who was asked: "active", "base" or a content address.
    """

    conversation_id: str
    question: StoredMessage
    system_prompt: str
    handle: ReplyHandle
    replaces: str | None = None
    memories: tuple[Memory, ...] = ()
    version: str = "active"


@dataclass(frozen=True)
class Reply:
    """A kept reply: `message` as stored, `finished` with its measurements, `news` of what
    followed from it."""

    message: StoredMessage
    finished: ReplyFinished
    news: tuple[News, ...] = ()


class Assistant:
    """Conversations of one profile, answered by its model host.

    Args:
        profile: the open profile; its preferences and memories make the system prompt.
        host: the model host of the same profile.
        on_news: called with what the user should know where no reply came, on the thread that
            waits for it; with a reply it is `Reply.news`.
    """

    def __init__(
        self,
        profile: Profile,
        host: HostClient,
        on_news: Callable[[News], None] = lambda news: None,
    ) -> None:
        self._profile = profile
        self._db = profile.db
        self._host = host
        self._personalization = PersonalizationEngine(profile.name, profile=profile)
        self._memory = ContextualMemory(profile.name, profile=profile)
        self._conversations = Conversations(profile.db)
        self._observer = Observer(profile)
        self._on_news = on_news

    def ask(
        self,
        conversation_id: str | None,
        text: str,
        on_delta: Callable[[str], None] | None = None,
        *,
        sampling: Sampling | None = None,
        version: str = "active",
        timeout: float | None = None,
    ) -> Reply:
        """Send `text`, wait for the whole reply, and keep both.

        Args:
            conversation_id: the conversation to go on with; None begins one.
            text: the user's message, 1 to 100,000 characters.
            on_delta: called with each next piece of the reply, on another thread.
            sampling: how the reply is drawn; None is as the user set it (`ReplySettings`).
            version: "active", "base" or a content address.
            timeout: seconds; None waits as long as it takes.

        Raises:
            InvalidValueError: the text is empty or too long, or there is no such conversation.
            ChildError: the host died; the message is kept, `retry` asks again.
        """
        pending = self.begin(conversation_id, text, on_delta, sampling=sampling, version=version)
        return self.complete(pending, timeout=timeout)

    def regenerate(
        self,
        message_id: str,
        on_delta: Callable[[str], None] | None = None,
        *,
        sampling: Sampling | None = None,
        version: str = "active",
        timeout: float | None = None,
    ) -> Reply:
        """Answer again what the reply `message_id` answered; the earlier reply is superseded."""
        pending = self.begin_regenerate(message_id, on_delta, sampling=sampling, version=version)
        return self.complete(pending, timeout=timeout)

    def begin(
        self,
        conversation_id: str | None,
        text: str,
        on_delta: Callable[[str], None] | None = None,
        on_done: Callable[[ReplyHandle], None] | None = None,
        *,
        sampling: Sampling | None = None,
        version: str = "active",
    ) -> PendingReply:
        """Keep the user's message, ask for the reply, and return at once; see `ask`.

        `on_delta` and `on_done` are called on the host's reader thread.
        """
        text = text.strip()
        if not text:
            raise InvalidValueError("The message is empty.", "", "Write something, then send it.")
        if len(text) > LONGEST_MESSAGE:
            raise InvalidValueError(
                "The message is too long.",
                f"It has {len(text):,} characters; {LONGEST_MESSAGE:,} are allowed.",
                "Send a shorter part of it.",
            )
        with self._db.transaction():
            if conversation_id is None:
                conversation_id = self._conversations.create(_title(text)).id
            question = self._conversations.add_message(conversation_id, "user", text)
            self._personalization.learner.message(question)
        return self._asked(conversation_id, question, None, on_delta, on_done, sampling, version)

    def begin_regenerate(
        self,
        message_id: str,
        on_delta: Callable[[str], None] | None = None,
        on_done: Callable[[ReplyHandle], None] | None = None,
        *,
        sampling: Sampling | None = None,
        version: str = "active",
    ) -> PendingReply:
        """Ask again for the reply `message_id`, which stays until the next one is whole.

        Without `sampling` the reply is drawn anew: the likeliest one is there already.
        """
        reply = self._conversations.message(message_id)
        if reply.role != "assistant":
            raise InvalidValueError("Only a reply of the assistant can be regenerated.")
        turns = self._conversations.messages(reply.conversation_id)
        if turns[-1].id != message_id:
            raise InvalidValueError(
                "Only the last reply of a conversation can be regenerated.",
                "What was said after an earlier one would no longer fit.",
                "Ask the question again in a message of its own.",
            )
        earlier = [turn for turn in turns if turn.role == "user"]
        if not earlier:
            raise InvalidValueError("This reply answers no message, so it cannot be regenerated.")
        sampling = sampling or anew(read_settings(self._profile).sampling)
        return self._asked(
            reply.conversation_id, earlier[-1], message_id, on_delta, on_done, sampling, version
        )

    def begin_retry(
        self,
        conversation_id: str,
        on_delta: Callable[[str], None] | None = None,
        on_done: Callable[[ReplyHandle], None] | None = None,
        *,
        sampling: Sampling | None = None,
        version: str = "active",
    ) -> PendingReply:
        """Ask again for the reply to the last message, which has none: its host died."""
        turns = self._conversations.messages(conversation_id)
        if not turns or turns[-1].role != "user":
            raise InvalidValueError("Every message of this conversation has its reply.")
        return self._asked(conversation_id, turns[-1], None, on_delta, on_done, sampling, version)

    def retry(
        self,
        conversation_id: str,
        on_delta: Callable[[str], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Reply:
        """Answer the last message of the conversation, which has no reply yet."""
        return self.complete(self.begin_retry(conversation_id, on_delta), timeout=timeout)

    def complete(self, pending: PendingReply, *, timeout: float | None = None) -> Reply:
        """Wait for the reply, keep it with its measurements, and return it.

        Raises:
            XenoError: what `ReplyHandle.result` raises; nothing is kept then.
        """
        try:
            finished = pending.handle.result(timeout)
        except XenoError as error:
            if pending.handle.done:  # otherwise it is only late
                conversation, version = pending.conversation_id, pending.version
                for each in self._observer.failed(conversation, version, error):
                    self._on_news(each)
            raise
        with self._db.transaction():
            if pending.replaces is not None:
                self._conversations.supersede(pending.replaces)
            message = self._conversations.add_message(
                pending.conversation_id,
                "assistant",
                finished.text,
                system_prompt=pending.system_prompt,
                version=finished.version,
                base_hash=finished.base_hash,
                metadata={
                    "reason": finished.reason,
                    "reply_tokens": finished.reply_tokens,
                    "first_token_seconds": finished.first_token_seconds,
                    "tokens_per_second": finished.tokens_per_second,
                    "dropped_turns": finished.dropped_turns,
                    "cut_tokens": finished.cut_tokens,
                    "memory_bytes": finished.memory_bytes,
                    "fallback": finished.fallback,
                    "trial": None if finished.trial is None else finished.trial.model_dump(),
                    "memories": [
                        {"id": memory.id, "kind": memory.kind, "text": memory.text}
                        for memory in pending.memories
                    ],
                },
            )
            self._memory.mark_used([memory.id for memory in pending.memories])
            news = self._observer.replied(finished, pending.conversation_id, message.id)
        return Reply(message, finished, news)

    def system_prompt(
        self, text: str, conversation_id: str | None = None
    ) -> tuple[str, tuple[Memory, ...]]:
        """What would be sent before the turns if the user sent `text` now, and the memories
        that it says: those that bear on the message, within the memory's budget."""
        turns = self._conversations.messages(conversation_id) if conversation_id else []
        return self._prompt(text, turns)

    def _prompt(self, text: str, turns: Sequence[StoredMessage]) -> tuple[str, tuple[Memory, ...]]:
        replies = [turn for turn in turns if turn.role == "assistant"]
        before = replies[-1].metadata.get("memories", []) if replies else []
        memories = self._memory.chosen_for(text, kept=[entry["id"] for entry in before])
        prefix = self._personalization.get_personalized_prompt_prefix()
        return system_prompt(prefix, memories), tuple(memories)

    def _asked(
        self,
        conversation_id: str,
        question: StoredMessage,
        replaces: str | None,
        on_delta: Callable[[str], None] | None,
        on_done: Callable[[ReplyHandle], None] | None,
        sampling: Sampling | None,
        version: str,
    ) -> PendingReply:
        stored = [
            message
            for message in self._conversations.messages(conversation_id)
            if message.position <= question.position
        ]
        prompt, memories = self._prompt(question.content, stored)
        turns = [ChatMessage(role=m.role, content=m.content) for m in stored]
        messages = [ChatMessage(role="system", content=prompt), *turns]
        sampling = sampling or read_settings(self._profile).sampling
        handle = self._host.generate(
            messages, sampling, version, on_delta, on_done, conversation=conversation_id
        )
        return PendingReply(conversation_id, question, prompt, handle, replaces, memories, version)


def anew(sampling: Sampling) -> Sampling:
    """How another reply to the same message is drawn: not the likeliest one, which is there
    already, and not with the same seed."""
    another = {"seed": None} if sampling.temperature else {"temperature": 0.5, "top_p": 0.9}
    return sampling.model_copy(update=another)


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
