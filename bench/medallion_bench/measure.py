"""The calibration kernel, and the measurement of one leg."""

import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import pyarrow

MIB = 1 << 20


class Calibration:
    """A fixed piece of work like the engines' own: zstd, hash and memcpy over text that compresses threefold or so."""

    def __init__(self, quick):
        words = [f"{random.Random(1).getrandbits(32):08x}{n}" for n in range(4096)]
        dice = random.Random(2)
        self.text = " ".join(dice.choices(words, k=300_000)).encode()[: 4 * MIB]
        self.turns = 20 if quick else 110
        self.codec = pyarrow.Codec("zstd", compression_level=1)

    def __call__(self):
        """CPU seconds of the kernel, and wall seconds: the difference is what others took from us."""
        wall, cpu = time.monotonic(), time.process_time()
        for _ in range(self.turns):
            self.codec.compress(self.text)
            hashlib.blake2b(self.text).digest()
            for _ in range(4):
                bytearray(self.text)
        return {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}


def size(directory):
    """Bytes and number of the files below a directory."""
    files = [path for path in pathlib.Path(directory).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files), len(files)


def run(command, cluster, work, environment=None, log="leg.log"):
    """Runs one command to its end. Returns its cost and what it printed."""
    out = work / "leg.out"
    broker = cluster.cpu_seconds()
    with open(work / log, "a") as errors:
        wrapper = [sys.executable, "-m", "medallion_bench.leg", str(out), *map(str, command)]
        done = subprocess.run(
            wrapper, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    if done.returncode != 0:
        raise SystemExit(f"the leg's wrapper failed, see {work / log}")
    cost = json.loads(done.stdout)
    cost["broker_s"] = cluster.cpu_seconds() - broker
    if cost["code"] != 0:
        tail = (work / log).read_text()[-3000:]
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {cost['code']}:\n{tail}")
    cost["cpu_s"] = cost["user_s"] + cost["system_s"]
    return cost, out.read_text()


def fresh(directory):
    """An empty directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
