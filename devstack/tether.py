"""Runs a command that dies with its parent: `python tether.py PARENT_PID COMMAND...`.

The kernel kills the command when the parent is gone, however it ended, so no server outlives a killed test run or a
closed terminal. This is a program of its own because Popen's `preexec_fn` may deadlock in a parent with threads.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, *command = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):  # it died before the request above, so the kernel will not send the signal
        sys.exit(f"the parent process {parent} is gone")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # many systems default to 1,024
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.execvp(command[0], command)  # noqa: S606  no shell is wanted: this process becomes the command
