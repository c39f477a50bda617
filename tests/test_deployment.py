"""Deploying and rolling back: one version answers, and bad ones never do."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from tiny_models import make_llama
from version_parts import CONFIG, PATHS, adapter, manifest_for, passed, release

from xeno.errors import DamagedDataError, InvalidValueError
from xeno.models.base import inspect_base
from xeno.paths import Home
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan
from xeno.versions import gate
from xeno.versions.adapter import tensor_names
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry, Version


@pytest.fixture
def deployment(profile: Profile) -> Deployment:
    """Versions v1, v2 and v3, which passed the gate; none is deployed."""
    for seed in (1, 2, 3):
        release(profile, seed)
    passed(profile, "v1", "v2", "v3")
    return Deployment(profile)


def states(profile: Profile) -> list[str]:
    return [each.state for each in reversed(Registry(profile).all())]


def label(version: Version | None) -> str:
    return "base" if version is None else version.label


def damage(profile: Profile, ref: str) -> None:
    address = Registry(profile).get(ref).address
    file = profile.paths.versions / f"{address}.xeno"
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def test_without_a_deployment_the_base_answers(deployment: Deployment) -> None:
    assert deployment.active() is None
    assert deployment.history() == []
    with pytest.raises(InvalidValueError, match="nothing to roll back"):
        deployment.rollback()


def test_exactly_the_deployed_version_is_active(deployment: Deployment, profile: Profile) -> None:
    assert label(deployment.deploy("v1")) == "v1"
    assert label(deployment.deploy(2, "better")) == "v2"
    assert states(profile) == ["retired", "active", "checked"]
    assert deployment.deploy("base") is None
    assert deployment.active() is None
    assert states(profile) == ["retired", "retired", "checked"]
    records = deployment.history()
    assert [(each.action, each.reason) for each in records] == [
        ("deploy", ""),
        ("deploy", "better"),
        ("deploy", ""),
    ]
    assert records[2].address is None
    assert records[2].previous == records[1].address


def test_rolling_back_again_goes_further_back(deployment: Deployment, profile: Profile) -> None:
    for ref in ("v1", "v2", "v3"):
        deployment.deploy(ref)
    assert label(deployment.rollback()) == "v2"
    assert states(profile) == ["retired", "active", "rolled_back"]
    assert label(deployment.rollback()) == "v1"
    assert label(deployment.rollback()) == "base"
    with pytest.raises(InvalidValueError, match="nothing to roll back"):
        deployment.rollback()
    assert label(deployment.deploy("v3")) == "v3"
    assert label(deployment.rollback()) == "base"


def test_rolling_back_to_a_named_version_or_the_base(deployment: Deployment) -> None:
    for ref in ("v1", "v2", "v3"):
        deployment.deploy(ref)
    assert label(deployment.rollback("v1")) == "v1"
    assert label(deployment.rollback()) == "base"
    deployment.deploy("v2")
    assert label(deployment.rollback("base")) == "base"
    assert deployment.history()[-1].action == "rollback"


def test_a_deleted_version_is_passed_over(deployment: Deployment, profile: Profile) -> None:
    for ref in ("v1", "v2", "v3"):
        deployment.deploy(ref)
    Registry(profile).delete("v2")
    assert label(deployment.rollback()) == "v1"


def test_deploying_what_is_active_changes_nothing(deployment: Deployment) -> None:
    deployment.deploy("v1")
    deployment.deploy("v1")
    assert len(deployment.history()) == 1


def test_an_unknown_version_changes_nothing(deployment: Deployment) -> None:
    deployment.deploy("v1")
    for change in (deployment.deploy, deployment.rollback):
        with pytest.raises(InvalidValueError, match="no version"):
            change("v9")
    assert label(deployment.active()) == "v1"


def test_another_process_of_the_profile_sees_the_same(deployment: Deployment, home: Home) -> None:
    deployment.deploy("v2")
    with open_profile(home) as other:
        assert label(Deployment(other).active()) == "v2"
        Deployment(other).rollback()
    assert deployment.active() is None


def test_deployments_at_once_leave_one_active(deployment: Deployment, profile: Profile) -> None:
    threads = [
        threading.Thread(target=deployment.deploy, args=(ref,))
        for ref in ("v1", "v2", "v3", "base") * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(profile).count("active") <= 1
    last = deployment.history()[-1]
    active = deployment.active()
    assert last.address == (active.address if active else None)


# The gate -------------------------------------------------------------------------------------


def test_a_damaged_version_is_quarantined_and_the_one_before_goes_on(
    deployment: Deployment, profile: Profile
) -> None:
    deployment.deploy("v1")
    damage(profile, "v2")
    with pytest.raises(DamagedDataError, match="v2 was not deployed"):
        deployment.deploy("v2")
    assert label(deployment.active()) == "v1"
    assert states(profile) == ["active", "quarantined", "checked"]
    report = Registry(profile).get("v2").gate
    assert report["passed"] is False
    assert "damaged" in report["checks"][0]["detail"]


def test_a_quarantined_version_that_is_mended_passes(
    deployment: Deployment, profile: Profile
) -> None:
    damage(profile, "v2")
    with pytest.raises(DamagedDataError):
        deployment.deploy("v2")
    release(profile, 2)
    with pytest.raises(InvalidValueError, match="did not pass"):
        deployment.deploy("v2")
    passed(profile, "v2")
    assert label(deployment.deploy("v2")) == "v2"


def test_rolling_back_passes_over_what_is_damaged(deployment: Deployment, profile: Profile) -> None:
    for ref in ("v1", "v2", "v3"):
        deployment.deploy(ref)
    damage(profile, "v2")
    with pytest.raises(DamagedDataError, match="v2"):
        deployment.rollback()
    assert label(deployment.active()) == "v3"
    assert label(deployment.rollback()) == "v1"


def test_an_active_version_that_fails_its_check_answers_no_longer(
    deployment: Deployment, profile: Profile
) -> None:
    version = deployment.deploy("v1")
    assert version is not None
    damage(profile, "v1")
    assert not gate.check(profile, version).passed
    assert deployment.active() is None
    assert deployment.history()[-1].action == "fallback"
    with pytest.raises(InvalidValueError, match="nothing to roll back"):
        deployment.rollback()


def test_numbers_that_are_not_finite_are_found(profile: Profile) -> None:
    tensors = adapter()
    tensors[tensor_names(PATHS[1])[1]][3, 2] = float("inf")
    version = Registry(profile).release(tensors, manifest_for(tensors))
    report = gate.examine(profile, version)
    assert not report.passed
    assert "not finite" in report.reason


def test_numbers_of_another_format_are_found(profile: Profile) -> None:
    for dtype in (torch.float64, torch.bfloat16):
        tensors = {name: each.to(dtype) for name, each in adapter().items()}
        version = Registry(profile).release(tensors, manifest_for(tensors))
        assert not gate.examine(profile, version).passed


@pytest.fixture
def trained_on(profile: Profile, tmp_path: Path) -> tuple[str, str]:
    """The hash of a base in a folder, and a run that was trained on it."""
    folder = make_llama(tmp_path / "tiny")
    run = Runs(profile.db).create(TrainingPlan(base=str(folder)))
    return inspect_base(folder, profile.home).base_hash, run.id


def test_shapes_are_compared_with_the_base_of_the_run(
    profile: Profile, trained_on: tuple[str, str]
) -> None:
    base_hash, run_id = trained_on
    for width, fits in ((32, True), (16, False)):
        tensors = adapter(width=width)
        manifest = manifest_for(tensors, base_hash, run_id=run_id)
        report = gate.examine(profile, Registry(profile).release(tensors, manifest))
        assert report.passed is fits
        assert report.checks[-1].name == "fits the base"
        assert report.checks[-1].passed is fits


def test_a_module_that_the_base_lacks_is_found(
    profile: Profile, trained_on: tuple[str, str]
) -> None:
    base_hash, run_id = trained_on
    down, up = tensor_names("model.layers.7.self_attn.q_proj")
    tensors = {down: torch.zeros(CONFIG.rank, 32), up: torch.zeros(32, CONFIG.rank)}
    manifest = manifest_for(tensors, base_hash, run_id=run_id)
    report = gate.examine(profile, Registry(profile).release(tensors, manifest))
    assert "layers.7" in report.reason


def test_where_the_base_is_not_here_the_report_says_so(profile: Profile) -> None:
    report = gate.examine(profile, release(profile))
    assert report.passed
    assert report.checks[-1].passed is None
    assert "not here" in report.checks[-1].detail
