"""Nothing calls home: who may open a connection is declared, and a whole loop opens none."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from xeno.collect.teacher import TeacherAddress, set_teacher
from xeno.privacy.hosts import contacts, modules
from xeno.store.profile import Profile

ROOT = Path(__file__).parents[1]
_NETWORKS = {"socket", "ssl", "http", "urllib.request", "ftplib", "smtplib", "asyncio", "xmlrpc",
             "requests", "httpx", "aiohttp", "urllib3", "websockets", "huggingface_hub",
             "QTcpSocket", "QUdpSocket", "QNetworkAccessManager", "QWebSocket"}  # fmt: skip
_LOCAL = {"ui.app": "a Unix socket to systemd's or the desktop's start-up notification"}


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            found |= {alias.name for alias in node.names if alias.name.startswith("Q")}
    return found


def test_only_declared_modules_can_open_a_connection() -> None:
    able = set()
    for path in [ROOT / "main.py", *ROOT.glob("xeno/**/*.py"), *ROOT.glob("ui/**/*.py")]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for module in _imports(ast.parse(path.read_text("utf-8"))):
            if module.startswith("huggingface_hub.errors"):
                continue  # names of exceptions
            if module in _NETWORKS or module.split(".")[0] in _NETWORKS:
                able.add(name)
    assert able - set(_LOCAL) <= modules()
    assert modules() - able == {"xeno.bootstrap"}  # it starts pip


def test_the_teachers_host_is_named_once_it_is_entered(profile: Profile) -> None:
    assert [each.host for each in contacts(profile)][-1] == ""
    set_teacher(profile, TeacherAddress("https://teacher.example:8443/v1", "large"))
    assert [each.host for each in contacts(profile)][-1] == "teacher.example:8443"
    assert all(each.why and each.when and each.sends for each in contacts(profile))


_WATCH = '''
"""Write every connection of this process to a file, and those of its children."""
import os, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname",
                 "socket.bind"):
        address = arguments[0] if event.startswith("socket.get") else arguments[1]
        with open(os.environ["WATCH_FILE"], "a") as file:
            file.write(f"{os.getpid()} {event} {address!r}\\n")
    elif event == "import" and arguments[0] == "xeno.workers.protocol":
        with open(os.environ["WATCH_FILE"] + ".children", "a") as file:
            file.write(f"{os.getpid()}\\n")

sys.addaudithook(watch)
'''

_LOOP = """
import json, sys
from pathlib import Path
from xeno.events import ChatMessage, Sampling
from xeno.paths import Home
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import open_profile
from xeno.training.plan import TrainingPlan
from xeno.versions.deployment import Deployment
from xeno.workers.host_client import HostClient
from xeno.workers.training_client import TrainingRun

base = sys.argv[1]
with open_profile(Home.at()) as profile:
    from xeno.workers.host_client import BASE_SETTING
    profile.set_setting(BASE_SETTING, base)
    for n in range(24):
        Pairs(profile.db).add(new_pair(profile.name,
            [ChatMessage(role="user", content=f"What about tea {n}?")], "- Warm the pot.",
            f"Well, tea {n} is a drink.", feedback_type="correction", confidence=1.0, quality=1.0))
    run = TrainingRun(profile, TrainingPlan(base=base, private_steps=2))
    run.start()
    finished = run.wait(240)
    assert finished.status == "completed", run.failure
    Deployment(profile).deploy(finished.version, override="a test of connections")
    host = HostClient(profile)
    try:
        host.generate((ChatMessage(role="user", content="Tea?"),),
                      Sampling(max_tokens=8)).result(100)
    finally:
        host.close()
    print(json.dumps({"version": finished.version}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="children are counted on POSIX")
def test_a_whole_training_and_chat_loop_opens_no_connection(tmp_path: Path) -> None:
    import os

    from tiny_models import make_llama

    base = make_llama(tmp_path / "tiny")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    # Python runs this at the start of every process, so that children are watched as well.
    (hooks / "sitecustomize.py").write_text(_WATCH)
    seen = tmp_path / "connections"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(hooks), str(ROOT)]),
        "XENO_HOME": str(tmp_path / "home"),
        "WATCH_FILE": str(seen),
    }
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        environment.pop(name, None)  # the program must be quiet by itself
    done = subprocess.run(
        [sys.executable, "-c", _LOOP, str(base)],
        env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["version"]
    watched = set(Path(f"{seen}.children").read_text().split())
    assert len(watched) >= 2, "the trainer and the model host were both watched"
    lines = seen.read_text().splitlines() if seen.exists() else []
    strangers = [line for line in lines if "127.0.0.1" not in line and "'::1'" not in line
                 and "socket.connect '/" not in line]  # fmt: skip
    assert strangers == []
