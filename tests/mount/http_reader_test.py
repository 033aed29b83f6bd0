#!/usr/bin/env python3
"""Reads through HttpReader (tests/mount/http_fetch.cpp) from real web servers: nginx over HTTPS, servers with faults, a long line."""
import json
import random
import subprocess
import tempfile
import unittest
from pathlib import Path

from cdn import Authority, FaultyOrigin, Link, Nginx, require_nginx
from harness import BIN, SANITIZED, Failed, main, require

PROGRAM = BIN.parent / "tests" / "mount" / "http_fetch"
COUNT = 500 if SANITIZED else 2000


class Fetched:
    """What http_fetch said."""

    def __init__(self, folder: Path, *options: str, **named):
        words = [str(PROGRAM), str(folder), *options, *(f"{name}={value}" for name, value in named.items())]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        self.text = done.stdout + done.stderr
        self.code = done.returncode
        if not done.stdout:
            raise Failed(f"{words}: {done.returncode}: {done.stderr[-4000:]}")
        for name, value in json.loads(done.stdout).items():
            setattr(self, name, value)

    @property
    def rate(self) -> float:
        return self.bytes / self.seconds / 1e6


class HttpReader(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="stellarium-cdn-")
        cls.folder = Path(cls.temporary.name) / "served"
        (cls.folder / "blobs").mkdir(parents=True)
        source = random.Random(7)
        for n in range(40):
            (cls.folder / "blobs" / f"{n:02}").write_bytes(source.randbytes(source.randrange(1, 400_000)))
        cls.nginx = cls.enterClassContext(Nginx(cls.folder, locations="location /plain/ { return 302 http://localhost:1/x; }"))

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def all_arrives(self, *options: str, **named) -> Fetched:
        fetched = Fetched(self.folder, *options, **named)
        self.assertEqual((fetched.code, fetched.errors), (0, []), fetched.text)
        return fetched

    def error(self, *options: str, **named) -> str:
        fetched = Fetched(self.folder, *options, **named)
        self.assertEqual((fetched.code, len(fetched.errors)), (1, 1), fetched.text)
        return fetched.errors[0]

    def test_many_ranges_share_a_few_connections(self):
        self.nginx.forget()
        fetched = self.all_arrives(f"origin={self.nginx.url}", ca=self.nginx.ca, count=COUNT)
        lines = self.nginx.log()
        self.assertEqual({line.protocol for line in lines}, {"HTTP/2.0"})
        self.assertEqual({line.status for line in lines}, {206})
        self.assertEqual(len(lines), fetched.requests)
        self.assertLessEqual(len(lines), COUNT * 1.06 + 8)  # hedges
        self.assertLessEqual(len({line.connection for line in lines}), 1 + fetched.hedges)
        self.assertEqual(fetched.retries, 0)

    def test_everything_arrives_where_the_server_ends_connections_after_some_requests(self):
        with Nginx(self.folder, locations="keepalive_requests 100;") as nginx:
            self.all_arrives(f"origin={nginx.url}", ca=nginx.ca, count=COUNT)
            self.assertGreaterEqual(len({line.connection for line in nginx.log()}), COUNT // 100)

    def test_whole_objects_arrive(self):
        self.all_arrives(f"origin={self.nginx.url}", ca=self.nginx.ca, count=100, whole=1)

    def test_everything_arrives_from_servers_with_faults(self):
        with FaultyOrigin(self.folder, dead=True) as dead, FaultyOrigin(self.folder, busy=0.2, cut=0.05) as faulty:
            fetched = self.all_arrives(f"origin={dead.url}", f"origin={faulty.url}", count=COUNT)
            self.assertGreater(fetched.refused, COUNT * 0.15)
            self.assertGreater(fetched.cut_short, COUNT * 0.02)
            self.assertLess(faulty.requests.total(), COUNT * 1.5)

    def test_a_dead_origin_costs_a_few_requests(self):
        with FaultyOrigin(self.folder, dead=True) as dead:
            fetched = self.all_arrives(f"origin={dead.url}", f"origin={self.nginx.url}", ca=self.nginx.ca, count=COUNT)
            self.assertLess(fetched.retries, 60)  # what was under way before it was known

    def test_wrong_bytes_are_replaced_from_elsewhere(self):
        with FaultyOrigin(self.folder, flipped=0.1) as faulty:
            fetched = self.all_arrives(f"origin={faulty.url}", f"origin={self.nginx.url}", ca=self.nginx.ca, count=COUNT // 4)
            self.assertGreater(fetched.distrusted, 0)
            self.assertLessEqual(fetched.distrusted, faulty.requests["flipped"])  # some were overtaken

    def test_late_answers_are_overtaken(self):
        with FaultyOrigin(self.folder, late=0.02, delay=20) as faulty:
            fetched = self.all_arrives(f"origin={faulty.url}", f"origin={self.nginx.url}", ca=self.nginx.ca, count=COUNT // 4, parallel=4)
            self.assertGreater(fetched.hedges, 0)
            self.assertLess(fetched.seconds, 15)

    def test_a_server_without_a_certificate_of_the_authority_is_not_trusted(self):
        other = Authority(Path(self.temporary.name) / "other").certificate
        self.assertRegex(self.error(f"origin={self.nginx.url}", ca=other), "is not trusted .*name the file of the certificates")
        self.assertRegex(self.error(f"origin={self.nginx.url}"), "is not trusted")

    def test_a_certificate_that_is_over_is_not_trusted(self):
        with Nginx(self.folder, expired=True) as nginx:
            self.assertRegex(self.error(f"origin={nginx.url}", ca=nginx.ca), "is not trusted .*expired")

    def test_everything_arrives_where_connections_are_cut(self):
        with Link(self.nginx.port, round_trip=0.001, rate=1e9, cut_after=1_000_003) as link:
            fetched = self.all_arrives(f"origin={self.nginx.url_by(link)}", ca=self.nginx.ca, count=COUNT)
            self.assertGreater(fetched.cut_short, COUNT // 200)

    def test_an_origin_that_freezes_holds_nothing_up_for_long(self):
        with Link(self.nginx.port, round_trip=0.001, rate=1e9, freeze_after=2_000_000) as link:
            fetched = self.all_arrives(f"origin={self.nginx.url_by(link)}", f"origin={self.nginx.url}", ca=self.nginx.ca, count=COUNT, window=1000)
            self.assertGreater(fetched.hedges + fetched.timed_out, 0)
            self.assertLess(fetched.seconds, 10)
        print(f"with an origin that freezes: {fetched.seconds:.1f} s, {fetched.retries} retries, {fetched.hedges} hedges, {fetched.timed_out} timed out")

    def test_a_client_shows_its_certificate(self):
        with Nginx(self.folder, asks_for_certificates=True) as nginx:
            certificate, key = nginx.client
            self.all_arrives(f"origin={nginx.url}", ca=nginx.ca, certificate=certificate, key=key, count=10)
            self.assertRegex(self.error(f"origin={nginx.url}", ca=nginx.ca), "answers 400")

    def test_a_redirect_does_not_leave_https(self):
        self.assertRegex(self.error(f"origin={self.nginx.url}/plain", ca=self.nginx.ca), "redirects from https:// to http://localhost")

    def test_secrets_are_in_no_output(self):
        token = Path(self.temporary.name) / "token"
        token.write_text("c0ffee-secret\n")
        with FaultyOrigin(self.folder, busy=1) as busy:
            fetched = Fetched(self.folder, f"origin={busy.url}", f"origin={self.nginx.url}/none", ca=self.nginx.ca, token=token, bound=1000)
        self.assertNotIn("secret", fetched.text)
        self.assertEqual(len(fetched.errors), 1)

    def test_a_long_line_is_filled(self):
        large = Path(self.temporary.name) / "large"
        large.mkdir()
        (large / "object").write_bytes(random.Random(8).randbytes(8 << 20))
        with Nginx(large) as nginx:
            with Link(nginx.port, round_trip=0.05, rate=12_500_000) as link:
                over_line = Fetched(large, f"origin={nginx.url_by(link)}", ca=nginx.ca, count=100, size=256 << 10)
            near = Fetched(large, f"origin={nginx.url}", ca=nginx.ca, count=64, size=8 << 20, parallel=4)
        self.assertEqual((over_line.errors, near.errors), ([], []))
        print(f"over 100 Mbit/s and 50 ms: {over_line.rate:.1f} MB/s of 12.5; from nginx on this host, 8 MiB each: {near.rate:.0f} MB/s")
        if not SANITIZED:
            self.assertGreater(over_line.rate, 6)


if __name__ == "__main__":
    require_nginx()
    require(PROGRAM.exists(), f"{PROGRAM} is not built")
    main()
