"""The child's side of the protocol: commands from stdin in a thread, events to the real stdout.

Whatever a library prints goes to stderr, that is to the log. When stdin closes, the parent is
gone and the child ends too.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from xeno.errors import ChildError, XenoError, out_of_memory
from xeno.events import Command, Event, Failure, OpenProfile, Quit, decode_command, encode
from xeno.paths import Home
from xeno.store.keys import ProfileKey
from xeno.store.profile import Profile, open_profile

T = TypeVar("T", bound=Command)

FAILED = 1
ORPHANED = 3  # exit status of a child whose parent is gone


class Channel:
    """A child's connection to its parent. Iterate over it for commands, until Quit.

    Args:
        urgent: called with every command on the reading thread, at once; True takes the
            command, so that it does not wait in line (a stop must not wait for the work it stops).
    """

    def __init__(self, urgent: Callable[[Command], bool] = lambda _: False) -> None:
        self._urgent = urgent
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._writing = threading.Lock()
        self._input: BinaryIO = sys.stdin.buffer
        # The real stdout gets a descriptor of its own; number 1 becomes the log, so that
        # prints of native libraries cannot come between the events.
        sys.stdout.flush()
        self._output: BinaryIO = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def emit(self, event: Event) -> None:
        """Send `event`; safe from any thread. Ends the process when nobody listens any more."""
        line = memoryview(encode(event))
        try:
            with self._writing:
                while line:
                    line = line[self._output.write(line) :]
        except OSError:
            os._exit(ORPHANED)

    @property
    def waiting(self) -> bool:
        """Whether a command waits in line; safe from any thread."""
        return not self._commands.empty()

    def __iter__(self) -> Iterator[Command]:
        while not isinstance(command := self._commands.get(), Quit):
            yield command

    def _read(self) -> None:
        for line in self._input:
            try:
                command = decode_command(line)
            except ValidationError:
                # Not repeated here: the line may hold the key.
                print("A line on stdin was not a command.", file=sys.stderr)
                continue
            if not self._urgent(command):
                self._commands.put(command)
        os._exit(ORPHANED)


def opened(command: OpenProfile) -> Profile:
    """The profile that `command` names, opened with the key it brings."""
    home, key = Home.at(command.home), ProfileKey.from_hex(command.key)
    return open_profile(home, command.profile, key=key, create=False)


def one_order(channel: Channel, order: type[T], carry_out: Callable[[Profile, T], None]) -> None:
    """Wait for a profile and then an `order`, carry it out with the profile open, and return."""
    profile: Profile | None = None
    for command in channel:
        match command:
            case OpenProfile():
                profile = opened(command)
            case order():
                if profile is None:
                    raise ChildError(f"The command {command.type} came before a profile.")
                with profile:
                    carry_out(profile, command)
                return
            case _:
                raise ChildError(f"This process does not know the command {command.type}.")


def failure(error: BaseException, request: str | None = None) -> Failure:
    """What the user is told about `error`; for our own bugs type and place, never their text.

    An exception's message can hold a user's words, so the log and the event go without it.
    """
    if isinstance(error, XenoError):
        return Failure.of(error, request)
    if out_of_memory(error):
        return Failure(
            what="There is not enough memory.",
            why="The model and its work do not fit into what is free.",
            todo="Close other programs, or use a smaller model or micro batch.",
            request=request,
            can_pass=True,
        )
    frames = traceback.extract_tb(error.__traceback__)
    for frame in frames:
        print(f"  {frame.filename}:{frame.lineno} {frame.name}", file=sys.stderr)
    print(type(error).__name__, file=sys.stderr)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return Failure(
        what="Something went wrong inside XENO.",
        why=f"{type(error).__name__} at {place}.",
        todo="Try again; if it happens again, please report it with the log file.",
        request=request,
    )


def run_child(work: Callable[[], None], emit: Callable[[Event], None]) -> None:
    """Run a child's `work` to the end of the process: failures become an event and status 1."""
    try:
        work()
    except Exception as error:  # the process's edge
        emit(failure(error))
        sys.stderr.flush()
        os._exit(FAILED)
    sys.stderr.flush()
    # Not sys.exit: tearing down torch's threads takes time and can crash.
    os._exit(0)
