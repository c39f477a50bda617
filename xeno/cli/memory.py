"""`xeno memory`: what is remembered, what a message brings into its prompt, and forgetting."""

from __future__ import annotations

from argparse import Namespace

from xeno.cli.commands import Commands
from xeno.cli.output import Output, first_line, when
from xeno.cli.session import text_from, unlocked
from xeno.personalization.memories import Memory, section
from xeno.personalization.memory import ContextualMemory
from xeno.store.profile import Profile
from xeno.words import count


def add(commands: Commands) -> None:
    group = commands.group("memory", "show or change what is remembered", show)
    listing = group.add("list", "list the memories, the last changed first", show)
    listing.add_argument("--kind", choices=("fact", "episode", "workflow"))
    listing.add_argument("--topic")
    listing.add_argument("--search", metavar="WORDS")
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    listing.add_argument("--offset", type=int, default=0, metavar="N")

    fact = group.add("fact", "remember a fact; it replaces an earlier value", store_fact)
    fact.add_argument("category")
    fact.add_argument("key")
    fact.add_argument("value", help="a text")
    episode = group.add("episode", "remember that something happened", store_episode)
    episode.add_argument("type")
    episode.add_argument("description", help='a text; "-" reads it from stdin')
    workflow = group.add("workflow", "remember how something is done", store_workflow)
    workflow.add_argument("name")
    workflow.add_argument("steps", nargs="+", metavar="step")

    group.add("show", "show a memory and the replies that had it", show_one).add_argument(
        "id", type=int
    )
    editing = group.add("edit", "change what a memory says", edit)
    editing.add_argument("id", type=int)
    editing.add_argument("content", nargs="*", help="the text, or the steps of a workflow")
    editing.add_argument("--importance", type=float, metavar="0..1")
    for name, text, pinned in (
        ("pin", "bring a memory into every prompt", True),
        ("unpin", "bring a memory only where it matters", False),
    ):
        parser = group.add(name, text, pin)
        parser.add_argument("id", type=int)
        parser.set_defaults(pinned=pinned)
    group.add("delete", "forget one memory", delete).add_argument("id", type=int)
    forgetting = group.add("forget", "forget everything about a topic", forget)
    forgetting.add_argument("topic")
    forgetting.add_argument("--dry-run", action="store_true", help="only list what it would be")
    group.add("for", "show what a message would bring into its prompt", chosen).add_argument(
        "message"
    )
    for name, text, on in (
        ("on", "bring memories into prompts", True),
        ("off", "keep memories out of prompts; they stay stored", False),
    ):
        group.add(name, text, switch).set_defaults(on=on)
    group.add("budget", "limit what memories take of a prompt", budget).add_argument(
        "characters", type=int
    )


def show(arguments: Namespace, output: Output) -> int | None:
    wanted = {name: getattr(arguments, name, None) for name in ("kind", "topic", "search")}
    limit, offset = getattr(arguments, "limit", 20), getattr(arguments, "offset", 0)
    with unlocked(arguments) as profile:
        memory = _of(profile)
        found, total = memory.all(**wanted, limit=limit, offset=offset), memory.count(**wanted)
        on, characters = memory.enabled, memory.budget
    _table(found, output)
    output.say(
        f"{len(found)} of {count(total, 'memory', 'memories')} shown. Memory is "
        f"{'on' if on else 'off'}; it may take {count(characters, 'character')} of a prompt."
    )
    output.result(
        {
            "total": total,
            "enabled": on,
            "budget": characters,
            "memories": [_values(memory) for memory in found],
        }
    )
    return 0


def store_fact(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _stored(_of(profile).store_fact(arguments.category, arguments.key, arguments.value), output)
    return 0


def store_episode(arguments: Namespace, output: Output) -> int | None:
    text = text_from(arguments.description)
    with unlocked(arguments) as profile:
        _stored(_of(profile).store_episode(arguments.type, text), output)
    return 0


def store_workflow(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _stored(_of(profile).store_workflow(arguments.name, arguments.steps), output)
    return 0


def show_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        memory = _of(profile)
        found, replies = memory.get(arguments.id), memory.replies_with(arguments.id)
    for name, value in (
        ("kind", found.kind),
        ("topic", found.topic),
        ("says", found.text),
        ("from", found.source),
        ("importance", found.importance),
        ("pinned", found.pinned),
        ("created", when(found.created)),
        ("changed", when(found.updated)),
        ("last in a prompt", when(found.used)),
        ("replies that had it", len(replies)),
    ):
        output.say(f"{name}: {'yes' if value is True else 'no' if value is False else value}")
    output.result(_values(found) | {"replies": replies})
    return 0


def edit(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        memory = _of(profile)
        kind, said = memory.get(arguments.id).kind, arguments.content
        content = None if not said else said if kind == "workflow" else " ".join(said)
        memory.edit(arguments.id, content=content, importance=arguments.importance)
        _stored(memory.get(arguments.id), output)
    return 0


def pin(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        memory = _of(profile)
        memory.edit(arguments.id, pinned=arguments.pinned)
        _stored(memory.get(arguments.id), output)
    return 0


def delete(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        gone = _of(profile).delete(arguments.id)
    output.say(f"Forgotten: {first_line(gone.text)}")
    output.result({"forgotten": [_values(gone)]})
    return 0


def forget(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        memory = _of(profile)
        gone = memory.about(arguments.topic)
        replies = {reply for each in gone for reply in memory.replies_with(each.id)}
        if not arguments.dry_run:
            gone = memory.forget(arguments.topic)
    _table(gone, output)
    done = "To be forgotten" if arguments.dry_run else "Forgotten"
    output.say(f"{done}: {count(len(gone), 'memory', 'memories')}.")
    if replies:
        output.say(
            f"Replies that had one of them in their prompt: {len(replies)}. They keep it until "
            "their conversations are deleted."
        )
    output.result({"forgotten": [_values(each) for each in gone], "replies": sorted(replies)})
    return 0


def chosen(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        memory = _of(profile)
        found, on = memory.recall(arguments.message), memory.enabled
        brought = memory.chosen_for(arguments.message)
    ids = {each.id for each in brought}
    output.table(
        ("id", "score", "words", "in the prompt", "memory"),
        [
            (
                each.memory.id,
                each.score,
                "pinned" if each.memory.pinned else ", ".join(each.words),
                each.memory.id in ids,
                first_line(each.memory.text),
            )
            for each in found
        ],
    )
    output.say()
    output.say(section(brought) or ("Nothing is brought." if on else "Memory is off."))
    output.result(
        {
            "enabled": on,
            "prompt": section(brought),
            "memories": [
                _values(each.memory) | {"score": each.score, "brought": each.memory.id in ids}
                for each in found
            ],
        }
    )
    return 0


def switch(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _of(profile).set_enabled(arguments.on)
    output.say(f"Memory is {'on' if arguments.on else 'off'} now.")
    output.result({"enabled": arguments.on})
    return 0


def budget(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _of(profile).set_budget(arguments.characters)
    output.say(f"Memories may take {count(arguments.characters, 'character')} of a prompt now.")
    output.result({"budget": arguments.characters})
    return 0


def _of(profile: Profile) -> ContextualMemory:
    return ContextualMemory(profile.name, profile=profile)


def _stored(memory: Memory, output: Output) -> None:
    output.say(f"Memory {memory.id}: {memory.text}")
    output.result(_values(memory))


def _table(memories: list[Memory], output: Output) -> None:
    output.table(
        ("id", "kind", "pinned", "changed", "used", "memory"),
        [
            (m.id, m.kind, m.pinned, when(m.updated), m.uses, first_line(m.text, 70))
            for m in memories
        ],
        "No memories.",
    )


def _values(memory: Memory) -> dict[str, object]:
    return {
        "id": memory.id,
        "kind": memory.kind,
        "topic": memory.topic,
        "name": memory.name,
        "content": memory.content,
        "context": dict(memory.context),
        "text": memory.text,
        "source": memory.source,
        "message_id": memory.message_id,
        "importance": memory.importance,
        "pinned": memory.pinned,
        "created": memory.created,
        "updated": memory.updated,
        "used": memory.used,
        "uses": memory.uses,
    }
