"""Fetches data sets from their official mirrors into a data folder: resumes, retries, checks, then moves.

Nothing but https is spoken, redirects included, and nothing is kept that is not the official content.
"""

import gzip
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter

from harness import data
from harness.editions import MNIST, Edition, File, official
from harness.errors import HarnessError

Progress = Callable[[str, int, int | None], None]  # file, bytes so far, bytes in all where that is known
MEGABYTE = 1_000_000
CHUNK = 1 << 13  # bytes; a fault loses what came of a chunk
ARCHIVE_FOLDER = "cifar-10-batches-bin"
PASSING = {408, 425, 429, *range(500, 600)}  # HTTP errors that another attempt may not meet
PARTIAL, RANGE_NOT_SATISFIABLE = 206, 416


class RefusedError(Exception):
    """A short fact about a mirror that does not give what it should, and need not be asked again."""


@dataclass(frozen=True)
class Source:
    """Where a data set is published: ``files`` below each of ``mirrors``, none over ``limit`` bytes."""

    mirrors: tuple[str, ...]
    files: tuple[str, ...]
    limit: int


@dataclass(frozen=True)
class Net:
    """How patient a download is, and how an address must begin for it to be spoken to at all."""

    prefixes: tuple[str, ...] = ("https://",)
    connect_s: float = 10.0
    stall_s: float = 30.0
    attempts: int = 4
    pause_s: float = 1.0  # before the second attempt; then doubled


@dataclass(frozen=True)
class Job:
    """One fetch: from where, through which folder into which, how, and whom to tell."""

    source: Source
    parts: Path
    folder: Path
    net: Net
    progress: Progress


NET = Net()
SOURCES: Mapping[str, Source] = {
    "mnist": Source(
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        files=tuple(f"{name}.gz" for name in MNIST),
        limit=20 * MEGABYTE,
    ),
    "cifar10": Source(
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        files=("cifar-10-binary.tar.gz",),
        limit=200 * MEGABYTE,
    ),
    "credit_default": Source(
        mirrors=("https://archive.ics.uci.edu/static/public/350/",),
        files=("data.csv",),
        limit=6 * MEGABYTE,
    ),
}


def fetch(
    name: str,
    progress: Progress = lambda *_: None,
    *,
    data_dir: Path | None = None,
    sources: Mapping[str, Source] = SOURCES,
    net: Net = NET,
) -> Path:
    """Put a data set into ``data_dir`` (Concord's cache) unless it is there; the folder it is in."""
    edition = official(name)
    if name not in sources:
        raise HarnessError(f"{name} ships with Concord: there is nothing to fetch.")
    root = data_dir or data.cache()
    job = Job(sources[name], root / ".parts" / name, root / edition.folder, net, progress)
    try:
        job.parts.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{job.parts}.lock", timeout=0):
            job.parts.mkdir(exist_ok=True)
            complete(job, edition)
            shutil.rmtree(job.parts)
    except Timeout:
        raise HarnessError(f"another fetch of {name} into {root} is under way: wait for it to end.") from None
    except OSError as error:
        fact = f"cannot write below {root} ({error.strerror or error})"
        raise HarnessError(f"{fact}: free some space or name another folder with --data-dir.") from None
    return job.folder


def complete(job: Job, edition: Edition) -> None:
    """Download what the folder lacks, and move it there when all of it is whole."""
    missing = [file for file in edition.files if not intact(job.folder, file)]
    ready: dict[str, Path] = {}  # by the name it is to have
    if missing and job.source.files[0].endswith(".tar.gz"):
        get(job, job.source.files[0], accept=partial(unpack, edition=edition, into=job.parts))
        ready = {file.name: job.parts / file.name for file in missing}
    elif missing:
        for remote, file in zip(job.source.files, edition.files, strict=True):
            if file in missing:
                get(job, remote, accept=partial(data.read, file=file))
                ready[file.name + (".gz" if remote.endswith(".gz") else "")] = job.parts / remote
    job.folder.mkdir(parents=True, exist_ok=True)
    for name, path in ready.items():
        hiding = job.folder / name.removesuffix(".gz")  # an unpacked file, not intact, that would be read instead
        if name.endswith(".gz") and hiding.exists():
            hiding.replace(hiding.with_name(f"{hiding.name}.damaged"))
        path.replace(job.folder / name)


def intact(folder: Path, file: File) -> bool:
    """Whether the folder holds the file, whole and unaltered."""
    path = data.stored(folder, file, data.listing(folder))
    try:
        return path is not None and bool(data.read(path, file))
    except data.DamagedError:
        return False


def get(job: Job, remote: str, *, accept: Callable[[Path], object]) -> None:
    """Download one file, mirror by mirror and again after a pause, until ``accept`` takes what came."""
    mirrors, facts = list(job.source.mirrors), dict[str, str]()
    part = job.parts / remote
    for attempt in range(job.net.attempts):
        if attempt and mirrors:
            time.sleep(job.net.pause_s * 2 ** (attempt - 1))
        for mirror in tuple(mirrors):
            resumed = part.exists()
            try:
                stream(job, mirror + remote, part)
                accept(part)
            except (RefusedError, data.DamagedError) as fact:
                facts[mirror] = str(fact)
                part.unlink(missing_ok=True)
                if not resumed:  # else what was there before may be to blame, and the mirror is asked again
                    mirrors.remove(mirror)
            except requests.RequestException as error:
                facts[mirror] = reason(error, job.net)
            else:
                return
    told = "; ".join(f"{urlsplit(mirror).netloc}: {fact}" for mirror, fact in facts.items())
    raise HarnessError(f"cannot fetch {remote} ({told}): try again later, or put it into {job.folder} yourself.")


def stream(job: Job, url: str, part: Path) -> None:
    """Download to ``part``, going on where an earlier attempt stopped."""
    start = part.stat().st_size if part.exists() else 0
    with session(job.net) as web, ask(web, url, start=start, net=job.net) as answer:
        if start and answer.status_code == RANGE_NOT_SATISFIABLE:
            return  # nothing is left to send
        check_status(answer, start)
        done = start if answer.status_code == PARTIAL else 0
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        with part.open("ab" if done else "wb") as file:
            for chunk in answer.iter_content(CHUNK):
                done += len(chunk)
                if max(done, total or 0) > job.source.limit:
                    raise RefusedError(f"sends more than {job.source.limit:,} bytes")
                file.write(chunk)
                job.progress(part.name, done, total)


def session(net: Net) -> requests.Session:
    """A session with no means to speak to an address that does not begin with one of our prefixes."""
    web = requests.Session()
    web.adapters.clear()
    for prefix in net.prefixes:
        web.mount(prefix, HTTPAdapter())
    return web


def ask(web: requests.Session, url: str, *, start: int, net: Net) -> requests.Response:
    """The head of the answer, its body still to be read; the body may begin at byte ``start`` of the file."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        return web.get(url, headers=headers, timeout=(net.connect_s, net.stall_s), stream=True)
    except requests.exceptions.InvalidSchema:
        raise RefusedError(f"leads to an address that does not begin with {' or '.join(net.prefixes)}") from None


def check_status(answer: requests.Response, start: int) -> None:
    """Raise unless the answer carries the file, or the rest of it from ``start``."""
    if answer.status_code in PASSING:
        answer.raise_for_status()
    if answer.status_code not in {requests.codes.ok, PARTIAL}:
        raise RefusedError(f"HTTP {answer.status_code}")
    sent = answer.headers.get("Content-Range", "")
    if answer.status_code == PARTIAL and not sent.startswith(f"bytes {start}-"):
        raise RefusedError(f"was asked for the bytes from {start} and sends {sent!r}")


def reason(error: requests.RequestException, net: Net) -> str:
    """A failure that may pass, in a few words."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not valid here"
    if "timed out" in str(error):
        return f"no answer for {net.stall_s:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    return "no connection" if isinstance(error, requests.ConnectionError) else type(error).__name__


@dataclass
class Bounded:
    """A stream that ends after ``left`` bytes, however much a crafted archive unpacks to."""

    stream: gzip.GzipFile
    left: int

    def read(self, size: int) -> bytes:
        """The next bytes."""
        chunk = self.stream.read(min(size, self.left))
        self.left -= len(chunk)
        return chunk


def unpack(archive: Path, *, edition: Edition, into: Path) -> None:
    """Accept an archive with all official files; whatever is not a file of such a name is ignored."""
    wanted = {f"{ARCHIVE_FOLDER}/{file.name}": file for file in edition.files}
    bound = sum(file.size for file in edition.files) + MEGABYTE
    try:
        with gzip.open(archive) as packed:
            stream = cast(IO[bytes], Bounded(packed, bound))
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    if member.name in wanted and (content := member.isreg() and tar.extractfile(member)):
                        file = wanted.pop(member.name)
                        whole = data.checked(content.read(file.size + 1), Path(member.name), file=file)
                        (into / file.name).write_bytes(whole)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise data.DamagedError(f"{archive.name} cannot be unpacked ({error})") from None
    if wanted:
        raise data.DamagedError(f"{archive.name} lacks {min(wanted)}")
