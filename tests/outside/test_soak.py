"""contrib/soak itself, for a few minutes; by hand it runs for hours."""

import os
import subprocess

import pytest

from harness import SOURCE, program


@pytest.mark.long
def test_F_F14_cycles_with_random_faults(record_property):
    """A short soak: the invariants hold, nothing grows."""
    done = subprocess.run(
        [SOURCE / "contrib/soak", "--minutes", "4", "--every", "8", "--seed", "20261122"],
        env={**os.environ, "TOCSIN": os.environ.get("TOCSIN_PLAIN", program())},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=1200)
    assert done.returncode == 0, done.stdout
    record_property("times", int(done.stdout.partition(" faults survived")[0].split()[-1]))
