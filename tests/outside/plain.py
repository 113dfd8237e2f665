"""The program without sanitizers, and faults that need it: system calls, memory.

    from plain import Strace, plain  # noqa: F401

    def test_x(plain, cycles):           # the program is the plain one here
        with Strace(worker.pid, "inject=read:error=EINTR:when=1+3"):

contrib/check names the plain program in TOCSIN_PLAIN.
"""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import harness
from harness import Spawned, wait_for


def sanitized(path):
    return b"__asan_init" in Path(path).read_bytes()


@pytest.fixture
def plain(monkeypatch):
    """From here on the program is one that strace and a preloaded library suit."""
    if "TOCSIN_PLAIN" in os.environ:
        monkeypatch.setenv("TOCSIN", os.environ["TOCSIN_PLAIN"])
    elif sanitized(harness.program()):
        pytest.skip("a sanitizer is in the way, and TOCSIN_PLAIN names no other program")


class Strace:
    """Faults for a process that runs already; with children=True for what it starts, too."""

    def __init__(self, pid, *expressions, children=False):
        command = ["strace", "-qq", "-o", "/dev/null", "-e", "signal=none",
                   *(["-f"] if children else [])]
        for expression in expressions:
            calls = expression.split("=", 1)[1].split(":")[0]
            command += ["-e", "trace=" + calls, "-e", expression]
        self.process = subprocess.Popen([*command, "-p", str(pid)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for(lambda: self._attached(pid), 20)

    def _attached(self, pid):
        assert self.process.poll() is None, self.process.stderr.read()
        return f"TracerPid:\t{self.process.pid}\n" in Path(f"/proc/{pid}/status").read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.process.stderr.close()


def spawn_by(tocsin, prefix, *args, env=None):
    """As tocsin.spawn(), by way of another command, which becomes the program."""
    spawned = Spawned([*prefix, harness.program(), *map(str, args)],
                      {**tocsin.env, **(env or {})}, tocsin.directory, next(tocsin._numbers))
    tocsin.spawned.append(spawned)
    return spawned


def status(pid, field):
    """A number of /proc/PID/status, such as VmHWM (in KiB)."""
    return int(re.search(rf"^{field}:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
