"""A larger model as a teacher, behind an OpenAI-compatible address that the user names.

Off until then. What is sent is shown first: the user's own questions and replies leave the
machine, to this address and no other (redirects are not followed). The key is kept in the
profile's encrypted settings, and is sent in the header alone. An address beyond this machine
must be HTTPS.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xeno.collect.collecting import Entry, Plan, Skipped, identified
from xeno.errors import InvalidValueError, XenoError
from xeno.store.profile import Profile

Task = Literal["correct", "compare"]

ANSWER_BYTES = 4 * 2**20
_SECONDS = 120.0
_TRIES = 4
_WAIT_SECONDS = 30.0
_SETTING, _KEY_SETTING = "teacher", "teacher_key"

_INSTRUCTIONS: Mapping[Task, str] = {
    "correct": (
        "You improve replies of an assistant. You are given a conversation and the assistant's "
        "last reply. Answer with one JSON object and nothing else: "
        '{"better": the reply as it should have been, "reason": what was wrong with it in one '
        'or two sentences, "improved": false if the reply cannot be improved, otherwise true}'
    ),
    "compare": (
        "You write training examples for an assistant. You are given a conversation. Write the "
        "reply that serves the user best, and one that is plausible and noticeably worse. "
        'Answer with one JSON object and nothing else: {"better": the good reply, "worse": the '
        'other one, "reason": why the first one is better, in one or two sentences}'
    ),
}


class TeacherError(XenoError):
    """The teacher cannot be asked, or does not answer as its address promises."""


@dataclass(frozen=True)
class TeacherAddress:
    """Where the teacher is: the base address (it usually ends with /v1) and the model."""

    address: str
    model: str

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise InvalidValueError(
                f"{self.address!r} is no address of a teacher.",
                "It begins with http:// or https:// and has no name or password in it.",
                "Give for example http://127.0.0.1:8080/v1.",
            )
        if parts.scheme == "http" and not _here(parts.hostname):
            raise InvalidValueError(
                f"{self.address!r} is not encrypted.",
                "Your texts and your key would cross the network for everyone to read.",
                "Use an https:// address, or a server on this machine.",
            )
        if not self.model.strip():
            raise InvalidValueError("The teacher's model has no name.", "", "Name the model.")

    @property
    def url(self) -> str:
        return self.address.rstrip("/") + "/chat/completions"


@dataclass(frozen=True)
class Question:
    """A conversation up to the user's turn, and the reply that it got, if it is to be corrected."""

    messages: tuple[Mapping[str, str], ...]
    reply: str = ""

    @property
    def size(self) -> int:
        return sum(len(turn["content"]) for turn in self.messages) + len(self.reply)


def teacher_of(profile: Profile) -> TeacherAddress | None:
    """The teacher that the user named, or None: then nothing is ever asked."""
    kept = profile.setting(_SETTING)
    return TeacherAddress(kept["address"], kept["model"]) if kept else None


def set_teacher(profile: Profile, teacher: TeacherAddress | None, key: str | None = None) -> None:
    """Name the teacher, or None to switch it off and forget its key. Another address forgets
    the key of the one before."""
    before = teacher_of(profile)
    kept_key = profile.setting(_KEY_SETTING) if before and teacher else None
    if before and teacher and before.address != teacher.address:
        kept_key = None
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{0,4096}", key):
        raise InvalidValueError("The key has characters that no key has.", "", "Paste it again.")
    with profile.db.transaction():
        profile.set_setting(
            _SETTING, {"address": teacher.address, "model": teacher.model} if teacher else None
        )
        profile.set_setting(_KEY_SETTING, kept_key if key is None else key or None)


def replies_of(profile: Profile, limit: int = 100) -> list[Question]:
    """The latest replies of the assistant with the turns before them, to be corrected."""
    return _questions(profile, "assistant", limit)


def prompts_of(profile: Profile, limit: int = 100) -> list[Question]:
    """The latest questions of the user with the turns before them, to be answered."""
    return _questions(profile, "user", limit)


class Teacher:
    """Collects corrections ("correct") or pairs of replies ("compare") for `questions`.

    Raises:
        TeacherError: no address is named.
    """

    name = "teacher"

    def __init__(
        self,
        profile: Profile,
        task: Task,
        questions: Sequence[Question],
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        teacher = teacher_of(profile)
        if teacher is None:
            raise TeacherError(
                "No teacher is named.",
                "Nothing is sent anywhere until you name the address of one.",
                "Name it with 'xeno collect teacher --address URL --model NAME'.",
            )
        self._teacher = teacher
        self._key: str | None = profile.setting(_KEY_SETTING)
        self._task = task
        self._questions = tuple(questions)
        self._wait = wait
        self._asked: list[str] = []

    def plan(self, state: Mapping[str, Any]) -> Plan:
        """What would be sent, and to whom; what was asked before is left out."""
        fresh = self._fresh(state)
        known = len(self._questions) - len(fresh)
        return Plan(
            f"{self._teacher.address} (model {self._teacher.model}): these texts would be sent",
            tuple(Entry(_first_line(q.messages[-1]["content"]), q.size) for _, q in fresh),
            {"asked before": known} if known else {},
        )

    def records(self, state: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any] | Skipped]]:
        self._asked = list(state.get("asked", []))
        for number, (identity, question) in enumerate(self._fresh(state)):
            found = self._record(question)
            self._asked.append(identity)
            yield number, found

    def state(self, complete: bool) -> dict[str, Any]:
        return {"asked": self._asked}

    def _fresh(self, state: Mapping[str, Any]) -> list[tuple[str, Question]]:
        asked = set(state.get("asked", []))
        found: dict[str, Question] = {}
        for question in self._questions:
            said = [self._task, self._teacher.model, question.reply]
            identity = identified({"messages": list(question.messages), "said": said})
            if identity not in asked:
                found.setdefault(identity, question)
        return list(found.items())

    def _record(self, question: Question) -> dict[str, Any] | Skipped:
        turns = "\n\n".join(f"[{t['role']}]\n{t['content']}" for t in question.messages)
        if self._task == "correct":
            turns += f"\n\n[the assistant's last reply]\n{question.reply}"
        answer = self._ask(_INSTRUCTIONS[self._task], turns)
        found = _object_in(answer)
        better, reason = found.get("better"), found.get("reason")
        worse = question.reply if self._task == "correct" else found.get("worse")
        if self._task == "correct" and found.get("improved") is False:
            return Skipped("the teacher would not change the reply")
        if not all(isinstance(part, str) and part.strip() for part in (better, worse, reason)):
            return Skipped("the teacher did not answer in the form asked for")
        assert isinstance(better, str)
        assert isinstance(worse, str)
        if better.strip() == worse.strip():
            return Skipped("the teacher's replies are the same")
        return {
            "prompt": [dict(turn) for turn in question.messages],
            "chosen": [{"role": "assistant", "content": better.strip()}],
            "rejected": [{"role": "assistant", "content": worse.strip()}],
            "reason": reason,
            "source": f"teacher:{self._teacher.model}",
        }

    def _ask(self, instruction: str, text: str) -> str:
        body = json.dumps(
            {
                "model": self._teacher.model,
                "messages": [
                    {"role": "system", "content": instruction},
                    {"role": "user", "content": text},
                ],
                "temperature": 0,
            }
        ).encode("utf-8")
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        for attempt in range(1, _TRIES + 1):
            request = urllib.request.Request(self._teacher.url, body, headers, method="POST")
            try:
                with _opener().open(request, timeout=_SECONDS) as response:
                    return _said(response.read(ANSWER_BYTES + 1))
            except urllib.error.HTTPError as error:
                with error:
                    busy = error.code == 429 or error.code >= 500
                    if not busy or attempt == _TRIES:
                        raise _refused(error.code) from error
                    self._wait(_pause(error.headers.get("Retry-After"), attempt))
            except OSError as error:  # URLError, a time-out, a broken connection
                if attempt == _TRIES:
                    raise TeacherError(
                        "The teacher cannot be reached.",
                        f"{self._teacher.address}: {getattr(error, 'reason', error)}.",
                        "Check that it runs and that the address is right.",
                    ) from error
                self._wait(_pause(None, attempt))
        raise AssertionError("unreachable")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The user named one address: the key and the texts go to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _said(content: bytes) -> str:
    """The text of the first choice of a chat completion."""
    if len(content) > ANSWER_BYTES:
        raise TeacherError("The teacher's answer is longer than 4 MB.", "", "Check the address.")
    try:
        text = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise TeacherError(
            "The teacher does not answer like an OpenAI-compatible server.",
            "There is no text at choices[0].message.content.",
            "Check the address; it usually ends with /v1.",
        ) from error
    return text if isinstance(text, str) else ""


def _object_in(text: str) -> dict[str, Any]:
    """The JSON object in a model's answer, with or without a fence or words around it."""
    start, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[start : end + 1], strict=False) if start >= 0 else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refused(code: int) -> TeacherError:
    why = {
        401: "It does not accept the key.",
        403: "It does not accept the key.",
        404: "It has no such model, or the address is not the right one.",
        429: "It is too busy, or the account has no more credit.",
    }
    if 300 <= code < 400:
        reason = "It redirects to another address, which is not followed."
    else:
        reason = why.get(code, f"It answered with the status {code}.")
    return TeacherError("The teacher refused.", reason, "Check the address, model and key.")


def _pause(retry_after: str | None, attempt: int) -> float:
    if retry_after and retry_after.isdigit():
        return min(float(retry_after), _WAIT_SECONDS)
    return min(2.0**attempt, _WAIT_SECONDS)


def _questions(profile: Profile, role: str, limit: int) -> list[Question]:
    found = profile.db.read(
        "SELECT * FROM messages WHERE role = ? AND superseded = 0 "
        "ORDER BY created DESC, rowid DESC LIMIT ?",
        (role, limit),
    )
    questions = []
    for row in found:
        before = profile.db.read(
            "SELECT role, content FROM messages WHERE conversation_id = ? AND superseded = 0 "
            "AND position < ? ORDER BY position",
            (row["conversation_id"], row["position"] + (role == "user")),
        )
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in before]
        if row["system_prompt"]:
            turns.insert(0, {"role": "system", "content": row["system_prompt"]})
        if turns and turns[-1]["role"] == "user":
            reply = row["content"] if role == "assistant" else ""
            questions.append(Question(tuple(turns), reply))
    return questions


def _here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _first_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
