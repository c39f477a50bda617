"""Makes the environment XENO runs in. Standard library only: it runs before anything is installed.

`make setup` calls it on the command line; `main.py` calls it on a double click. The
environment is `.venv` beside this package, installed from `constraints.txt`. A stamp inside
it says from which requirements it was made, so that a second call is instant.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MINIMUM_PYTHON = (3, 11)
Say = Callable[[str], None]


class SetupError(Exception):
    """The environment could not be made; the text says why and what to do."""


def environment(project: Path = PROJECT) -> Path:
    """The folder of the environment."""
    return project / ".venv"


def environment_python(project: Path = PROJECT) -> Path:
    """The environment's interpreter, whether or not it exists yet."""
    if os.name == "nt":
        return environment(project) / "Scripts" / "python.exe"
    return environment(project) / "bin" / "python"


def is_ready(project: Path = PROJECT, extras: tuple[str, ...] = ()) -> bool:
    """Whether the environment was made from the present requirements, with all `extras`."""
    requirements, installed = _read_stamp(project)
    return (
        environment_python(project).exists()
        and requirements == _requirements_hash(project)
        and set(extras) <= set(installed)
    )


def make_environment(project: Path, extras: tuple[str, ...], say: Say) -> None:
    """Make or update the environment; `say` receives lines of progress.

    Raises:
        SetupError: with what went wrong and what to do.
    """
    if sys.version_info < MINIMUM_PYTHON:
        raise SetupError(
            f"XENO needs Python {MINIMUM_PYTHON[0]}.{MINIMUM_PYTHON[1]} or later, "
            f"this is {sys.version.split()[0]}. Install a later Python and start again."
        )
    extras = tuple(sorted({*extras, *_read_stamp(project)[1]}))
    if not environment_python(project).exists():
        say(f"Making the environment in {environment(project)}")
        try:
            venv.create(environment(project), with_pip=True, symlinks=os.name != "nt")
        except (OSError, subprocess.CalledProcessError) as error:
            raise SetupError(
                f"The environment could not be made ({error}). On Debian and Ubuntu install "
                "the package python3-venv; otherwise check that the disk has 3 GB free."
            ) from error
    say("Installing the packages (about 2 GB with PyTorch; a few minutes the first time)")
    target = "." if not extras else f".[{','.join(extras)}]"
    _pip(project, ["install", "--constraint", "constraints.txt", "--editable", target], say)
    _write_stamp(project, extras)
    say("The environment is ready.")


def _pip(project: Path, arguments: list[str], say: Say) -> None:
    command = [str(environment_python(project)), "-m", "pip", "--disable-pip-version-check"]
    command += [*arguments, "--no-input", "--progress-bar", "off"]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        last_lines: list[str] = []
        for line in process.stdout:
            line = line.rstrip()
            last_lines = [*last_lines[-14:], line]
            if line.startswith(("Collecting", "Downloading", "Installing", "Building")):
                say(line if len(line) < 110 else line[:107] + "...")
    if process.returncode != 0:
        raise SetupError(
            "The packages could not be installed. The last lines of pip were:\n  "
            + "\n  ".join(last_lines)
            + "\nCheck the network and the free disk space (3 GB), then start again; "
            "what is already there is kept."
        )


def _requirements_hash(project: Path) -> str:
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((project / name).read_bytes())
    # An editable install points at the project's folder: a moved project needs it anew.
    digest.update(str(project).encode())
    return digest.hexdigest()


def _stamp_path(project: Path) -> Path:
    return environment(project) / "xeno-setup.json"


def _read_stamp(project: Path) -> tuple[str, list[str]]:
    """The hash of the requirements the environment was made from, and its extras."""
    try:
        stamp = json.loads(_stamp_path(project).read_text(encoding="utf-8"))
        return str(stamp["requirements"]), [str(name) for name in stamp["extras"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "", []


def _write_stamp(project: Path, extras: tuple[str, ...]) -> None:
    temporary = _stamp_path(project).with_suffix(".part")
    stamp = {"requirements": _requirements_hash(project), "extras": list(extras)}
    temporary.write_text(json.dumps(stamp), encoding="utf-8")
    temporary.replace(_stamp_path(project))


def main(arguments: list[str] | None = None) -> int:
    """`python3 -m xeno.bootstrap [--extra NAME]...`: make the environment if it is not ready."""
    parser = argparse.ArgumentParser(prog="python3 -m xeno.bootstrap", description=__doc__)
    parser.add_argument("--extra", action="append", default=[], help="optional group, e.g. test")
    options = parser.parse_args(arguments)
    extras = tuple(options.extra)
    if is_ready(PROJECT, extras):
        return 0
    try:
        make_environment(PROJECT, extras, lambda line: print(line, flush=True))
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Start again to go on where it ended.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
