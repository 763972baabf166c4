"""Runs one command and prints what its whole process tree has cost: `python -m medallion_bench.leg OUT COMMAND...`.

A process of its own, because the kernel counts the CPU of waited-for children: whoever outlives its parent (Spark's
JVM) is adopted here and waited for, too.
"""

import ctypes
import json
import os
import pathlib
import resource
import subprocess
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_SECONDS = 0.1
PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(root):
    """The pids below `root`."""
    children = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = pathlib.Path(entry.path, "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found, left = [], [root]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def resident(pids):
    """Resident bytes of the processes; memory that they share counts for each."""
    pages = 0
    for pid in pids:
        try:
            pages += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError, IndexError):
            continue
    return pages * PAGE


class Peak(threading.Thread):
    """Samples the tree's resident memory. The list of processes changes seldom, so it is made seldom."""

    def __init__(self):
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self):
        for turn in range(1 << 62):
            if turn % 10 == 0:
                pids = tree(os.getpid())
            self.bytes = max(self.bytes, resident(pids))
            time.sleep(SAMPLE_SECONDS)


def main(out, command):
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=open(out, "w"))
    peak = Peak()
    peak.start()
    code, high = None, 0
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        if pid == child.pid:
            code, wall = os.waitstatus_to_exitcode(status), time.monotonic() - began
        high = max(high, usage.ru_maxrss * 1024)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({
        "code": code, "wall_s": wall, "user_s": spent.ru_utime, "system_s": spent.ru_stime,
        "peak_rss_bytes": max(peak.bytes, high),
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
