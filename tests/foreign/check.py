"""Every operation of operations.py on every table, while medallion runs and while it does not."""

import argparse
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import operations
from deltalake import DeltaTable
from project import PIPELINE, TABLES, Project

FIRST, LAST = 300, 420
SURVIVED, STOPPED, REFUSED = "survived", "stopped, then mended", "refused by deltalake"
# Rows of bronze that no log knows of any more are nowhere else but in a copy.
UNMENDED = "stopped"
# delta.appendOnly keeps deltalake itself from it, so there is nothing for us to survive.
REFUSED_ON_BRONZE = {operations.delete, operations.update, operations.merge, operations.overwrite}


def expected(operation, table):
    if table == "bronze" and operation in REFUSED_ON_BRONZE:
        return REFUSED
    if table == "bronze" and operation is operations.restore_and_clean:
        return UNMENDED
    return SURVIVED if operation in operations.HARMLESS else STOPPED


class Case:
    def __init__(self, base, wanted, operation, table, when):
        self.base, self.wanted = base, wanted
        self.operation, self.table, self.when = operation, table, when
        self.expected = expected(operation, table)

    def run(self):
        folder = Path(tempfile.mkdtemp(prefix="medallion-foreign-"))
        try:
            return self.seen(self.base.copy(folder / "project"))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        finally:
            shutil.rmtree(folder)

    def seen(self, project):
        path = project.table(self.table)
        before = DeltaTable(path).version()
        running = None
        if self.when == "running":
            running = project.start()
            if not running.wait("the start", lambda: running.caught_up(FIRST)):
                return f"it ended at the start: {running.said()}"
            before = DeltaTable(path).version()
        try:
            self.operation(path)
        except Exception as error:
            if self.expected != REFUSED or "append" not in str(error).lower():
                raise
        else:
            if self.expected == REFUSED:
                return "done by deltalake"
        project.add_events(FIRST, LAST)
        if running:
            went_on = running.wait("the run", lambda: running.caught_up(LAST))
            code, said = (running.stop() if went_on else running.child.wait()), running.said()
        else:
            done = project.finish()
            code, said = done.returncode, done.stderr
        if self.expected in (STOPPED, UNMENDED):
            return self.stopped(project, code, said, before) or self.expected
        if code != 0:
            return f"exit {code}: {said}"
        return self.sound(project) or self.expected

    def sound(self, project):
        """What is wrong with the tables after all, none where nothing is."""
        done = project.finish()
        if done.returncode != 0:
            return f"afterwards exit {done.returncode}: {done.stderr}"
        audit = project.call("audit")
        if audit.returncode != 0:
            return f"audit: {audit.stdout} {audit.stderr}"
        rows = project.rows()
        return None if rows == self.wanted else f"other rows: {set(rows) ^ set(self.wanted)}"

    def stopped(self, project, code, said, before):
        """What is wrong with how it stopped and how it is mended, none where nothing is."""
        path = project.table(self.table)
        cleaned = self.operation is operations.restore_and_clean
        wanted = [f"{PIPELINE}/{TABLES[self.table]}", "next:"]
        if not cleaned:
            wanted.append("delta-rs:py")
        missing = [words for words in wanted if words not in said]
        if code != 1 or missing:
            return f"exit {code}, not said {missing}: {said}"
        version = DeltaTable(path).version()
        if self.when == "stopped":
            again = project.finish()
            if again.returncode != 1 or DeltaTable(path).version() != version:
                return f"the next run: exit {again.returncode}: {again.stderr}"
            if project.call("audit").returncode != 3:
                return "the audit found nothing"
        if cleaned and self.table == "bronze":
            return None
        if cleaned:
            mended = project.call("replay", "gold" if self.table in ("gold", "late") else "silver", "--yes")
            if mended.returncode != 0:
                return f"replay: {mended.stderr}"
            # A replay closes windows by what it knows at the end, so rows are compared by the audit alone.
            done = project.finish()
            return None if done.returncode == project.call("audit").returncode == 0 else f"replayed: {done.stderr}"
        DeltaTable(path).restore(self.before_harm(path, before), protocol_downgrade_allowed=True)
        return self.sound(project)

    def before_harm(self, path, before):
        """The version that the operation found: we may have committed between looking and doing."""
        for entry in reversed(DeltaTable(path).history()):
            ours = "medallion" in entry.get("engineInfo", "")
            if entry["version"] > before and not ours:
                return entry["version"] - 1
        raise AssertionError(f"{path} has no commit of deltalake")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--project", required=True, help="where the shipped definitions are")
    parser.add_argument("--medallion", required=True, help="the binary")
    parser.add_argument("--only", default="", help="cases whose `operation table when` contains this")
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="medallion-foreign-") as folder:
        base = Project.new(Path(folder) / "base", str(Path(options.medallion).resolve()), options.project)
        base.add_events(0, FIRST)
        first = base.call("run", "--once")
        assert first.returncode == 0, first.stderr
        undisturbed = base.copy(Path(folder) / "undisturbed")
        undisturbed.add_events(FIRST, LAST)
        assert undisturbed.finish().returncode == 0
        wanted = undisturbed.rows()
        cases = [
            Case(base, wanted, operation, table, when)
            for operation in operations.HARMLESS + operations.HARMFUL
            for table in TABLES
            for when in ("running", "stopped")
        ]
        cases = [case for case in cases if options.only in f"{case.operation.__name__} {case.table} {case.when}"]
        assert cases, f"no case is named {options.only!r}"
        differ = 0
        print(f"{'operation':19} {'table':8} {'when':8} {'expected':21} seen", flush=True)
        with ThreadPoolExecutor(options.workers) as pool:
            for case, saw in zip(cases, pool.map(Case.run, cases)):
                mark = "" if saw == case.expected else "  <-- DIFFERS"
                differ += saw != case.expected
                name = case.operation.__name__
                print(f"{name:19} {case.table:8} {case.when:8} {case.expected:21} {saw}{mark}", flush=True)
    print(f"foreign hands: {len(cases)} cases, {differ} differ, {time.monotonic() - begun:.0f} s")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
