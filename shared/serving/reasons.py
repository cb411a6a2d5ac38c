"""Why this process is not ready, in words: told by its readiness, and said by `/readyz`.

Several workers tell their supervisor, which answers for them, by files beside their metrics.
"""

import os
from multiprocessing import current_process
from pathlib import Path

from shared.metrics import WORKERS_FOLDER

ENDING = ".reason"

# Of a process that answers for itself.
_own: dict[str, str] = {}


def tell(reason: str) -> None:
    """Says why this process is not ready; "" when it is."""
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
    """Drops what a dead worker told."""
    Path(os.environ[WORKERS_FOLDER], f"{worker}{ENDING}").unlink(missing_ok=True)


def told() -> list[str]:
    """The different reasons of all processes that this one answers for."""
    folder = os.environ.get(WORKERS_FOLDER)
    reasons = _own.values() if folder is None else [file.read_text() for file in Path(folder).glob(f"*{ENDING}")]
    return sorted({reason for reason in reasons if reason})
