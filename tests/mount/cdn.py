"""Web servers of a test's own, on loopback ports: a good one (nginx), one that does what servers do wrong, and a line between them and
whoever asks. Each is a context manager, and gone afterwards.

    with Nginx(folder) as nginx: nginx.url, nginx.ca, nginx.log()
    with FaultyOrigin(folder, busy=0.2, cut=0.05) as origin: origin.url
    with Link(nginx.port, round_trip=0.05, rate=12_500_000) as link: nginx.url_by(link)"""
import asyncio
import collections
import contextlib
import http.server
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from harness import Failed, require

Line = collections.namedtuple("Line", "method path status bytes range protocol connection")


def require_nginx() -> None:
    for program in ("nginx", "openssl"):
        require(find_program(program) is not None, f"{program} is not installed (tools/packages test)")


def find_program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Authority:
    """Makes certificates: its own, and those that it signs."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        self.certificate = folder / "authority.crt"
        self._openssl("req", "-x509", *self._new_key("authority"), "-subj", "/CN=tests of this checkout", "-days", "7",
                      "-addext", "keyUsage=critical,keyCertSign", "-out", self.certificate)

    def sign(self, name: str, extension: str, days: int = 7) -> tuple[Path, Path]:
        """A certificate and its key. With less than 0 `days` it is over."""
        request, extensions, certificate = (self.folder / f"{name}.{end}" for end in ("csr", "ext", "crt"))
        extensions.write_text(extension + "\nbasicConstraints=CA:FALSE\n")
        self._openssl("req", "-new", *self._new_key(name), "-subj", f"/CN={name}", "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "authority.key", "-CAcreateserial",
                      "-days", days, "-extfile", extensions, "-out", certificate)
        return certificate, self.folder / f"{name}.key"

    def _new_key(self, name: str) -> tuple:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.folder / f"{name}.key")

    @staticmethod
    def _openssl(*args) -> None:
        done = subprocess.run(["openssl", *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"openssl {args[0]}: {done.stderr}")


class Nginx:
    """A static web server over HTTPS and HTTP/2, which counts what it is asked for.

    `locations`: more of nginx's configuration, within the server. `asks_for_certificates`: only who has one of `client` may read."""
    CONFIGURATION = """
        {user} daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/error.log warn;
        events {{ worker_connections 1024; }}
        http {{
          default_type application/octet-stream; sendfile on; tcp_nodelay on; server_tokens off;
          keepalive_requests 1000000; http2_max_concurrent_streams 128;
          client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi;
          uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
          log_format counted "$request_method $uri $status $body_bytes_sent $http_range $server_protocol $connection";
          access_log {work}/access.log counted;
          server {{
            listen 127.0.0.1:{port} ssl http2; server_name localhost; root "{folder}";
            ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
            {trust}
            {locations}
          }}
        }}
        """

    def __init__(self, folder: Path, *, locations: str = "", asks_for_certificates: bool = False, expired: bool = False):
        self.work = Path(tempfile.mkdtemp(prefix="stellarium-nginx-"))
        authority = Authority(self.work / "tls")
        self.ca = authority.certificate
        certificate, key = authority.sign("localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1", days=-1 if expired else 7)
        self.client = authority.sign("client", "extendedKeyUsage=clientAuth")
        trust = f"ssl_client_certificate {self.ca}; ssl_verify_client on;" if asks_for_certificates else ""
        for _ in range(5):  # somebody else may take the port in between
            self.port = free_port()
            (self.work / "nginx.conf").write_text(self.CONFIGURATION.format(
                user="user root;" if os.geteuid() == 0 else "", work=self.work, port=self.port, folder=folder, certificate=certificate,
                key=key, trust=trust, locations=locations))
            self.process = subprocess.Popen([find_program("nginx"), "-p", self.work, "-e", self.work / "error.log", "-c", self.work / "nginx.conf"],
                                            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._answers():
                return
        raise Failed(f"nginx does not start: {(self.work / 'error.log').read_text()}")

    def _answers(self) -> bool:
        while self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return self.process.poll() is None
            time.sleep(0.01)
        return False

    def __enter__(self) -> "Nginx":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)
        shutil.rmtree(self.work, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @staticmethod
    def url_by(link: "Link") -> str:
        return f"https://localhost:{link.port}"

    def log(self) -> list[Line]:
        """What it was asked for, once that has been written: a line comes after its answer."""
        before = -1
        while (size := (self.work / "access.log").stat().st_size) != before:
            before = size
            time.sleep(0.05)
        lines = []
        for line in (self.work / "access.log").read_text().splitlines():
            method, path, status, count, asked, protocol, connection = line.split()
            lines.append(Line(method, path, int(status), int(count), asked, protocol, connection))
        return lines

    def forget(self) -> None:
        """Begins to count anew."""
        self.log()
        os.truncate(self.work / "access.log", 0)


class FaultyOrigin:
    """A web server (HTTP/1.1, ranges) that does to a share of its answers what servers and networks do: `busy` (503), `cut` (ends within
    the body), `flipped` (one wrong byte), `late` (by `delay` seconds). The shares may be changed at any time, and so may `dead`: then
    nobody listens. The same seed and order of requests make the same faults."""

    def __init__(self, folder: Path, *, busy: float = 0, cut: float = 0, flipped: float = 0, late: float = 0, delay: float = 0.5,
                 dead: bool = False, seed: int = 1):
        self.folder, self.busy, self.cut, self.flipped, self.late, self.delay = folder, busy, cut, flipped, late, delay
        self.requests = collections.Counter()  # by what was done to them
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._server = None
        self._held = socket.socket()  # nobody else gets the port while this one is dead
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port = self._held.getsockname()[1]
        self.dead = dead

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def dead(self) -> bool:
        return self._server is None

    @dead.setter
    def dead(self, dead: bool) -> None:
        if dead == self.dead:
            return
        if dead:
            self._server.shutdown()
            self._server.server_close()
            self._server.end_connections()
            self._server = None
        else:
            self._server = _FaultyServer(self)
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> "FaultyOrigin":
        return self

    def __exit__(self, *_) -> None:
        self.dead = True
        self._held.close()

    def fault(self) -> tuple[str, float]:
        """What to do to the next answer, and a place in it (0 … 1)."""
        with self._lock:
            drawn, place, done = self._random.random(), self._random.random(), "none"
            for name in ("busy", "cut", "flipped", "late"):
                share = getattr(self, name)
                if 0 <= drawn < share:
                    done = name
                drawn -= share
            self.requests[done] += 1
            return done, place


class _FaultyServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = True
    request_queue_size = 128

    def __init__(self, origin: FaultyOrigin):
        self.origin = origin
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", origin.port), _FaultyAnswer, bind_and_activate=False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.server_bind()
        self.server_activate()

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)  # the base class asks for the host's name

    def handle_error(self, *_) -> None:
        pass  # clients that went away

    def get_request(self):
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _FaultyAnswer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    RANGE = re.compile(r"bytes=(\d+)-(\d*)")

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        fault, place = self.server.origin.fault()
        if fault == "busy":
            return self.answer(503, b"")
        if fault == "late":
            time.sleep(self.server.origin.delay)
        file = self.server.origin.folder / self.path.lstrip("/")
        if ".." in file.parts or not file.is_file():
            return self.answer(404, b"")
        total = file.stat().st_size
        asked = self.RANGE.fullmatch(self.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2] or total - 1)) if asked else (0, total - 1)
        if asked and first >= total:
            return self.answer(416, b"")
        last = min(last, total - 1)
        with file.open("rb") as content:
            content.seek(first)
            body = bytearray(content.read(last - first + 1))
        if fault == "flipped" and body:
            body[int(place * len(body))] ^= 1
        part = {"Content-Range": f"bytes {first}-{last}/{total}"} if asked else {}
        self.answer(206 if asked else 200, body, sent=int(place * len(body)) if fault == "cut" else None, **part)

    def answer(self, status: int, body: bytes, sent: int | None = None, **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if sent is None else body[:sent])
        self.close_connection = self.close_connection or sent is not None


class Link:
    """A line of a length and a width to a port of this host: what comes in leaves half a round trip later, at most `rate` bytes a second
    each way over all connections; a connection takes a round trip to be made, and ends within what it carries after `cut_after` bytes. After
    `freeze_after` bytes over all connections it carries nothing any more, and says nothing of it."""
    PIECE, PIECES = 64 << 10, 64  # how much it holds of each connection, each way

    def __init__(self, port: int, *, round_trip: float = 0.05, rate: float = 12_500_000, cut_after: int | None = None,
                 freeze_after: int | None = None):
        self.target, self.round_trip, self.rate, self.cut_after = port, round_trip, rate, cut_after
        self.freeze_after = freeze_after
        self.bytes = 0  # towards whoever asks
        self._free = [0.0, 0.0]  # when each way is free again
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0, limit=self.PIECE))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # they close in the loop's next round

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target, limit=self.PIECE)
            self._writers.append(back)
            await asyncio.sleep(self.round_trip)
            await asyncio.gather(self._carry(reader, back, 0), self._carry(there, writer, 1))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: int) -> None:
        held: asyncio.Queue = asyncio.Queue(self.PIECES)
        delivering = asyncio.ensure_future(self._deliver(held, target))
        piece, carried = b"?", 0
        while piece:
            try:
                piece = await source.read(self.PIECE)
            except OSError:
                piece = b""
            if way == 1 and self.cut_after is not None:
                piece = piece[:self.cut_after - carried]
                carried += len(piece)
            if self.freeze_after is not None and self.bytes > self.freeze_after:
                await asyncio.Event().wait()  # until it is cancelled
            self._free[way] = max(self._free[way], time.monotonic()) + len(piece) / self.rate
            self.bytes += len(piece) if way == 1 else 0
            await held.put((self._free[way] + self.round_trip / 2, piece))
        await delivering

    @staticmethod
    async def _deliver(held: asyncio.Queue, target: asyncio.StreamWriter) -> None:
        """Nothing is the end."""
        while True:
            due, piece = await held.get()
            await asyncio.sleep(due - time.monotonic())
            if not piece:
                return target.close()
            with contextlib.suppress(OSError):  # of who is gone, what is still to come is dropped
                target.write(piece)
                await target.drain()
