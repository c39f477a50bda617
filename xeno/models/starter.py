"""Where the small model that ships with XENO lies."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from xeno.errors import BaseModelError


def starter_folder() -> Path:
    """The folder of the starter model.

    Raises:
        BaseModelError: if this installation holds no starter model.
    """
    folder = Path(str(resources.files("resources").joinpath("starter-model")))
    if not (folder / "config.json").is_file():
        raise BaseModelError(
            "The starter model is not part of this installation.",
            f"There is no model in {folder}.",
            "Install XENO again, or choose the folder of another base model.",
        )
    return folder
