"""A program of the tests that obeys its standard input: a line of JSON for each
call, and a line for each event."""

import contextlib
import json
import os
import subprocess
import threading
import time
from pathlib import Path

from harness import PASSED_ON, refuse_sanitizer, tool, wait_for


class Probe:
    """probe("publish", 1, {...}) is a call; probe.next("confirmed") the next such event."""

    program = None		# its name in tests/outside

    def __init__(self, directory, number, env=()):
        own = {k: v for k, v in os.environ.items() if PASSED_ON.match(k)}
        self.errors = directory / f"errors-{number}"
        self.directory = directory
        self.events = []
        self.taken = 0
        with open(self.errors, "w") as stderr:
            self.process = subprocess.Popen(
                [tool(self.program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=stderr, text=True, cwd=directory, env={**own, **dict(env)})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append((time.monotonic(), json.loads(line)))

    def __call__(self, *command):
        self.say_all(command)

    def say_all(self, *commands):
        """Several calls in one turn of its loop."""
        self.process.stdin.write("".join(json.dumps(c) + "\n" for c in commands))
        self.process.stdin.flush()

    def next(self, event_name, timeout=10, /, **fields):
        """The next event of that name with those FIELDS; others are passed over."""
        def found():
            for i in range(self.taken, len(self.events)):
                event = self.events[i][1]
                if event["event"] == event_name and fields.items() <= event.items():
                    self.taken = i + 1
                    self.when = self.events[i][0]
                    return event
            assert self.process.poll() is None, self.errors.read_text()
        return wait_for(found, timeout, lambda: f"no {event_name!r} {fields}: {self.events[-20:]}")

    def seen(self, name):
        return [event for _, event in self.events if event["event"] == name]

    def log(self):
        return self.errors.read_text()

    def waited(self):
        """Seconds for which it was ready to run and had no processor."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9

    def leave(self):
        """Tell it to go."""
        self.process.stdin.close()

    def end(self):
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.leave()
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = "no end"
        self.reader.join()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        refuse_sanitizer(self.program, self.errors.read_text())
        assert status == 0, (status, self.errors.read_text())
