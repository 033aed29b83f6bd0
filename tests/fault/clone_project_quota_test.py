#!/usr/bin/env python3
"""The tests of quotas once more where the host's file system keeps them: ext4 with project quotas, mounted with prjquota.

Programs then write to a clone with a quota without a request to the server, and the kernel says EDQUOT."""
import errno
import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mount"))
import full_disk_test
import harness
import quota_test
import trees
import write_sites
from harness import Store

harness.require_mounts()
LABELLED = ("-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota")
OUTSIDE = Store()


def setUpModule():
    disk = full_disk_test.small_disk(OUTSIDE.scratch, *LABELLED, size=trees.GIB, mount="loop,prjquota")
    unittest.addModuleCleanup(OUTSIDE.__exit__)
    try:
        ProjectQuota.PARENT = disk.__enter__()
    except subprocess.CalledProcessError:
        print("cannot run here: this kernel has no project quotas for ext4 (CONFIG_QFMT_V2)", file=sys.stderr)
        OUTSIDE.__exit__()
        os._exit(harness.SKIPPED)
    unittest.addModuleCleanup(disk.__exit__, None, None, None)


class ProjectQuota(quota_test.Quota):
    def test_the_host_keeps_the_quota_and_no_write_comes_to_the_server(self):
        self.store.run("clone", "base", "web", "--quota", quota_test.LIMIT)
        self.assertEqual(self.store.json("quota", "web")["kept_by"], "host")
        with self.store.mounted("web") as mount:
            fd = os.open(mount / "filler", os.O_CREAT | os.O_WRONLY)
            self.assertEqual(write_sites.refusal(lambda _: os.write(fd, b"x" * trees.MIB)), errno.EDQUOT)
            os.close(fd)
            self.assertNotIn("WRITE", self.store.json("stats")["mounts"][0]["by_opcode"])
            self.assertLessEqual(self.used(), quota_test.LIMIT)
            self.assertGreater(self.used(), quota_test.LIMIT - quota_test.SLACK)


if __name__ == "__main__":
    harness.main()
