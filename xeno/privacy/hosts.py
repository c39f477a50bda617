"""Every host that this program may talk to, and why. Nothing else may open a connection.

The Privacy tab shows this list. A test looks through all source files: a module that could
open a connection and is not named here fails it; another watches a whole training and chat loop
and finds no connection at all.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xeno.store.profile import Profile


@dataclass(frozen=True)
class Contact:
    """A host, or a kind of host, and what it is for.

    Attributes:
        host: its name; empty until the user has entered one.
        why: what is asked of it.
        when: what the user does before anything is sent.
        sends: what of the user's leaves the machine.
        module: the one module that talks to it.
    """

    host: str
    why: str
    when: str
    sends: str
    module: str


_PACKAGES = Contact(
    host="pypi.org, files.pythonhosted.org",
    why="To download the libraries that XENO is made with.",
    when="At the first start, where they are not installed yet.",
    sends="Nothing of yours.",
    module="xeno.bootstrap",
)
_TEACHER = Contact(
    host="",
    why="To let a larger model suggest better replies.",
    when="Only when you enter its address in Collect and start it; you see first what is sent.",
    sends="The replies that you choose, with the turns before them.",
    module="xeno.collect.teacher",
)
_HUB = Contact(
    host="huggingface.co, hf.co",
    why="To fetch an adapter that somebody published there.",
    when="Only when you import an adapter by its name on the Hub.",
    sends="The adapter's name.",
    module="xeno.versions.hub",
)
_TEACHER_SETTING = "teacher"


def contacts(profile: Profile) -> tuple[Contact, ...]:
    """The hosts that may be contacted; the teacher's by the name that the user entered."""
    kept = profile.setting(_TEACHER_SETTING)
    host = urllib.parse.urlsplit(kept["address"]).netloc if kept else ""
    return (_PACKAGES, _HUB, Contact(host, *_rest(_TEACHER)))


def modules() -> frozenset[str]:
    """The modules that may open a connection."""
    return frozenset({_PACKAGES.module, _HUB.module, _TEACHER.module})


def _rest(contact: Contact) -> tuple[str, str, str, str]:
    return contact.why, contact.when, contact.sends, contact.module
