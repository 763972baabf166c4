"""One command to its end: what it said, how long it took, and the most memory it had."""

import os
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20


class Done:
    """A command that succeeded."""

    def __init__(self, seconds, rss, cpu, out, err):
        self.seconds, self.rss, self.cpu, self.out, self.err = seconds, rss, cpu, out, err


def run(*command, cwd=None, env=None):
    """Runs it; one that fails ends the measurement. The memory is this process' own where that is larger, so it is kept small."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = subprocess.Popen(
            [str(part) for part in command], cwd=cwd, env={**os.environ, **(env or {})}, stdout=out, stderr=err
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {child.returncode}:\n{texts[1][-3000:]}")
    return Done(seconds, used.ru_maxrss * 1024, used.ru_utime + used.ru_stime, *texts)
