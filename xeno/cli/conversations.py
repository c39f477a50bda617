"""`xeno conversations`: the stored conversations: find, read, export, delete, answer again."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from functools import partial
from pathlib import Path

from xeno.assistant import Assistant, anew
from xeno.cli.chat import sampling_of, sampling_options
from xeno.cli.commands import Commands, UsageError
from xeno.cli.output import Output, first_line, when
from xeno.cli.session import unlocked
from xeno.cli.talk import say_news, say_notes
from xeno.data.transcript import write_transcript
from xeno.errors import InvalidValueError
from xeno.store.conversations import Conversations, StoredMessage
from xeno.store.profile import Profile
from xeno.words import count
from xeno.workers.host_client import HostClient

_AROUND = 30  # characters shown before what was searched for


def add(commands: Commands) -> None:
    group = commands.group("conversations", "find, read and export what was said", show_all)
    listed = group.add("list", "the conversations, last used first", show_all)
    listed.add_argument("--search", metavar="TEXT", help="only those that hold this text")
    found = group.add("search", "the messages that hold a text, newest first", search)
    found.add_argument("text")
    for parser in (listed, found):
        parser.add_argument("--limit", type=int, default=50, metavar="N", help="default: 50")
    shown = group.add("show", "all that was said in one", show)
    shown.add_argument("--all", action="store_true", help="replies that were replaced, too")
    exported = group.add("export", "write one to a file that is not encrypted", export)
    deleted = group.add("delete", "delete one for good; its pairs stay", delete)
    again = group.add("regenerate", "have the last message answered again", regenerate)
    for parser in (shown, exported, deleted):
        parser.add_argument("id", help="see 'xeno conversations'; its beginning is enough")
    exported.add_argument("path", type=Path, help="the file; .json gives JSON, else Markdown")
    again.add_argument("id", nargs="?", help="default: the conversation used last")
    again.add_argument(
        "--version", default="active", metavar="REF", help="who answers; see xeno chat --help"
    )
    sampling_options(again)


def show_all(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        found = Conversations(profile.db).all(
            getattr(arguments, "search", None), getattr(arguments, "limit", 50)
        )
    output.table(
        ("id", "last used", "title"),
        [(c.id[:8], when(c.updated), c.title) for c in found],
        "No conversations.",
    )
    output.result({"conversations": [asdict(each) for each in found]})
    return 0


def search(arguments: Namespace, output: Output) -> int | None:
    if not arguments.text.strip():
        raise UsageError("The text is empty.", "", "Say what to search for.")
    with unlocked(arguments) as profile:
        found = Conversations(profile.db).find(arguments.text, arguments.limit)
    output.table(
        ("conversation", "when", "who", "message"),
        [
            (m.conversation_id[:8], when(m.created), m.role, _around(m.content, arguments.text))
            for m in found
        ],
        "No message holds it.",
    )
    output.result({"messages": [_values(each) for each in found]})
    return 0


def show(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        conversations = Conversations(profile.db)
        chosen = conversations.get(conversations.with_id(arguments.id))
        turns = conversations.messages(chosen.id, superseded=arguments.all)
    output.say(f"{chosen.title}  ({chosen.id[:8]}, {when(chosen.created)})")
    for turn in turns:
        replaced = ", replaced" if turn.superseded else ""
        output.say(f"\n[{turn.role}{replaced}]\n{turn.content}")
    output.result({**asdict(chosen), "messages": [_values(each) for each in turns]})
    return 0


def export(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        conversations = Conversations(profile.db)
        chosen = conversations.with_id(arguments.id)
        turns = conversations.messages(chosen)
    write_transcript(arguments.path, turns)
    output.say(f"{count(len(turns), 'message')} written to {arguments.path}, not encrypted.")
    output.result({"conversation": chosen, "path": str(arguments.path), "messages": len(turns)})
    return 0


def delete(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        conversations = Conversations(profile.db)
        chosen = conversations.get(conversations.with_id(arguments.id))
        conversations.delete(chosen.id)
    output.say(f"Deleted: {chosen.title}. Pairs that were made from it stay.")
    output.result({"deleted": chosen.id})
    return 0


def regenerate(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        sampling = sampling_of(arguments, profile)
        earlier = _last_reply(profile, arguments.id)
        with HostClient(profile) as host:
            reply = Assistant(profile, host, on_news=partial(say_news, output)).regenerate(
                earlier.id,
                output.piece,
                sampling=sampling if sampling.temperature else anew(sampling),
                version=arguments.version,
            )
    output.say()
    say_notes(reply, output)
    if reply.message.content.strip() == earlier.content.strip():
        output.say("(It says the same again.)")
    else:
        output.say("('xeno feedback choose' keeps which of the two is better as a pair.)")
    output.result(
        {
            **reply.finished.model_dump(exclude={"type", "request"}),
            "conversation": reply.message.conversation_id,
            "message": reply.message.id,
            "earlier": earlier.id,
        }
    )
    return 0


def _last_reply(profile: Profile, wanted: str | None) -> StoredMessage:
    conversations = Conversations(profile.db)
    latest = conversations.all(limit=1)
    chosen = conversations.with_id(wanted) if wanted else latest[0].id if latest else ""
    turns = conversations.messages(chosen)
    if not turns or turns[-1].role != "assistant":
        raise InvalidValueError(
            "There is no reply that could be regenerated.",
            "The last message of the conversation has none." if turns else "Nothing was said yet.",
            "Ask something with 'xeno chat'.",
        )
    return turns[-1]


def _around(content: str, text: str) -> str:
    """One line of `content`, from a little before `text` on."""
    line = " ".join(content.split())
    place = line.casefold().find(" ".join(text.split()).casefold())
    start = max(0, place - _AROUND)
    return ("…" if start else "") + first_line(line[start:], 70)


def _values(message: StoredMessage) -> dict[str, object]:
    return {
        "id": message.id,
        "conversation": message.conversation_id,
        "role": message.role,
        "content": message.content,
        "created": message.created,
        "version": message.version,
        "replaced": message.superseded,
    }
