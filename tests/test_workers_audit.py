"""The audit as a command and as a child: it ends with findings, or at once when it is stopped."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from tiny_models import make_llama

from xeno.benchmarking.leak_check import leak_check
from xeno.cli.main import main
from xeno.errors import ChildError
from xeno.paths import Home
from xeno.privacy.audit.words import LOW_PROVES_LITTLE, checks_of, contradicted, leak_sentences
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.mechanism import PrivateOptimizer
from xeno.store.profile import Profile, open_profile
from xeno.workers.audit_client import AuditRun


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny")


def test_the_command_audits_and_spends_nothing_of_the_profile(
    home: Home, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["privacy", "audit", "--canaries", "24", "--base", str(tiny), "--json"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert status == 0
    assert found["sound"]
    assert {title for title, passed, _ in checks_of(found) if passed}
    leak = found["leak"]["leak"]
    assert (leak["canaries"], leak["guesses"]) == (24, 24)
    assert 0 <= leak["epsilon_proved"] <= leak["ceiling"] < 3
    assert 7 < found["leak"]["epsilon_claimed"] <= 8
    assert leak_sentences(found)[-1] == LOW_PROVES_LITTLE
    with open_profile(home) as profile:
        assert PrivacyLedger(profile).entries() == []


def test_a_run_that_leaks_more_than_it_claims_is_said_to() -> None:
    leak = {"epsilon_proved": 3.0}
    claims = [{"leak": {"leak": leak, "epsilon_claimed": each}} for each in (1.0, 8.0, None)]
    assert [contradicted(each) for each in claims] == [True, False, False]
    assert not contradicted({"leak": None})


CANARIES = 60


def test_the_attack_wins_without_privacy_and_not_with_it(tiny: Path) -> None:
    without = leak_check(tiny, CANARIES, {"private": False, "threads": 1})
    private = leak_check(tiny, CANARIES, {"epsilon": 1.0, "threads": 1})
    assert without.leak.auc > 0.85
    assert without.leak.epsilon_proved > 1.0
    assert private.leak.auc < 0.75
    assert private.epsilon_claimed is not None
    assert private.leak.epsilon_proved < private.epsilon_claimed


def test_a_run_that_claims_noise_and_has_none_is_contradicted(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_noise(optimizer: PrivateOptimizer) -> None:
        for parameter in optimizer.params:
            parameter.grad = parameter.summed_grad.clone()

    monkeypatch.setattr(PrivateOptimizer, "add_noise", no_noise)
    found = asdict(leak_check(tiny, CANARIES, {"epsilon": 0.5, "threads": 1}))
    assert found["epsilon_claimed"] <= 0.5
    assert contradicted({"leak": found})


def test_a_stopped_audit_ends_soon_and_says_so(profile: Profile, tiny: Path) -> None:
    run = AuditRun(profile, tiny, 2000, {"private_steps": 5000})
    begun = time.monotonic()
    run.stop()
    with pytest.raises(ChildError, match="was stopped"):
        run.wait()
    assert time.monotonic() - begun < 20
