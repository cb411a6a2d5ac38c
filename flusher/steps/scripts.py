"""The flusher's Lua scripts. Sent in full each time: a few hundred bytes, and no script cache to depend on."""

from importlib import resources

from shared.stores.redis_connection import Command

_FOLDER = resources.files(__package__)
LOCK = _FOLDER.joinpath("lock.lua").read_text()
RELEASE = _FOLDER.joinpath("release.lua").read_text()
SIZES = _FOLDER.joinpath("sizes.lua").read_text()
CLEAR = _FOLDER.joinpath("clear.lua").read_text()
QUARANTINE = _FOLDER.joinpath("quarantine.lua").read_text()
MERGE_USERS = _FOLDER.joinpath("merge_users.lua").read_text()
FORGET = _FOLDER.joinpath("forget.lua").read_text()
REPLAY = _FOLDER.joinpath("replay.lua").read_text()
USERS_SAVED = _FOLDER.joinpath("users_saved.lua").read_text()


def call(script: str, names: list[str], *arguments: str | bytes | int) -> Command:
    """The command that runs `script` on the keys `names`."""
    return ("EVAL", script, len(names), *names, *arguments)
