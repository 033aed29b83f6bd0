#!/usr/bin/env python3
"""Snapshots of a clone in which PostgreSQL works, each cloned and started: is every one a database that lost nothing?

    STELLARIUM_BIN=build/release/tools tests/soak/database_snapshots.py [--snapshots 50] [--scale 5]

pgbench runs in the clone all the while. Of each snapshot a clone is mounted, a server recovers it, `pg_amcheck` compares every
index with its table, pgbench's own sums must agree, no transaction of the snapshot before may be missing, and after its end
`pg_checksums` reads every page. Needs root and the package postgresql; ends with 1 at the first thing that is wrong."""
import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import harness
from harness import Store

USER = "postgres"  # PostgreSQL refuses to run as root
# What every transaction of pgbench adds to four tables alike.
SUMS = """SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
                 (SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), 0) FROM pgbench_history),
                 (SELECT count(*) FROM pgbench_history)"""


def programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    harness.require(bool(found), "package postgresql is not installed")
    return found[-1].parent


class Database:
    def __init__(self, data: Path):
        self.bin, self.data = programs(), data
        self.sockets = Path(tempfile.mkdtemp(prefix="pg-"))
        shutil.chown(self.sockets, USER, USER)

    def command(self, program: str, *args) -> list[str]:
        return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", str(self.bin / program), *map(str, args)]

    def run(self, program: str, *args) -> str:
        done = subprocess.run(self.command(program, *args), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            log = self.sockets / "log"
            raise harness.Failed(f"{program} {args}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{log.read_text()[-3000:] if log.exists() else ''}")
        return done.stdout

    @contextlib.contextmanager
    def served(self):
        options = f"-c listen_addresses= -c unix_socket_directories={self.sockets}"
        self.run("pg_ctl", "-D", self.data, "-o", options, "-l", self.sockets / "log", "-w", "-t", "120", "start")
        try:
            yield
        finally:
            self.run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "-t", "120", "stop")
            shutil.rmtree(self.sockets)

    def sums(self) -> list[int]:
        return [int(word) for word in self.run("psql", "-h", self.sockets, "-XAtF", " ", "-c", SUMS, "postgres").split()]


def check(data: Path, transactions_before: int) -> int:
    """Recovers the database in `data`; returns how many transactions it has."""
    (data / "postmaster.pid").unlink()  # that of the server in the other clone, which runs
    database = Database(data)
    with database.served():
        *sums, transactions = database.sums()
        if len(set(sums)) != 1:
            raise harness.Failed(f"a transaction is there in part: {sums}")
        if transactions < transactions_before:
            raise harness.Failed(f"{transactions} transactions, and {transactions_before} in the snapshot before")
        database.run("pg_amcheck", "-h", database.sockets, "--install-missing", "--heapallindexed", "--rootdescend", "-d", "postgres")
    database.run("pg_checksums", "--check", "-D", data)
    return transactions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshots", type=int, default=50)
    parser.add_argument("--scale", type=int, default=5, help="× 100,000 accounts, 15 MB")
    options = parser.parse_args()
    harness.require_mounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended, too
    with Store() as store:
        os.chmod(store.root, 0o711)  # for USER
        (store.scratch / "image").mkdir()
        store.run("import", store.scratch / "image", "empty")
        store.run("clone", "empty", "web")
        with store.mounted("web") as mount:
            os.chmod(mount, 0o755)
            (mount / "data").mkdir(mode=0o700)
            shutil.chown(mount / "data", USER, USER)
            database = Database(mount / "data")
            database.run("initdb", "-D", database.data, "-A", "trust", "--data-checksums", "--no-sync")
            with database.served():
                database.run("pgbench", "-h", database.sockets, "-i", "-q", "-s", options.scale, "postgres")
                load = subprocess.Popen(database.command("pgbench", "-h", database.sockets, "-c", 8, "-j", 2, "-T", 36000, "postgres"), cwd="/",
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    transactions = snapshots(store, load, options.snapshots)
                finally:
                    load.terminate()
                    load.wait()
                *sums, last = database.sums()
                if len(set(sums)) != 1 or last < transactions:
                    raise harness.Failed(f"in the clone itself: {sums}, {last} transactions")
        store.run("fsck", "--deep")
    print(f"{options.snapshots} snapshots, each cloned, recovered and checked; {last} transactions meanwhile; fsck --deep is clean")


def snapshots(store: Store, load: subprocess.Popen, count: int) -> int:
    transactions = 0
    for number in range(count):
        time.sleep(0.3)
        if load.poll() is not None:
            raise harness.Failed("pgbench ended")
        started = time.monotonic()
        report = store.json("snapshot", "--freeze", f"web@s{number}")
        took = time.monotonic() - started
        if report["fuzzy"]:
            raise harness.Failed(f"fuzzy in spite of --freeze: {report['fuzzy']}")
        store.run("clone", f"web@s{number}", f"c{number}")
        with store.mounted(f"c{number}") as mount:
            transactions = check(mount / "data", transactions)
        store.run("rm", f"c{number}")
        print(f"snapshot {number}: {took * 1000:.0f} ms, {report['copied']['bytes'] >> 20} MiB of open files, {transactions} transactions", flush=True)
    return transactions


if __name__ == "__main__":
    main()
