"""A process killed at any moment of a deploy, a promotion or a rollback leaves one version that
answers, whole, and a history that says so."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from version_parts import passed, release

from xeno.paths import Home
from xeno.store.profile import Profile
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry

KILLS = 40

# Forks a worker for each line on stdin, so that what is slow (the imports) is done once. The
# worker says how long its first changes took: the kill comes within the next ones.
NURSERY = """
import os, random, sys, time
from xeno.paths import Home
from xeno.store.profile import open_profile
from xeno.versions.deployment import Deployment
import safetensors.numpy, cryptography.hazmat.primitives.asymmetric.ed25519

def change(deployment, kind, ref):
    if kind == 0:
        deployment.deploy(ref, "killed")
    elif kind == 1:
        deployment.rollback(ref, "killed")
    elif deployment.active().label != ref:
        deployment.try_out(ref, "killed")
        deployment.promote("killed")

def work(seed):
    chance = random.Random(seed)
    with open_profile(Home.at(sys.argv[1])) as profile:
        deployment = Deployment(profile)
        begun = time.monotonic()
        for kind in (0, 1, 2):
            change(deployment, kind, f"v{chance.randint(1, 4)}")
        print(os.getpid(), time.monotonic() - begun, flush=True)
        while True:
            change(deployment, chance.randint(0, 2), f"v{chance.randint(1, 4)}")

for line in sys.stdin:
    child = os.fork()
    if not child:
        work(int(line))
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")
def test_a_kill_at_any_moment_leaves_one_whole_version_active(profile: Profile, home: Home) -> None:
    for seed in range(1, 5):
        release(profile, seed)
    passed(profile, 1, 2, 3, 4)
    deployment = Deployment(profile)
    deployment.deploy("v1")
    chance = random.Random()
    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(home.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    with nursery:
        try:
            for number in range(KILLS):
                print(number, file=nursery.stdin, flush=True)
                child, seconds = nursery.stdout.readline().split()
                time.sleep(chance.uniform(0, float(seconds)))
                os.kill(int(child), signal.SIGKILL)
                assert nursery.stdout.readline() == "dead\n"
                _one_answers(profile)
        finally:
            os.killpg(nursery.pid, signal.SIGKILL)
    changes = len(deployment.history())
    assert changes > KILLS, "the workers hardly changed anything"
    assert profile.db.one("PRAGMA integrity_check")[0] == "ok"


def _one_answers(profile: Profile) -> None:
    """One version answers: the one that the history ends with, and its bytes are whole."""
    states = [version.state for version in Registry(profile).all()]
    assert states.count("active") == 1
    assert states.count("canary") <= 1
    assert set(states) <= {"active", "canary", "checked", "retired", "rolled_back"}
    deployment = Deployment(profile)
    active = deployment.active()
    assert active is not None
    assert deployment.history()[-1].address == active.address
    Registry(profile).open(active.address)
