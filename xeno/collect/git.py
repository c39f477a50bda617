"""The history of a git repository: from every commit, the message for its change.

Read by the git command, told not to run anything that the repository's own configuration
names: no hooks, no external diff, no text conversion, no signature check, no network.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xeno.collect.collecting import Entry, Plan, Skipped
from xeno.errors import InvalidValueError

LONGEST_CHANGE = 12_000  # characters of a diff that a small model can still take in
_SECONDS = 60.0
_SAFE = (
    *("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", "diff.external="),
    *("-c", "log.showSignature=false", "-c", "protocol.allow=never", "-c", "core.pager=cat"),
    *("-c", "core.quotePath=false", "--no-pager"),
)
_TRAILER = re.compile(r"^[A-Z][A-Za-z-]+-by: .*<.*>$")
_HASH = re.compile(r"[0-9a-f]{40,64}")


class GitHistory:
    """Collects from the commits of the checked-out branch, oldest first, merges left out.

    Args:
        repository: its folder, or one inside it.
        author: only commits whose author's name or address contains this.
        limit: at most so many commits, the latest.
    """

    name = "git"

    def __init__(
        self, repository: str | os.PathLike[str], *, author: str | None = None, limit: int = 10_000
    ) -> None:
        self._folder = Path(repository)
        if not self._folder.is_dir():
            raise InvalidValueError(
                f"{self._folder} is no folder.", "", "Name the folder of a git repository."
            )
        self._root = Path(self._git("rev-parse", "--show-toplevel").strip())
        self._head = self._git("rev-parse", "--verify", "--end-of-options", "HEAD^{commit}").strip()
        self._author = author
        self._limit = limit
        self._before: dict[str, Any] = {}

    def plan(self, state: Mapping[str, Any]) -> Plan:
        """The commits since the last run; all where its last one is not in the history."""
        commits = self._commits(state)
        return Plan(
            f"git repository {self._root.name}, branch as checked out",
            tuple(Entry(f"{commit[:10]} {subject}", 1) for commit, subject in commits),
        )

    def records(self, state: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any] | Skipped]]:
        self._before = dict(state)
        for number, (commit, _) in enumerate(self._commits(state)):
            yield number, self._record(commit)

    def state(self, complete: bool) -> dict[str, Any]:
        return {"head": self._head, "author": self._author} if complete else self._before

    def _commits(self, state: Mapping[str, Any]) -> list[tuple[str, str]]:
        wanted = ["log", "--no-merges", "--format=%H%x00%s", f"--max-count={self._limit}"]
        if self._author:
            wanted += ["--fixed-strings", f"--author={self._author}"]
        last = state.get("head")
        same = state.get("author") == self._author
        if same and isinstance(last, str) and _HASH.fullmatch(last) and self._is_ancestor(last):
            wanted.append(f"^{last}")
        lines = self._git(*wanted, self._head, "--").splitlines()
        commits = [line.split("\0", 1) for line in lines if "\0" in line]
        return [(commit, subject) for commit, subject in reversed(commits)]

    def _record(self, commit: str) -> dict[str, Any] | Skipped:
        message = self._git("show", "--no-patch", "--format=%B", commit).strip()
        lines = [line for line in message.splitlines() if not _TRAILER.match(line)]
        message = "\n".join(lines).strip()
        if not message:
            return Skipped("the commit has no message")
        change = self._git(
            *("show", "--format=", "--patch", "--no-color", "--no-ext-diff", "--no-textconv"),
            *("--submodule=short", commit, "--"),
            longest=4 * LONGEST_CHANGE + 1,
        )
        if not change.strip():
            return Skipped("the commit changes nothing")
        if len(change) > LONGEST_CHANGE:
            stat = self._git("show", "--format=", "--stat=100,80", "--no-color", commit, "--")
            change = _shortened(stat, change)
            if not change:
                return Skipped(f"even its summary is longer than {LONGEST_CHANGE} characters")
        if "\ufffd" in change or "\ufffd" in message:
            return Skipped("the change is not UTF-8 text")
        if "\nBinary files " in change and "\n@@" not in change:
            return Skipped("only binary files change")
        return {
            "prompt": f"Write the commit message for this change:\n\n{change.rstrip()}",
            "completion": message,
            "source": f"git:{self._root.name}",
            "commit": commit,
        }

    def _is_ancestor(self, commit: str) -> bool:
        done = subprocess.run(
            ["git", *_SAFE, "merge-base", "--is-ancestor", commit, self._head],
            cwd=self._folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        return done.returncode == 0

    def _git(self, *arguments: str, longest: int | None = None) -> str:
        """The output of a git command, its first `longest` bytes."""
        try:
            process = subprocess.Popen(
                ["git", *_SAFE, *arguments],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise InvalidValueError(
                "git could not be started.",
                f"The system says: {error.strerror}.",
                "Install git, and try again.",
            ) from error
        watch = threading.Timer(_SECONDS, process.kill)
        watch.start()
        try:
            with process:
                assert process.stdout is not None
                assert process.stderr is not None
                content = process.stdout.read(longest if longest is not None else -1)
                cut = longest is not None and len(content) == longest
                if cut:
                    process.kill()
                said = process.stderr.read(10_000).decode("utf-8", "replace").strip()
        finally:
            watch.cancel()
            watch.join()
        if process.returncode != 0 and not cut:
            raise InvalidValueError(
                f"{self._folder} could not be read by git.",
                said.splitlines()[0] if said else f"git ended with {process.returncode}.",
                "Name the folder of a git repository that you own and that has commits.",
            )
        return content.decode("utf-8", "replace")


def _shortened(stat: str, change: str) -> str:
    """The summary of a change, and under it the files whose whole change still fits."""
    kept = stat.rstrip() + "\n"
    if len(kept) > LONGEST_CHANGE:
        return ""
    # The last file may have been cut by reading, so it is never one of them.
    for part in re.split(r"(?m)^(?=diff --git )", change)[:-1]:
        if part.strip() and len(kept) + len(part) < LONGEST_CHANGE:
            kept += "\n" + part
    return kept


def _environment() -> dict[str, str]:
    """The user's environment without what redirects git, and with nothing that could ask."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C.UTF-8",
    }
