"""Runs a program for capture and kills it, with its process group, when capture is gone, however that died.

Started as a file of its own by `command.Command`: standard input is a socket whose other end only capture holds, the
arguments are the program's. What it answers there: the error number of the start, 0 where it succeeded.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _kill_when_alone(group: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    _kill(group)


def _release_output() -> None:
    """Let the program's end be the end of its output."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def main(arguments: list[str]) -> int:
    """Run the program to its end; its exit status, 128 and the signal's number where one killed it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN: the program would inherit that
    try:
        program = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        os.write(0, str(error.errno).encode())
        return 127
    _release_output()
    threading.Thread(target=_kill_when_alone, args=(program.pid,), daemon=True).start()
    with contextlib.suppress(OSError):
        os.write(0, b"0")
    os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)  # not reaped yet: its number is nobody else's
    _kill(program.pid)
    status = program.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
