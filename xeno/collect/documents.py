"""What markdown documents and source files can teach: how the user writes and codes.

Only regular files under the chosen folder are read, links are not followed, and what looks
like a secret, like somebody else's code, or like a build is left out.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xeno.collect.collecting import Entry, Plan, Skipped
from xeno.errors import InvalidValueError

LARGEST_FILE = 2**20
SHORTEST, LONGEST = 80, 8_000  # characters of what is learned
_OTHERS = {
    *("node_modules", "venv", "env", "__pycache__", "build", "dist", "target", "vendor"),
    *("site-packages", "third_party", "out", "coverage"),
}
_SECRETS = re.compile(r"(^\.|secret|credential|password|(^|[._-])key([._-]|$)|id_rsa|\.pem$)", re.I)
_HEADING = re.compile(r"(#{1,6})[ \t]+(.+?)[ \t#]*$")
_FENCE = re.compile(r"[ ]{0,3}(```+|~~~+)")
_BRACES = {
    ".js": "JavaScript",
    ".ts": "TypeScript",
    ".go": "Go",
    ".rs": "Rust",
    ".java": "Java",
    ".c": "C",
    ".h": "C",
    ".cpp": "C++",
    ".hpp": "C++",
    ".cs": "C#",
    ".kt": "Kotlin",
    ".swift": "Swift",
    ".php": "PHP",
}
_COMMENT = re.compile(r"\s*(?://[/!]?|/\*\*?|\*/|\*(?!/))\s?(.*?)(?:\*/)?\s*$")

Found = Iterator[tuple[str, str]]  # (what is asked, how the user did it)


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    size: int


class Documents:
    """Collects from the files of a folder, or from one file, whose content changed."""

    def __init__(
        self,
        name: str,
        place: str | os.PathLike[str],
        suffixes: Iterable[str],
        read: Callable[[str, str], Found],
    ) -> None:
        self.name = name
        self._place = Path(place)
        if not self._place.is_dir() and not self._place.is_file():
            raise InvalidValueError(
                f"{self._place} is not there.", "", "Name a folder, or one file."
            )
        self._suffixes = frozenset(suffixes)
        self._read = read
        self._digests: dict[str, str] = {}

    def plan(self, state: Mapping[str, Any]) -> Plan:
        """The files of the folder; those that did not change since are counted as left out."""
        left_out: Counter[str] = Counter()
        files = list(self._files(state, left_out))
        where = f"{'folder' if self._place.is_dir() else 'file'} {self._place.resolve().name}"
        return Plan(where, tuple(Entry(file.name, file.size) for file in files), dict(left_out))

    def records(self, state: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any] | Skipped]]:
        for number, file in enumerate(list(self._files(state, Counter()))):
            try:
                content = _bytes(file.path)
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError:
                yield number, Skipped("the file is not UTF-8 text")
                continue
            except OSError:
                yield number, Skipped("the file cannot be read")
                continue
            found = 0
            for asked, done in self._read(text.replace("\r\n", "\n"), file.name):
                if not SHORTEST <= len(done) <= LONGEST:
                    yield number, Skipped("the part is too short or too long")
                    continue
                found += 1
                record = {"prompt": asked, "completion": done}
                yield number, {**record, "source": f"{self.name}:{file.name}"}
            if not found:
                yield number, Skipped("nothing to learn from in the file")
            self._digests[file.name] = hashlib.sha256(content).hexdigest()

    def state(self, complete: bool) -> dict[str, Any]:
        return {"files": self._digests}

    def _files(self, state: Mapping[str, Any], left_out: Counter[str]) -> Iterator[_File]:
        before = state.get("files")
        known = before if isinstance(before, dict) else {}
        for path in self._candidates(left_out):
            name = path.relative_to(self._place).as_posix() if path != self._place else path.name
            try:
                size = path.stat().st_size
                digest = hashlib.sha256(_bytes(path)).hexdigest() if size <= LARGEST_FILE else ""
            except OSError:
                left_out["cannot be read"] += 1
                continue
            if size > LARGEST_FILE:
                left_out["larger than 1 MB"] += 1
            elif known.get(name) == digest:
                left_out["not changed since the last run"] += 1
                self._digests[name] = digest
            else:
                yield _File(path, name, size)

    def _candidates(self, left_out: Counter[str]) -> Iterator[Path]:
        if self._place.is_file():
            yield self._place
            return
        for folder, folders, names in os.walk(self._place):
            folders[:] = sorted(
                name for name in folders if name not in _OTHERS and not name.startswith(".")
            )
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix.lower() not in self._suffixes:
                    continue
                if _SECRETS.search(name):
                    left_out["its name sounds like a secret"] += 1
                elif path.is_symlink() or not path.is_file():
                    left_out["a link"] += 1
                else:
                    yield path


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)


def markdown(place: str | os.PathLike[str]) -> Documents:
    """Every section of markdown documents, as an answer to its heading."""
    return Documents("markdown", place, (".md", ".markdown"), _sections)


def source(place: str | os.PathLike[str]) -> Documents:
    """Every documented function and class of source files, as an answer to its comment."""
    return Documents("source", place, (".py", *_BRACES), _patterns)


def _sections(text: str, name: str) -> Found:
    """The sections of a document; a heading inside a code block is none."""
    title = Path(name).stem.replace("_", " ").replace("-", " ")
    path: list[tuple[int, str]] = []
    body: list[str] = []
    fence = ""

    def section() -> Found:
        written = "\n".join(body).strip()
        if written and path:
            about = ": ".join(part for _, part in path)
            yield f"Write the section “{about}” of the document “{title}”.", written

    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        heading = None if fence else _HEADING.match(line)
        if heading is None:
            body.append(line)
            continue
        yield from section()
        level = len(heading[1])
        path = [(depth, part) for depth, part in path if depth < level]
        path.append((level, heading[2].strip()))
        body = []
    yield from section()


def _patterns(text: str, name: str) -> Found:
    suffix = Path(name).suffix.lower()
    return _python(text) if suffix == ".py" else _braced(text, _BRACES[suffix])


def _python(text: str) -> Found:
    """Functions and classes with a docstring."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        said = ast.get_docstring(node)
        code = ast.get_source_segment(text, node, padded=True)
        if said and code:
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            yield f"Write the Python {kind} `{node.name}`:\n\n{said}", _dedented(code)


def _dedented(code: str) -> str:
    lines = code.split("\n")
    indent = min((len(x) - len(x.lstrip()) for x in lines if x.strip()), default=0)
    return "\n".join(line[indent:] for line in lines)


def _braced(text: str, language: str) -> Found:
    """Blocks in braces with a comment right before them."""
    lines = text.split("\n")
    place = 0
    while place < len(lines):
        comment, start = [], place
        while place < len(lines) and (found := _COMMENT.match(lines[place])):
            comment.append(found[1])
            place += 1
        said = "\n".join(comment).strip()
        if not said:
            place = max(place, start + 1)
            continue
        block: list[str] = []
        depth, opened = 0, False
        while place < len(lines) and len(block) < 200:
            line = lines[place]
            if not opened and (not line.strip() or len(block) > 5):
                break
            block.append(line)
            depth += line.count("{") - line.count("}")
            opened = opened or "{" in line
            place += 1
            if opened and depth <= 0:
                yield f"Write this in {language}:\n\n{said}", _dedented("\n".join(block))
                break
