"""Child processes of the local stack: they die with us, log to a file, and are ready when a condition holds."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path

HOST = "127.0.0.1"
TETHER = Path(__file__).parent / "tether.py"
POLL_SECONDS = 0.02


class StartError(Exception):
    """A child did not start; the message names it and ends with the tail of its log."""


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections do not matter
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


# Below the ephemeral range, so that no outgoing connection takes one while its server is down; and so low that the
# cluster bus of a Redis (port + 10000) is below that range too. Each is handed out once, so that nobody gets a port
# whose server does not listen yet.
_PORTS = cycle(random.sample(range(10_000, 22_768), 12_768))


def free_port() -> int:
    """A free port that stays ours across restarts."""
    return next(port for port in _PORTS if port_is_free(port))


def wait_until(condition: Callable[[], bool], seconds: float, complaint: str) -> None:
    """Returns when the condition holds. Raises TimeoutError with the complaint when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{complaint} within {seconds:g} s")
        time.sleep(POLL_SECONDS)


class Child:
    """One command as a child process; restarts use the same command, port and data.

    Start it from a thread that outlives the child: the kernel kills it with the thread that forked it.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the last start. RuntimeError before the first."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process

    @property
    def pid(self) -> int:
        """The process id, even after the process has ended."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, seconds: float = 30.0) -> None:
        """Starts it and returns when it is ready. Raises StartError if that fails, and leaves nothing running."""
        self.launch()
        try:
            self.wait_until_ready(seconds)
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Starts it without waiting, in a session of its own, so that a terminal's Ctrl-C reaches only us."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        tether = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*tether, *self.command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ready(self) -> bool:
        """Whether it is ready. A server is asked; a plain command is ready at once."""
        return True

    def wait_until_ready(self, seconds: float) -> None:
        """Returns when `ready` holds. Raises StartError if it ends or is not ready in time."""
        self.wait_for(self.ready, seconds, "was not ready")

    def wait_for(self, condition: Callable[[], bool], seconds: float, complaint: str) -> None:
        """Returns when the condition holds. Raises StartError if the child ends or the time is over."""

        def holds() -> bool:
            if not self.running:
                raise StartError(f"{self.name} ended with exit code {self.process.returncode}. {self.tail()}")
            return condition()

        try:
            wait_until(holds, seconds, f"{self.name} {complaint}")
        except TimeoutError as late:
            raise StartError(f"{late}. {self.tail()}") from None

    def stop(self, seconds: float = 25.0) -> int:
        """Asks it to end (SIGTERM), kills it if it does not in time, and returns its exit code."""
        self.signal(signal.SIGTERM)
        self.resume()  # a paused process would never see the SIGTERM
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Kills it (SIGKILL) and returns its exit code."""
        self.signal(signal.SIGKILL)
        return self.process.wait()

    def wait(self, seconds: float) -> int:
        """Its exit code, if it ends by itself in time. Raises subprocess.TimeoutExpired otherwise."""
        return self.process.wait(seconds)

    def pause(self) -> None:
        """Pauses it (SIGSTOP): connections stay open and nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resumes a paused one (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, unless it has ended."""
        self.process.send_signal(number)

    def restart(self) -> None:
        """Stops it if it runs, and starts it again."""
        if self.running:
            self.stop()
        self.start()

    def output(self) -> str:
        """All its output so far, of all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 15) -> str:
        """The path of its log and its last lines."""
        return "\n  ".join([f"{self.log} ends with:", *self.output().splitlines()[-lines:]])
