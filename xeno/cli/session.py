"""What every command needs: the profile, unlocked without ever making a script wait."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from collections.abc import Callable

from xeno.errors import InvalidValueError, LockedProfileError
from xeno.paths import Home
from xeno.store.conversations import Conversations, StoredMessage
from xeno.store.profile import Profile, list_profiles, open_profile


def interactive() -> bool:
    """Whether somebody sits at a terminal who can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def home_of(arguments: Namespace) -> Home:
    """The home that --home names, otherwise XENO_HOME, otherwise the default one."""
    return Home.at(arguments.home)


def unlocked(arguments: Namespace) -> Profile:
    """The profile that --profile names, opened, and made if there is none yet.

    A passphrase comes from stdin with --passphrase-stdin, from the terminal where there is
    one, and from nowhere else.
    """
    home = home_of(arguments)
    if arguments.passphrase_stdin:
        created = arguments.profile not in list_profiles(home)
        return open_profile(
            home,
            arguments.profile,
            passphrase=_from_stdin,
            protection="passphrase" if created else None,
        )
    ask: Callable[[bool], str] | None = _from_terminal if interactive() else None
    return open_profile(home, arguments.profile, passphrase=ask)


def last_reply(profile: Profile, message_id: str | None) -> StoredMessage:
    """The reply `message_id` (or a unique prefix of it), by default the latest reply.

    Raises:
        InvalidValueError: there is no such reply.
    """
    conversations = Conversations(profile.db)
    if message_id:
        found = profile.db.read(
            "SELECT id FROM messages WHERE role = 'assistant' AND substr(id, 1, ?) = ? LIMIT 2",
            (len(message_id), message_id),
        )
    else:
        found = profile.db.read(
            "SELECT id FROM messages WHERE role = 'assistant' AND superseded = 0 "
            "ORDER BY created DESC, position DESC LIMIT 1"
        )
    message = conversations.message(str(found[0]["id"])) if len(found) == 1 else None
    if message is None:
        raise InvalidValueError(
            f"There is no single reply {message_id!r}." if message_id else "There is no reply yet.",
            "Feedback is given on a reply of the assistant.",
            "Ask something first with 'xeno chat', or name a message from 'xeno chat --json'.",
        )
    return message


def text_from(value: str) -> str:
    """`value` itself, or all of stdin when it is "-"."""
    return sys.stdin.read() if value == "-" else value


def _from_stdin(creating: bool) -> str:
    text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise LockedProfileError(
            "No passphrase came on stdin.",
            "--passphrase-stdin reads the first line of stdin.",
            "Pipe the passphrase in, for example from a password manager.",
        )
    return text


def _from_terminal(creating: bool) -> str:
    return choose_passphrase() if creating else getpass.getpass("Passphrase: ")


def choose_passphrase(creating: bool = True) -> str:
    """A passphrase for a profile, chosen at the terminal."""
    print(
        "There is no system keyring here, so a passphrase protects this profile.", file=sys.stderr
    )
    text = getpass.getpass("Choose a passphrase: ")
    if text != getpass.getpass("Once more: "):
        raise LockedProfileError(
            "The two passphrases differ.", "", "Start again and type the same one twice."
        )
    return text
