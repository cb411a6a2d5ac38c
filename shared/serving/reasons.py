"""Why this process is not ready, in words: its readiness sets them, `/readyz` shows them.

Several workers pass them to their supervisor, which answers for them, in files beside their metrics.
"""

import os
from multiprocessing import current_process
from pathlib import Path

from shared.metrics import WORKERS_FOLDER

ENDING = ".reason"

# Of a process that answers for itself.
_own: dict[str, str] = {}


def tell(reason: str) -> None:
    """Sets why this process is not ready; "" if it is."""
    name = current_process().name
    folder = os.environ.get(WORKERS_FOLDER)
    if folder is None:
        _own[name] = reason
        return
    file = Path(folder, f"{name}{ENDING}")
    new = file.with_suffix(".new")
    new.write_text(reason)
    new.replace(file)


def forget(worker: str) -> None:
    """Drops the reasons of a dead worker."""
    Path(os.environ[WORKERS_FOLDER], f"{worker}{ENDING}").unlink(missing_ok=True)


def told() -> list[str]:
    """The distinct reasons of all processes that this one answers for."""
    folder = os.environ.get(WORKERS_FOLDER)
    reasons = _own.values() if folder is None else [file.read_text() for file in Path(folder).glob(f"*{ENDING}")]
    return sorted({reason for reason in reasons if reason})
