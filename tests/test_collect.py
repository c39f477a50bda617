"""Collectors show first what they read, read nothing twice, and leave secrets alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xeno.cli.main import main
from xeno.collect.collecting import CollectStoppedError, collect, plan
from xeno.collect.documents import markdown, source
from xeno.collect.git import GitHistory
from xeno.collect.journal import _entries, journal
from xeno.collect.teacher import (
    Question,
    Teacher,
    TeacherAddress,
    TeacherError,
    prompts_of,
    replies_of,
    set_teacher,
    teacher_of,
)
from xeno.data.importing import import_file
from xeno.errors import InvalidValueError
from xeno.paths import Home
from xeno.store.conversations import Conversations
from xeno.store.examples import Examples
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile, open_profile

LONG = "This is a sentence that is long enough to be worth learning from. " * 2


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        path.with_name(path.name + ".manifest.json").read_text(encoding="utf-8")
    )
    return found


# Git --------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "a.txt", "one\n", "Begin with one\n\nSigned-off-by: A B <a@example.org>")
    commit(folder, "a.txt", "two\n", "Make it two")
    return folder


def git(folder: Path, *arguments: str) -> None:
    name = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, name: str, content: str | bytes, message: str) -> None:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


def test_a_repository_is_shown_collected_and_continued(
    profile: Profile, repository: Path, tmp_path: Path
) -> None:
    out = tmp_path / "git.jsonl"
    shown = plan(GitHistory(repository), out)
    assert [entry.name.split(" ", 1)[1] for entry in shown.entries] == [
        "Begin with one",
        "Make it two",
    ]
    assert not out.exists()
    report = collect(GitHistory(repository), out)
    assert (report.added, report.known) == (2, 0)
    first, second = lines(out)
    assert first["completion"] == "Begin with one"  # whose trailer names a person
    assert "-one\n+two" in second["prompt"]
    assert manifest(out)["records"] == 2
    commit(repository, "b.txt", "three\n", "Add three")
    assert len(plan(GitHistory(repository), out).entries) == 1
    assert collect(GitHistory(repository), out).added == 1
    assert collect(GitHistory(repository), out).added == 0
    report_ = import_file(profile, out)
    assert dict(report_.counts) == {"instruction": 3}
    assert Examples(profile.db).all()[0].source == "git:repo"


def test_history_that_was_rewritten_is_read_again_and_nothing_is_doubled(
    repository: Path, tmp_path: Path
) -> None:
    out = tmp_path / "git.jsonl"
    collect(GitHistory(repository), out)
    git(repository, "commit", "-q", "--amend", "-m", "Make it two, really")
    report = collect(GitHistory(repository), out)
    assert (report.added, report.known) == (1, 1)


def test_what_teaches_nothing_in_a_repository_is_counted(repository: Path, tmp_path: Path) -> None:
    commit(repository, "b.bin", bytes(range(256)) * 4, "Add a picture")
    commit(repository, "c.txt", "Grüße".encode("latin-1"), "Add greetings")
    commit(repository, "d.txt", "word\n" * 10_000, "Add many words")
    report = collect(GitHistory(repository), tmp_path / "git.jsonl")
    assert dict(report.skipped) == {
        "only binary files change": 1,
        "the change is not UTF-8 text": 1,
    }
    long = lines(tmp_path / "git.jsonl")[-1]
    assert len(long["prompt"]) < 13_000
    assert "d.txt" in long["prompt"]


def test_a_repository_cannot_make_git_run_anything(repository: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path / 'sprung'}\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "core.pager", "gpg.program", "diff.t.textconv"):
        git(repository, "config", key, str(trap))
    git(repository, "config", "log.showSignature", "true")
    (repository / ".gitattributes").write_text("* diff=t\n")
    assert collect(GitHistory(repository), tmp_path / "git.jsonl").added == 2
    assert not (tmp_path / "sprung").exists()


def test_only_the_authors_own_commits_where_one_is_named(repository: Path, tmp_path: Path) -> None:
    assert plan(GitHistory(repository, author="nobody"), tmp_path / "x").entries == ()
    assert len(plan(GitHistory(repository, author="a@example"), tmp_path / "x").entries) == 2


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(InvalidValueError):
            GitHistory(place)


# Documents --------------------------------------------------------------------------------


def test_markdown_gives_its_sections(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    text = f"# Guide\n\n{LONG}\n\n## Use\n\n```\n# no heading\n```\n{LONG}\n\n## Short\n\nx\n"
    (folder / "my-guide.md").write_text(text)
    out = tmp_path / "out.jsonl"
    report = collect(markdown(folder), out)
    assert [line["prompt"] for line in lines(out)] == [
        "Write the section “Guide” of the document “my guide”.",
        "Write the section “Guide: Use” of the document “my guide”.",
    ]
    assert "# no heading" in lines(out)[1]["completion"]
    assert dict(report.skipped) == {"the part is too short or too long": 1}
    (folder / "my-guide.md").write_text(text + f"\n## More\n\n{LONG}\n")
    shown = plan(markdown(folder), out)
    assert (len(shown.entries), dict(shown.left_out)) == (1, {})
    assert (collect(markdown(folder), out).added, len(lines(out))) == (1, 3)
    assert plan(markdown(folder), out).left_out == {"not changed since the last run": 1}


def test_source_gives_what_is_documented(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    (folder / "node_modules").mkdir(parents=True)
    (folder / "node_modules" / "x.py").write_text('def f():\n    "' + LONG + '"\n')
    (folder / "a.py").write_text(
        f'class A:\n    def g(self):\n        """{LONG}"""\n        return 1\n'
    )
    go = "// Add adds.\n// It does.\nfunc Add(a, b int) int {\n\treturn a + b\n}\n"
    (folder / "b.go").write_text(go.replace("a + b", "a + b" + " + 1" * 20))
    (folder / "broken.py").write_text("def (:")
    collect(source(folder), tmp_path / "out.jsonl")
    first, second = lines(tmp_path / "out.jsonl")
    assert first["prompt"].startswith("Write the Python function `g`:")
    assert first["completion"].startswith("def g(self):")
    assert second["prompt"] == "Write this in Go:\n\nAdd adds.\nIt does."
    assert second["completion"].endswith("}")


def test_secrets_links_and_large_files_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("secrets.md", "api_key.md", ".hidden.md", "passwords-old.md"):
        (folder / name).write_text(f"# A\n\n{LONG}")
    (tmp_path / "outside.md").write_text(f"# A\n\n{LONG}")
    (folder / "link.md").symlink_to(tmp_path / "outside.md")
    (folder / "large.md").write_text("x" * (2**20 + 1))
    shown = plan(markdown(folder), tmp_path / "out")
    assert shown.entries == ()
    assert dict(shown.left_out) == {
        "its name sounds like a secret": 4,
        "a link": 1,
        "larger than 1 MB": 1,
    }


@pytest.mark.parametrize(
    "heading",
    [
        *("2026-03-05", "## 2026-03-05", "5.3.2026", "March 5, 2026", "Thursday, March 5th 2026"),
        *("5 Mar 2026", "**2026-03-05**", "Thu 5 March 2026:"),
    ],
)
def test_a_journal_gives_its_days(heading: str) -> None:
    entries = list(_entries(f"Before.\n{heading}\n\nI wrote this.\n2026-03-06\nAnd this.", "j.txt"))
    assert entries == [
        ("Write my journal entry for Thursday, 2026-03-05.", "I wrote this."),
        ("Write my journal entry for Friday, 2026-03-06.", "And this."),
    ]


def test_a_file_named_by_a_day_is_its_entry(tmp_path: Path) -> None:
    (tmp_path / "2026-03-05.txt").write_text(LONG)
    (tmp_path / "notes.txt").write_text(LONG)
    collect(journal(tmp_path), tmp_path / "out.jsonl")
    (entry,) = lines(tmp_path / "out.jsonl")
    assert entry["completion"] == LONG.strip()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["2026-13-45", "31.2.2026", "", "x"]))
def test_no_text_breaks_a_journal(text: str, extra: str) -> None:
    assert list(_entries(f"{text}\n{extra}\n{text}", "2026-99-99.txt")) is not None


# The file and its manifest ----------------------------------------------------------------


def test_a_line_that_a_crash_cut_off_is_mended(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"# A\n\n{LONG}")
    out = tmp_path / "out.jsonl"
    collect(markdown(tmp_path / "a.md"), out)
    whole = out.read_bytes()
    out.write_bytes(whole + b'{"id": "cut')
    (tmp_path / "out.jsonl.manifest.json").unlink()
    report = collect(markdown(tmp_path / "a.md"), out)
    assert (report.added, report.known, out.read_bytes()) == (0, 1, whole)


def test_a_file_of_another_origin_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"# A\n\n{LONG}")
    out = tmp_path / "out.jsonl"
    out.write_text('{"prompt": "mine"}\n')
    with pytest.raises(InvalidValueError, match="not written by a collector"):
        collect(markdown(tmp_path / "a.md"), out)
    assert out.read_text() == '{"prompt": "mine"}\n'
    out.unlink()
    collect(markdown(tmp_path / "a.md"), out)
    with pytest.raises(InvalidValueError, match="collected by 'markdown'"):
        collect(journal(tmp_path / "a.md"), out)
    manifest_path = tmp_path / "out.jsonl.manifest.json"
    manifest_path.write_text("[]")
    with pytest.raises(InvalidValueError, match="no manifest"):
        collect(markdown(tmp_path / "a.md"), out)


def test_a_run_that_is_stopped_is_continued(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n\n{LONG}")
    out = tmp_path / "out.jsonl"
    with pytest.raises(CollectStoppedError):
        collect(markdown(tmp_path), out, stop=lambda: True)
    assert len(lines(out)) == 1
    collect(markdown(tmp_path), out)
    assert len(lines(out)) == 3


# The teacher ------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    """Answers like an OpenAI-compatible server, with what the test put in `answers`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, said: object, status: int = 200, **headers: str) -> None:
        text = said if isinstance(said, str) else json.dumps(said)
        body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
        self.answers.append((status, body, headers))


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body, dict(self.headers)))
        status, answer, headers = self.server.answers.pop(0)
        content = json.dumps(answer).encode() if not isinstance(answer, bytes) else answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[_Server]:
    with serving() as running:
        yield running


@pytest.fixture
def chat(profile: Profile) -> Conversations:
    conversations = Conversations(profile.db)
    made = conversations.create("T")
    conversations.add_message(made.id, "user", "What is tea?")
    conversations.add_message(made.id, "assistant", "Dunno.", system_prompt="Be kind.")
    return conversations


def no_wait(seconds: float) -> None:
    return None


def test_the_teacher_is_off_until_it_is_named(profile: Profile, chat: Conversations) -> None:
    with pytest.raises(TeacherError, match="No teacher is named"):
        Teacher(profile, "correct", replies_of(profile))


def test_the_teacher_corrects_replies_with_its_reason(
    profile: Profile, chat: Conversations, server: _Server, tmp_path: Path
) -> None:
    set_teacher(profile, TeacherAddress(server.address, "large"), "sk-secret")
    better = "Tea is a drink made of leaves."
    said = {"better": better, "reason": "It did not answer. " * 30, "improved": True}
    server.answer("```json\n" + json.dumps(said) + "\n```")
    out = tmp_path / "teacher.jsonl"
    teacher = Teacher(profile, "correct", replies_of(profile))
    shown = plan(teacher, out)
    assert server.requests == []
    assert (shown.entries[0].name, server.address in shown.where) == ("What is tea?", True)
    assert collect(teacher, out).added == 1
    path, body, headers = server.requests[0]
    assert (path, body["model"]) == ("/v1/chat/completions", "large")
    assert headers["Authorization"] == "Bearer sk-secret"
    assert "Dunno." in body["messages"][1]["content"]
    import_file(profile, out)
    (pair,) = Pairs(profile.db).all()
    assert (pair.chosen, pair.rejected) == (better, "Dunno.")
    assert [turn.role for turn in pair.prompt] == ["system", "user"]
    assert pair.metadata["fields"]["reason"] == said["reason"]
    # Asked once, it is not asked, and paid, again.
    again = Teacher(profile, "correct", replies_of(profile))
    assert plan(again, out).left_out == {"asked before": 1}
    assert collect(again, out).added == 0
    assert len(server.requests) == 1


def test_the_teacher_writes_pairs_for_questions(
    profile: Profile, chat: Conversations, server: _Server, tmp_path: Path
) -> None:
    set_teacher(profile, TeacherAddress(server.address, "large"))
    server.answer({"better": "Good.", "worse": "Bad.", "reason": "It is better."})
    assert collect(Teacher(profile, "compare", prompts_of(profile)), tmp_path / "o").added == 1
    assert "Authorization" not in server.requests[0][2]
    assert "Dunno." not in server.requests[0][1]["messages"][1]["content"]
    assert lines(tmp_path / "o")[0]["reason"] == "It is better."


def questions(count: int) -> list[Question]:
    return [Question(({"role": "user", "content": f"Question {n}?"},)) for n in range(count)]


def test_answers_out_of_form_are_counted(profile: Profile, server: _Server, tmp_path: Path) -> None:
    set_teacher(profile, TeacherAddress(server.address, "large"))
    for said in (
        "no JSON",
        "{broken",
        {"better": "x"},
        {"better": "x", "worse": "x", "reason": "r"},
    ):
        server.answer(said)
    report = collect(Teacher(profile, "compare", questions(4)), tmp_path / "o")
    assert report.added == 0
    assert dict(report.skipped) == {
        "the teacher did not answer in the form asked for": 3,
        "the teacher's replies are the same": 1,
    }


def test_a_busy_teacher_is_asked_again_and_what_it_gave_before_is_kept(
    profile: Profile, server: _Server, tmp_path: Path
) -> None:
    set_teacher(profile, TeacherAddress(server.address, "large"))
    server.answer({}, 429, Retry_After="3")
    server.answer({}, 503)
    server.answer({"better": "a", "worse": "b", "reason": "r"})
    server.answer({}, 401)
    waited: list[float] = []
    with pytest.raises(TeacherError, match="does not accept the key"):
        collect(Teacher(profile, "compare", questions(3), wait=waited.append), tmp_path / "o")
    assert waited == [3.0, 4.0]
    assert len(lines(tmp_path / "o")) == 1
    assert len(plan(Teacher(profile, "compare", questions(3)), tmp_path / "o").entries) == 2


def test_the_key_and_the_texts_go_to_the_named_address_only(
    profile: Profile, server: _Server, tmp_path: Path
) -> None:
    with serving() as other:
        set_teacher(profile, TeacherAddress(server.address, "large"), "sk-secret")
        server.answer({}, 307, Location=other.address + "/chat/completions")
        with pytest.raises(TeacherError, match="redirects"):
            collect(Teacher(profile, "compare", questions(1)), tmp_path / "o")
        assert other.requests == []
        set_teacher(profile, TeacherAddress(other.address, "large"))
        other.answer({"better": "a", "worse": "b", "reason": "r"})
        collect(Teacher(profile, "compare", questions(1)), tmp_path / "p")
        assert "Authorization" not in other.requests[0][2]


@pytest.mark.parametrize("answer", [{"choices": []}, b"<html>", {"error": "x"}])
def test_a_server_of_another_kind_is_recognised(
    profile: Profile, server: _Server, tmp_path: Path, answer: Any
) -> None:
    set_teacher(profile, TeacherAddress(server.address, "large"))
    server.answers.append((200, answer, {}))
    with pytest.raises(TeacherError, match="does not answer like"):
        collect(Teacher(profile, "compare", questions(1)), tmp_path / "o")


def test_a_teacher_that_is_not_there_is_said_to_be(profile: Profile, tmp_path: Path) -> None:
    set_teacher(profile, TeacherAddress("http://127.0.0.1:9/v1", "large"))
    with pytest.raises(TeacherError, match="cannot be reached"):
        collect(Teacher(profile, "compare", questions(1), wait=no_wait), tmp_path / "o")


@pytest.mark.parametrize(
    "address",
    ["", "ftp://a/v1", "http://example.org/v1", "https://me:pw@example.org/v1", "127.0.0.1:80"],
)
def test_an_address_that_is_none_or_not_encrypted_is_refused(address: str) -> None:
    with pytest.raises(InvalidValueError):
        TeacherAddress(address, "m")


def test_switching_the_teacher_off_forgets_its_key(profile: Profile) -> None:
    set_teacher(profile, TeacherAddress("https://example.org/v1", "m"), "sk-secret")
    set_teacher(profile, TeacherAddress("https://example.org/v1", "other"))
    assert profile.setting("teacher_key") == "sk-secret"
    set_teacher(profile, None)
    assert (teacher_of(profile), profile.setting("teacher_key")) == (None, None)


# The command line -------------------------------------------------------------------------


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(*arguments: str, status: int = 0) -> dict[str, Any]:
        assert main([*arguments, "--json"]) == status
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    return run


def test_the_command_line_reads_nothing_before_it_is_told(
    home: Home, repository: Path, tmp_path: Path, said: Callable[..., dict[str, Any]]
) -> None:
    out = str(tmp_path / "out.jsonl")
    command = ("collect", "git", str(repository), "--to", out)
    for arguments in (command, (*command, "--dry-run", "--yes")):
        shown = said(*arguments)
        assert (shown["to_read"], shown["dry_run"]) == (2, True)
    assert not Path(out).exists()
    done = said(*command, "--yes", "--import")
    assert (done["added"], done["imported"]) == (2, 2)
    assert said(*command, "--yes")["to_read"] == 0


def test_the_key_of_the_teacher_comes_from_stdin_and_stays_encrypted(
    home: Home, server: _Server, tmp_path: Path
) -> None:
    asked = tmp_path / "questions.txt"
    asked.write_text("What is tea?\n")
    server.answer({"better": "a", "worse": "b", "reason": "r"})
    done = subprocess.run(
        [
            *(sys.executable, "-m", "xeno.cli.main", "collect", "teacher", "compare", "--json"),
            *("--address", server.address, "--model", "large", "--key-stdin", "--yes"),
            *("--prompts", str(asked), "--to", str(tmp_path / "out.jsonl"), "--import"),
        ],
        input="sk-verysecret\n",
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "XENO_HOME": str(home.folder)},
        cwd=Path(__file__).parent.parent,
    )
    assert json.loads(done.stdout.splitlines()[-1])["imported"] == 1
    assert server.requests[0][2]["Authorization"] == "Bearer sk-verysecret"
    assert "sk-verysecret" not in done.stdout + done.stderr
    for path in [*home.folder.rglob("*"), *tmp_path.glob("*.json*")]:
        if path.is_file():
            assert b"sk-verysecret" not in path.read_bytes()
    with open_profile(home) as profile:
        assert profile.setting("teacher_key") == "sk-verysecret"
