"""The environment and the double-click entry, as a machine with bare Python meets them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xeno import bootstrap

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bare_project(tmp_path: Path) -> Path:
    """A checkout without an environment."""
    for name in ("main.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, tmp_path)
    shutil.copytree(PROJECT / "xeno", tmp_path / "xeno", ignore=shutil.ignore_patterns("*.pyc"))
    return tmp_path


def _made_environment(project: Path, extras: list[str]) -> None:
    python = bootstrap.environment_python(project)
    python.parent.mkdir(parents=True)
    python.touch()
    stamp = {"requirements": bootstrap._requirements_hash(project), "extras": extras}
    (bootstrap.environment(project) / "xeno-setup.json").write_text(json.dumps(stamp))


def test_an_environment_is_ready_only_for_the_extras_it_was_made_with(bare_project: Path) -> None:
    assert not bootstrap.is_ready(bare_project)
    _made_environment(bare_project, ["test"])
    assert bootstrap.is_ready(bare_project)
    assert bootstrap.is_ready(bare_project, ("test",))
    assert not bootstrap.is_ready(bare_project, ("federation",))


def test_changed_requirements_make_the_environment_stale(bare_project: Path) -> None:
    _made_environment(bare_project, [])
    with (bare_project / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert not bootstrap.is_ready(bare_project)


def test_a_damaged_stamp_means_not_ready(bare_project: Path) -> None:
    _made_environment(bare_project, [])
    (bootstrap.environment(bare_project) / "xeno-setup.json").write_text("[]")
    assert not bootstrap.is_ready(bare_project)


def test_a_failed_install_says_what_pip_said(bare_project: Path) -> None:
    (bare_project / "pyproject.toml").write_text("[project")
    said: list[str] = []
    with pytest.raises(bootstrap.SetupError, match="could not be installed"):
        bootstrap.make_environment(bare_project, (), said.append)
    assert not bootstrap.is_ready(bare_project)


def test_a_double_click_without_environment_or_terminal_says_what_to_run(
    bare_project: Path,
) -> None:
    outside = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        # -S hides the packages of the interpreter that runs the tests: a bare Python.
        [sys.executable, "-S", "main.py"],
        cwd=bare_project,
        env=outside,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "make setup" in done.stderr
    assert "Traceback" not in done.stderr
