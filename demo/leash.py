"""`python -m demo.leash PARENT COMMAND...`: becomes the command, and has the kernel end it when the process PARENT is gone, however it went."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

SET_PARENT_DEATH_SIGNAL = 1  # Linux's PR_SET_PDEATHSIG; it stays set over exec


def main(arguments: list[str]) -> None:
    """Never returns: the command takes its place."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it went before the leash was on
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
