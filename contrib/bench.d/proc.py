"""What processes cost, as /proc tells it."""

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """Of a process: its fields from the state on; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def family(root):
    """ROOT and all its descendants."""
    children = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if fields := stat(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu(*roots):
    """Seconds of CPU that these and their descendants have used, the dead
    that were buried among them."""
    ticks = 0
    for pid in {pid for root in roots for pid in family(root)}:
        if fields := stat(pid):
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICK


def awake(root):
    """Of these processes' threads, finer than ticks: the seconds that they ran,
    and how often they woke up."""
    ran = woken = 0
    for pid in family(root):
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                ran += int((task / "schedstat").read_text().split()[0])
                woken += sum(int(line.split()[1]) for line in open(task / "status")
                             if line.startswith("voluntary_ctxt_switches"))
            except OSError:
                pass
    return ran / 1e9, woken


def machine():
    """Seconds of CPU that anybody has used since the machine came up, and what
    its host took away from it."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


def memory(pid, field):
    """A field of a process's status in KiB; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def peak(*roots):
    """MiB: the sum of each process's own peak, so shared pages count often."""
    return sum(memory(pid, "VmHWM") for root in roots for pid in family(root)) / 1024


def resident(*roots):
    return sum(memory(pid, "VmRSS") for root in roots for pid in family(root)) / 1024


def shared_once(*roots):
    """MiB resident, each page divided by those who share it."""
    total = 0
    for root in roots:
        for pid in family(root):
            try:
                with open(f"/proc/{pid}/smaps_rollup") as f:
                    total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
            except OSError:
                pass
    return total / 1024
