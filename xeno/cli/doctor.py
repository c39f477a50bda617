"""`xeno doctor`: is this machine fit, line by line, and what to do where it is not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from xeno.cli.commands import Commands
from xeno.cli.output import Output, size
from xeno.cli.session import home_of, unlocked
from xeno.cli.status import PROTECTIONS
from xeno.errors import XenoError
from xeno.events import ChatMessage, Sampling
from xeno.models.base import inspect_base
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.store.profile import Profile
from xeno.words import count
from xeno.workers.host_client import HostClient, base_folder

PACKAGES = (
    *("PyQt6", "pyqtgraph", "numpy", "torch", "transformers", "peft", "opacus", "safetensors"),
    *("tokenizers", "jinja2", "cryptography", "keyring", "sqlcipher3", "platformdirs"),
    *("pydantic", "psutil"),
)
LEAST_MEMORY = 2 * 10**9
LEAST_DISK = 10**9
HOST_SECONDS = 120.0


@dataclass(frozen=True)
class Finding:
    """One line of the report; `todo` is empty where nothing is to be done."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    todo: str = ""


def add(commands: Commands) -> None:
    parser = commands.add("doctor", "check this machine and this installation", run)
    parser.add_argument("--no-host", action="store_true", help="do not start the model host")


def run(arguments: Namespace, output: Output) -> int | None:
    findings: list[Finding] = []
    for finding in _findings(arguments):
        findings.append(finding)
        output.say(f"{finding.state:5} {finding.name}: {finding.text}")
        if finding.todo:
            output.say(f"      next: {finding.todo}")
    failed = [finding.name for finding in findings if finding.state == "fail"]
    output.say("Everything needed is there." if not failed else f"Failed: {', '.join(failed)}.")
    output.result({"ok": not failed, "checks": [asdict(finding) for finding in findings]})
    return 1 if failed else 0


def _findings(arguments: Namespace) -> Iterator[Finding]:
    home = home_of(arguments)
    yield _python()
    yield _packages()
    yield _processor()
    yield _memory()
    writable = _home(home)
    yield writable
    if writable.state == "fail":
        return
    yield _disk(home)
    yield _starter(home)
    try:
        profile = unlocked(arguments)
    except XenoError as error:
        yield Finding("profile", "fail", f"{error.what} {error.why}".strip(), error.todo)
        return
    with profile:
        yield _key(profile)
        if not arguments.no_host:
            yield _host(profile)


def _python() -> Finding:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if (version := sys.version_info) >= (3, 15):
        return Finding(
            "python",
            "warn",
            text,
            f"Python {version.major}.{version.minor} is later than XENO was tried with; "
            "if a package is missing, use Python 3.11 to 3.14.",
        )
    return Finding("python", "ok", text)


def _packages() -> Finding:
    missing, found = [], {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding(
            "packages", "fail", f"missing: {', '.join(missing)}", "Run 'make setup' again."
        )
    shown = ", ".join(f"{n} {found[n]}" for n in ("torch", "transformers", "peft", "opacus"))
    return Finding("packages", "ok", f"all {len(found)} are there ({shown})")


def _processor() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = _cpu_flags()
    quick = [name for name in ("avx512_bf16", "amx_bf16", "amx_tile") if name in flags]
    text = count(cores or 1, "core")
    if quick:
        return Finding("processor", "ok", f"{text}, bfloat16 in hardware ({', '.join(quick)})")
    if not flags:
        return Finding("processor", "ok", f"{text}; its instructions are found by measuring")
    return Finding(
        "processor",
        "warn",
        f"{text}, without AVX512_BF16 or AMX",
        "Nothing is needed; training of large models is two to four times slower here.",
    )


def _cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return set()
    for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    text = f"{size(memory.available)} free of {size(memory.total)}"
    if memory.available < LEAST_MEMORY:
        return Finding("memory", "warn", text, "Close other programs before you train.")
    return Finding("memory", "ok", text)


def _home(home: Home) -> Finding:
    try:
        home.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home.folder) as probe:
            probe.write(b"x")
    except OSError as error:
        return Finding(
            "home",
            "fail",
            f"{home.folder} cannot be written: {error.strerror or error}",
            "Choose another folder with --home, or make this one writable.",
        )
    return Finding("home", "ok", str(home.folder))


def _disk(home: Home) -> Finding:
    free = shutil.disk_usage(home.folder).free
    if free < LEAST_DISK:
        return Finding("disk", "warn", f"{size(free)} free", "Free at least 1 GB.")
    return Finding("disk", "ok", f"{size(free)} free")


def _starter(home: Home) -> Finding:
    try:
        base = inspect_base(starter_folder(), home)
    except XenoError as error:
        return Finding("starter model", "fail", f"{error.what} {error.why}", error.todo)
    return Finding("starter model", "ok", f"{base.parameters / 1e6:.1f} million parameters")


def _key(profile: Profile) -> Finding:
    text = PROTECTIONS[profile.protection]
    if profile.protection != "file":
        return Finding("key", "ok", text)
    return Finding(
        "key", "warn", text, "Make the profile where a system keyring runs, or with a passphrase."
    )


def _host(profile: Profile) -> Finding:
    try:
        folder = base_folder(profile)
        with HostClient(profile, folder) as host:
            ready = host.ready(HOST_SECONDS)
            question = ChatMessage(role="user", content="Hello!")
            reply = host.generate([question], Sampling(max_tokens=32)).result(HOST_SECONDS)
    except XenoError as error:
        return Finding("model host", "fail", f"{error.what} {error.why}".strip(), error.todo)
    text = (
        f"{ready.name} answered in {ready.dtype} on {count(ready.threads, 'thread')}: first token "
        f"after {reply.first_token_seconds * 1000:.0f} ms, {reply.tokens_per_second:.0f} tokens/s"
    )
    if reply.fallback:
        return Finding("model host", "warn", f"{text}. {reply.fallback}")
    return Finding("model host", "ok", text)
