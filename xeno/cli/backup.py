"""`xeno backup` and `xeno restore`: a profile in one encrypted file, and back."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from pathlib import Path

from xeno.cli.commands import Commands
from xeno.cli.output import Output, size, when
from xeno.cli.session import choose_passphrase, home_of, interactive, unlocked
from xeno.errors import LockedProfileError
from xeno.versions.backup import back_up, restore
from xeno.words import count

_STDIN = "read the backup's passphrase from a line of stdin (after the profile's, if that is read)"


def add(commands: Commands) -> None:
    backup = commands.add("backup", "write the profile to one encrypted file", back_up_one)
    backup.add_argument("file", help="the file to write; an older one is replaced")
    back = commands.add("restore", "make a profile of a backup", restore_one)
    back.add_argument("file", help="a file that 'xeno backup' wrote")
    back.add_argument("--as", dest="name", help="what the profile is called (default: as it was)")
    back.add_argument(
        "--replace",
        action="store_true",
        help="put it in the place of this profile, whose folder is kept; nothing may have it open",
    )
    for parser in (backup, back):
        parser.add_argument("--backup-passphrase-stdin", action="store_true", help=_STDIN)


def back_up_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        passphrase = _passphrase(arguments, choosing=True)
        made = back_up(profile, Path(arguments.file), passphrase)
    output.say(
        f"{made.path} holds the profile {made.profile!r} with {count(made.versions, 'version')}, "
        f"{size(made.size)}. Without its passphrase nobody can open it."
    )
    output.result(
        {
            "path": str(made.path),
            "profile": made.profile,
            "versions": made.versions,
            "bytes": made.size,
        }
    )
    return 0


def restore_one(arguments: Namespace, output: Output) -> int | None:
    made = restore(
        home_of(arguments),
        Path(arguments.file),
        _passphrase(arguments, choosing=False),
        arguments.name,
        replace=arguments.replace,
        new_passphrase=choose_passphrase if interactive() else None,
    )
    output.say(
        f"The profile {made.profile!r} is as it was on {when(made.created)}, with "
        f"{count(made.versions, 'version')}. What was spent of the privacy budget stays spent."
    )
    output.result({"profile": made.profile, "created": made.created, "versions": made.versions})
    return 0


def _passphrase(arguments: Namespace, *, choosing: bool) -> str:
    if arguments.backup_passphrase_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not interactive():
        raise LockedProfileError(
            "A backup has a passphrase of its own.",
            "There is nobody to ask for it here.",
            "Pipe it in with --backup-passphrase-stdin.",
        )
    text = getpass.getpass("Passphrase of the backup: ")
    if choosing and text != getpass.getpass("Once more: "):
        raise LockedProfileError(
            "The two passphrases differ.", "", "Start again and type the same one twice."
        )
    return text
