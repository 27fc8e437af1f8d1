"""Fetching over real sockets from a server on this machine that misbehaves in every way a mirror can."""

import gzip
import hashlib
import io
import select
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness import data, download, editions
from harness.errors import HarnessError

PACKED = (data.SAMPLES / "german_credit" / "germancredit.csv.gz").read_bytes()
FILE = "germancredit.csv.gz"
REST = f"bytes={len(PACKED) // 2}-"  # what half a file leaves to ask for
ALTERED = gzip.compress(gzip.decompress(PACKED).replace(b"good", b"bad ", 1))
Answer = Callable[["Handler"], None]


class Mirror(ThreadingHTTPServer):
    """A server that gives its answers one by one, the last one ever after, and remembers what was asked."""

    daemon_threads = True
    scheme = "http"

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str | None]] = []  # path, Range
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        """The address of its root."""
        return f"{self.scheme}://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a client hangs up: clients do, here."""


class Handler(BaseHTTPRequestHandler):
    """Gives the mirror's next answer."""

    protocol_version = "HTTP/1.1"
    server: Mirror

    def do_GET(self) -> None:
        """Answer."""
        self.server.asked.append((self.path, self.headers["Range"]))
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def head(self, code: int, length: int, **headers: str) -> None:
        """Send the head of an answer."""
        self.send_response(code)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


def whole(handler: Handler, body: bytes = PACKED, *, ranges: bool = True) -> None:
    """The file, or the part asked for."""
    asked = handler.headers["Range"]
    start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and ranges else 0
    if start >= len(body):
        handler.head(416, 0)
    elif start:
        handler.head(206, len(body) - start, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
    else:
        handler.head(200, len(body))
    handler.wfile.write(body[start:])


def status(code: int) -> Answer:
    """An answer without the file."""
    return lambda handler: handler.head(code, 0)


def broken(handler: Handler) -> None:
    """Half of the file, and then the connection is cut."""
    handler.head(200, len(PACKED))
    handler.wfile.write(PACKED[: len(PACKED) // 2])
    handler.close_connection = True


def stalled(handler: Handler) -> None:
    """Half of the file, and then nothing more."""
    handler.head(200, len(PACKED))
    handler.wfile.write(PACKED[: len(PACKED) // 2])
    handler.wfile.flush()
    handler.server.closing.wait(20)


def dripping(handler: Handler) -> None:
    """The file, byte by byte: never so long without one that it is a stall."""
    handler.head(200, len(PACKED))
    for byte in PACKED:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        if handler.server.closing.wait(0.2):
            return


def redirect(url: str) -> Answer:
    """An answer that sends the client elsewhere."""
    return lambda handler: handler.head(302, 0, Location=url)


def endless(handler: Handler) -> None:
    """A body of unsaid length that does not end."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.closing.is_set():
        handler.wfile.write(bytes(1 << 16))


@pytest.fixture
def mirrors() -> Iterator[tuple[Mirror, Mirror]]:
    """Two mirrors; the second one is good unless told otherwise."""
    servers = Mirror(), Mirror()
    servers[1].answers = [whole]
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield servers
    for server in servers:
        server.closing.set()
        server.shutdown()
        server.server_close()


def fetch(
    root: Path,
    *servers: Mirror,
    attempts: int = 3,
    prefixes: tuple[str, ...] = (),
    files: tuple[str, ...] = (FILE,),
    progress: download.Progress = lambda *_: None,
) -> Path:
    """Fetch the German credit data, which is small, from these servers, which are the only ones that may be asked."""
    urls = tuple(server.url for server in servers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "SOURCES", {"german_credit": (urls, files)})
        patch.setattr(download, "PREFIXES", prefixes or urls)
        patch.setattr(download, "TIMEOUTS_S", (2, 1))
        patch.setattr(download, "SLOW_S", 1.0)
        patch.setattr(download, "ATTEMPTS", attempts)
        patch.setattr(download, "PAUSE_S", 0.01)
        return download.fetch("german_credit", progress, data_dir=root)


def refused(call: Callable[[], object]) -> str:
    """The one sentence of the error that the call must raise."""
    with pytest.raises(HarnessError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_fetched(root: Path) -> None:
    """The data set is found in the folder, and nothing else lies there but the lock."""
    assert data.find("german_credit", data_dir=root).where == root / "german_credit"
    assert [path.name for path in (root / "german_credit").iterdir()] == [Path(FILE).stem]
    assert [path.name for path in (root / ".parts").iterdir() if path.suffix != ".lock"] == []


def test_fetch_and_fetch_again(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """One request brings the file; when it is there, none is made."""
    seen: list[tuple[str, int, int | None]] = []
    folder = fetch(tmp_path, mirrors[1], progress=lambda *step: seen.append(step))
    assert folder == tmp_path / "german_credit"
    assert_fetched(tmp_path)
    assert seen[-1] == (FILE, len(PACKED), len(PACKED))
    assert fetch(tmp_path, mirrors[1]) == folder
    assert mirrors[1].asked == [(f"/{FILE}", None)]


@pytest.mark.parametrize("code", [503, 500, 429, 408])
def test_passing_errors_are_retried(tmp_path: Path, mirrors: tuple[Mirror, Mirror], code: int) -> None:
    """A mirror that is busy is asked again."""
    mirrors[0].answers = [status(code), status(code), whole]
    fetch(tmp_path, mirrors[0])
    assert_fetched(tmp_path)
    assert len(mirrors[0].asked) == 3


def test_other_errors_are_not_retried(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """A mirror that does not have the file is asked once, and named."""
    mirrors[0].answers = [status(404)]
    told = refused(lambda: fetch(tmp_path, mirrors[0]))
    assert f"127.0.0.1:{mirrors[0].server_port}: HTTP 404" in told
    assert str(tmp_path / "german_credit") in told
    assert len(mirrors[0].asked) == 1


@pytest.mark.parametrize(("fault", "fact"), [(broken, "the connection broke off"), (stalled, "no answer for 1 s")])
def test_resume(tmp_path: Path, mirrors: tuple[Mirror, Mirror], fault: Answer, fact: str) -> None:
    """What came before the fault is not asked for again; a fault that stays is told."""
    mirrors[0].answers = [fault, whole]
    started = time.monotonic()
    fetch(tmp_path, mirrors[0])
    assert time.monotonic() - started < 5
    assert_fetched(tmp_path)
    assert mirrors[0].asked == [(f"/{FILE}", None), (f"/{FILE}", REST)]
    mirrors[0].answers = [fault]
    assert fact in refused(lambda: fetch(tmp_path / "other", mirrors[0], attempts=1))


def test_resume_in_a_later_fetch(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """A fetch that failed leaves its part, and the next one goes on from there, on another mirror as well."""
    mirrors[0].answers = [broken]
    refused(lambda: fetch(tmp_path, mirrors[0], attempts=1))
    assert not (tmp_path / "german_credit").exists()
    fetch(tmp_path, mirrors[1])
    assert_fetched(tmp_path)
    assert mirrors[1].asked == [(f"/{FILE}", REST)]


def test_mirror_without_ranges(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """Where a mirror sends all of it again, all of it is taken again."""
    mirrors[0].answers = [broken, partial(whole, ranges=False)]
    fetch(tmp_path, mirrors[0])
    assert_fetched(tmp_path)
    assert [asked for _, asked in mirrors[0].asked] == [None, REST]


@pytest.mark.parametrize("left", [PACKED, b"something else", PACKED + b"and more"])
def test_left_over_part(tmp_path: Path, mirrors: tuple[Mirror, Mirror], left: bytes) -> None:
    """A part that is complete is used; a wrong one is thrown away and not held against the mirror."""
    part = tmp_path / ".parts" / "german_credit" / FILE
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    fetch(tmp_path, mirrors[1])
    assert_fetched(tmp_path)
    assert len(mirrors[1].asked) == (1 if left == PACKED else 2)


def test_wrong_part_of_a_file(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """A mirror that sends another part than was asked for is not believed."""
    wrong: Answer = lambda handler: handler.head(206, 0, Content_Range="bytes 0-9/10")  # noqa: E731 - one use
    mirrors[0].answers = [broken, wrong]
    told = refused(lambda: fetch(tmp_path, mirrors[0], attempts=2))
    assert "HTTP 206, 'bytes 0-9/10'" in told
    mirrors[0].answers = [broken, wrong, whole]
    fetch(tmp_path / "other", mirrors[0])
    assert_fetched(tmp_path / "other")
    assert [asked for _, asked in mirrors[0].asked[3:]] == [None, REST, None]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>please log in</html>", id="html"),
        pytest.param(ALTERED, id="altered"),
        pytest.param(PACKED[:-100], id="cut"),
        pytest.param(gzip.compress(bytes(30_000_000), 1), id="bomb"),
    ],
)
def test_wrong_content(tmp_path: Path, mirrors: tuple[Mirror, Mirror], body: bytes) -> None:
    """What is not the official content is never kept: the next mirror is asked, or the fetch fails."""
    mirrors[0].answers = [partial(whole, body=body)]
    refused(lambda: fetch(tmp_path, mirrors[0]))
    assert list(tmp_path.rglob("germancredit*")) == []
    fetch(tmp_path, *mirrors)
    assert_fetched(tmp_path)
    assert len(mirrors[0].asked) == 2


@pytest.mark.parametrize("flood", [endless, partial(whole, body=bytes(600_000))])
def test_size_is_bounded(tmp_path: Path, mirrors: tuple[Mirror, Mirror], flood: Answer) -> None:
    """Nothing larger than the file can be is taken, whether its length is said or not."""
    mirrors[0].answers = [flood]
    assert "more than 536,084 bytes" in refused(lambda: fetch(tmp_path, mirrors[0]))
    assert list(tmp_path.rglob("germancredit*")) == []


def test_dead_mirror(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """A mirror that does not answer the call is passed over, or told."""
    mirrors[0].shutdown()
    mirrors[0].server_close()
    assert "no connection" in refused(lambda: fetch(tmp_path, mirrors[0]))
    fetch(tmp_path, *mirrors)
    assert_fetched(tmp_path)


def test_redirect_to_another_address(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """A redirect is followed only to where we may speak."""
    mirrors[0].answers = [redirect(mirrors[1].url + FILE)]
    told = refused(lambda: fetch(tmp_path, mirrors[0]))
    assert "leads to an address" in told
    assert mirrors[1].asked == []
    fetch(tmp_path, mirrors[0], prefixes=(mirrors[0].url, mirrors[1].url))
    assert_fetched(tmp_path)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl, which makes the certificate, is not installed")
def test_redirect_from_https_to_http(tmp_path: Path, mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the settings users have: https is spoken, and a redirect to http is not followed."""
    secure, plain = mirrors
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 1 -subj /CN=test"
    subprocess.run([*request.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    secure.scheme = "https"
    assert "certificate" in refused(lambda: fetch(tmp_path, secure, attempts=1, prefixes=download.PREFIXES))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    secure.answers = [redirect(plain.url + FILE), whole]
    assert "https://" in refused(lambda: fetch(tmp_path, secure, attempts=1, prefixes=download.PREFIXES))
    assert plain.asked == []
    fetch(tmp_path, secure, attempts=1, prefixes=download.PREFIXES)
    assert_fetched(tmp_path)
    assert "https://" in refused(lambda: fetch(tmp_path / "other", plain, attempts=1, prefixes=download.PREFIXES))
    assert plain.asked == []


FETCH = """
import sys
from pathlib import Path
from harness import download
download.SOURCES, download.PREFIXES = {"german_credit": ((sys.argv[2],), (sys.argv[3],))}, (sys.argv[2],)
download.fetch("german_credit", lambda *told: print(*told, flush=True), data_dir=Path(sys.argv[1]))
"""


def test_two_at_once(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """Of two processes that fetch one data set into one folder, the second waits, says so, and finds the work done."""
    go_on = threading.Event()

    def slow(handler: Handler) -> None:
        go_on.wait(30)
        whole(handler)

    mirrors[0].answers = [slow]
    typed = [sys.executable, "-c", FETCH, str(tmp_path), mirrors[0].url, FILE]
    with ExitStack() as stack:
        first, second = (stack.enter_context(subprocess.Popen(typed, stdout=subprocess.PIPE, text=True)) for _ in range(2))
        waits, _, _ = select.select([first.stdout, second.stdout], [], [], 60.0)
        assert waits[0].readline().startswith("waits for another fetch")
        go_on.set()
        assert [first.wait(30), second.wait(30)] == [0, 0]
    assert_fetched(tmp_path)
    assert mirrors[0].asked == [(f"/{FILE}", None)]


def test_a_killed_fetch_is_gone_on_with(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """What was on disk is not asked for again; nothing lies in the cache before it is whole, and no lock is left."""
    mirrors[0].answers = [stalled, whole]
    typed = [sys.executable, "-c", FETCH, str(tmp_path), mirrors[0].url, FILE]
    with subprocess.Popen(typed, stdout=subprocess.PIPE, text=True) as process:
        came = 0
        while came < len(PACKED) // 2:
            came = int(process.stdout.readline().split()[1])
        process.kill()
    assert not (tmp_path / "german_credit").exists()
    fetch(tmp_path, mirrors[0])
    assert_fetched(tmp_path)
    (_, whole_file), (_, rest) = mirrors[0].asked
    assert whole_file is None
    assert 0 < int(rest.removeprefix("bytes=").removesuffix("-")) <= len(PACKED) // 2


@pytest.mark.processes
@pytest.mark.parametrize("kib", [12, 24])
def test_a_disk_that_is_full(small_disk: Callable[[int], Path], mirrors: tuple[Mirror, Mirror], kib: int) -> None:
    """While it comes, and while it is unpacked: one sentence, nothing in the cache; with room it is gone on with."""
    root = small_disk(kib)
    told = refused(lambda: fetch(root, mirrors[1]))
    assert f"cannot write below {root} (No space left on device)" in told
    assert not (root / "german_credit").exists()
    fetch(small_disk(400), mirrors[1])
    assert_fetched(root)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the name of a descriptor")
def test_data_are_on_disk_before_their_names(tmp_path: Path, mirrors: tuple[Mirror, Mirror], on_disk: list[str]) -> None:
    """Whenever the power fails, a file that has its name is whole."""
    fetch(tmp_path, mirrors[1])
    name = Path(FILE).stem
    assert on_disk == [name, f"-> {name}", "german_credit"]


def test_damaged_file_is_replaced(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """A fetch mends a folder, whatever the packing of the damaged file, and loses nothing."""
    folder = tmp_path / "german_credit"
    folder.mkdir()
    (folder / "germancredit.csv").write_text("mine")
    fetch(tmp_path, mirrors[1])
    assert data.find("german_credit", data_dir=tmp_path).where == folder
    assert (folder / "germancredit.csv.damaged").read_text() == "mine"


def test_unwritable_folder(tmp_path: Path, mirrors: tuple[Mirror, Mirror]) -> None:
    """A folder that cannot be written to: one sentence."""
    (tmp_path / "file").write_text("no folder")
    assert "cannot write below" in refused(lambda: fetch(tmp_path / "file", mirrors[1]))
    assert mirrors[1].asked == []


def test_what_cannot_be_fetched() -> None:
    """A set that ships needs no fetch; an unknown one gets the nearest name."""
    assert "ships with Concord" in refused(lambda: download.fetch("german_credit", print))
    assert "'cifar10'" in refused(lambda: download.fetch("cifar", print))


def test_sources() -> None:
    """What does not ship whole has mirrors, all https, with one archive or as many files as the edition."""
    assert sorted([*download.SOURCES, "german_credit"]) == sorted(editions.NAMES)
    for name, (mirrors, remotes) in download.SOURCES.items():
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in mirrors)
        assert len(remotes) == (1 if remotes[0].endswith(".tar.gz") else len(editions.official(name).files))
    assert download.PREFIXES == ("https://",)


Member = tuple[str, bytes, bytes, str]  # name, kind, content, link target
CONTENTS = {"one.bin": bytes(range(256)) * 1000, "two.bin": b"two" * 100_000}
EDITION = editions.Edition(
    "german_credit",
    "invented",
    tuple(editions.File(hashlib.sha256(content).hexdigest(), len(content), name) for name, content in CONTENTS.items()),
)
TOP = "cifar-10-batches-bin"
GOOD: list[Member] = [(f"{TOP}/{name}", tarfile.REGTYPE, content, "") for name, content in CONTENTS.items()]


def archive(path: Path, members: list[Member]) -> Path:
    """A .tar.gz of these members."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, kind, content, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), link
            tar.addfile(info, io.BytesIO(content))
    return path


def unpack(path: Path) -> dict[str, bytes]:
    """The contents that are taken out of an archive."""
    return dict(download._contents(path, EDITION.files))


def test_archive_members_outside_are_ignored(tmp_path: Path) -> None:
    """Paths that climb, absolute ones, links and devices are not even looked at."""
    name = GOOD[0][0]
    evil = [
        (f"../{EDITION.files[0].name}", tarfile.REGTYPE, b"evil", ""),
        (str(tmp_path / "evil"), tarfile.REGTYPE, b"evil", ""),
        (f"{TOP}/../../evil", tarfile.REGTYPE, b"evil", ""),
        (name, tarfile.SYMTYPE, b"", str(tmp_path / "evil")),
        (name, tarfile.LNKTYPE, b"", "/etc/passwd"),
        (name, tarfile.FIFOTYPE, b"", ""),
        (f"{TOP}/readme.html", tarfile.REGTYPE, b"hello", ""),
    ]
    assert unpack(archive(tmp_path / "a.tar.gz", evil + GOOD)) == CONTENTS
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize(
    ("members", "fact"),
    [
        (GOOD[:1], "lacks"),
        ([(GOOD[0][0], tarfile.SYMTYPE, b"", "/etc/passwd"), *GOOD[1:]], "lacks"),
        ([(GOOD[0][0], tarfile.REGTYPE, GOOD[1][2], ""), *GOOD[1:]], "too long"),
        ([(GOOD[1][0], tarfile.REGTYPE, GOOD[0][2], ""), *GOOD[:1]], "truncated"),
        ([("bomb", tarfile.REGTYPE, bytes(3_000_000), ""), *GOOD], "lacks|unpacked"),
    ],
)
def test_bad_archives(tmp_path: Path, members: list[Member], fact: str) -> None:
    """Members missing, swapped or far too large."""
    with pytest.raises(data.DamagedError, match=fact):
        unpack(archive(tmp_path / "a.tar.gz", members))


@pytest.mark.parametrize("cut", [0, 100, 1_000])
def test_truncated_archives(tmp_path: Path, cut: int) -> None:
    """An archive that ends early, and something that is none."""
    path = archive(tmp_path / "a.tar.gz", GOOD)
    path.write_bytes(path.read_bytes()[:cut] or b"<html></html>")
    with pytest.raises(data.DamagedError):
        unpack(path)


def test_fetch_of_an_archive(tmp_path: Path, mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set that is published as one archive is unpacked into its folder."""
    monkeypatch.setattr(download, "official", lambda _: EDITION)
    mirrors[0].answers = [partial(whole, body=archive(tmp_path / "a.tar.gz", GOOD).read_bytes())]
    folder = fetch(tmp_path / "root", mirrors[0], files=("a.tar.gz",))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENTS


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an edition of two files, of which one is there and good."""
    monkeypatch.setattr(download, "official", lambda _: EDITION)
    folder = tmp_path / "german_credit"
    folder.mkdir()
    (folder / "one.bin").write_bytes(CONTENTS["one.bin"])
    return folder


def test_only_what_is_missing_is_fetched(tmp_path: Path, mirrors: tuple[Mirror, Mirror], half: Path) -> None:
    """Of several files, those that are there and good are not downloaded again; one in the way is put aside."""
    (half / "two.bin").write_bytes(b"not two")
    mirrors[0].answers = [partial(whole, body=CONTENTS["two.bin"])]
    folder = fetch(tmp_path, mirrors[0], files=("one.bin", "two.bin"))
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found == CONTENTS | {"two.bin.damaged": b"not two"}
    assert mirrors[0].asked == [("/two.bin", None)]


FAULTS = {
    "503": status(503),
    "stalled": stalled,
    "dripping": dripping,
    "cut off": broken,
    "HTML": partial(whole, body=b"<html>please log in</html>"),
    "altered": partial(whole, body=ALTERED),
    "bomb": partial(whole, body=gzip.compress(bytes(30_000_000), 1)),
    "redirected": redirect("http://127.0.0.1:9/germancredit.csv.gz"),
    "endless": endless,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_the_next_mirror_is_tried(tmp_path: Path, mirrors: tuple[Mirror, Mirror], half: Path, fault: Answer) -> None:
    """Whatever the first one does: the second one's file is kept, and what was in the cache stays as it was."""
    before = (half / "one.bin").stat()
    mirrors[0].answers, mirrors[1].answers = [fault], [partial(whole, body=CONTENTS["two.bin"])]
    fetch(tmp_path, *mirrors, files=("one.bin", "two.bin"))
    assert {path.name: path.read_bytes() for path in half.iterdir()} == CONTENTS
    assert (half / "one.bin").stat().st_mtime_ns == before.st_mtime_ns
    assert {path for path, _ in mirrors[0].asked} == {"/two.bin"} == {path for path, _ in mirrors[1].asked}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_all_mirrors_are_bad(tmp_path: Path, mirrors: tuple[Mirror, Mirror], half: Path, fault: Answer) -> None:
    """One sentence with the fault of each; what was in the cache stays as it was, and nothing is beside it."""
    for mirror in mirrors:
        mirror.answers = [fault]
    told = refused(lambda: fetch(tmp_path, *mirrors, files=("one.bin", "two.bin"), attempts=1))
    assert all(f"127.0.0.1:{mirror.server_port}: " in told for mirror in mirrors)
    assert {path.name: path.read_bytes() for path in half.iterdir()} == {"one.bin": CONTENTS["one.bin"]}
