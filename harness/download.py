"""Fetches data sets from their official mirrors into a data folder: resumes, retries, checks, then moves.

Nothing but https is spoken, redirects included, and nothing is kept that is not the official content.
"""

import gzip
import io
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter

from harness import data, disk
from harness.alone import locked
from harness.editions import FOLDERS, SOURCES, Edition, File, official
from harness.errors import HarnessError
from harness.measure import Stopwatch

Progress = Callable[[str, int, int | None], None]  # file, bytes so far, bytes in all where that is known
PREFIXES = ("https://",)  # how an address must begin for it to be spoken to at all
TIMEOUTS_S = (10.0, 30.0)  # to connect, and without a byte
SLOW, SLOW_S = 1_000, 30.0  # fewer bytes of the body a second, for so long, are none: curl's --speed-limit and --speed-time
ATTEMPTS = 4
PAUSE_S = 1.0  # before the second attempt; then doubled
CHUNK = 1 << 16  # bytes at most, at once
_PASSING = {408, 425, 429, *range(500, 600)}  # HTTP errors that another attempt may not meet


def fetch(name: str, progress: Progress, *, data_dir: Path | None = None) -> Path:
    """Put a data set into ``data_dir`` (Concord's cache) unless it is there; the folder it is in."""
    edition = official(name)
    if name not in SOURCES:
        raise HarnessError(f"{name} ships with Concord: there is nothing to fetch.")
    root = data_dir or data.cache()
    folder, parts = root / FOLDERS[name][0], root / ".parts" / name
    try:
        parts.parent.mkdir(parents=True, exist_ok=True)
        with locked(Path(f"{parts}.lock"), lambda: progress("waits for another fetch", 0, None)):  # it may bring what is wanted
            parts.mkdir(exist_ok=True)
            _complete(folder, edition, parts=parts, progress=progress)
            shutil.rmtree(parts)
    except data.DamagedError as error:
        raise HarnessError(f"{error}: try again later, or put it into {folder} yourself.") from None
    except OSError as error:
        fact = error.strerror or error
        raise HarnessError(f"cannot write below {root} ({fact}): free space or give another --data-dir.") from None
    return folder


def _complete(folder: Path, edition: Edition, *, parts: Path, progress: Progress) -> None:
    """Download what the folder lacks, and move it there when all of it is whole."""
    missing = list(edition.files)
    for file, path in data.stored(folder, edition.files, edition.name).items():
        with suppress(data.DamagedError):
            data.read(path, file)
            missing.remove(file)
    mirrors, remotes = SOURCES[edition.name]
    groups = [[file] for file in edition.files] if len(remotes) > 1 else [edition.files]
    for remote, files in zip(remotes, groups, strict=True):
        if any(file in missing for file in files):
            _get(remote, mirrors, files=files, parts=parts, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    for file in missing:
        target = folder / file.name
        if target.exists():  # and is not what it should be; nothing of a user's is lost
            target.replace(f"{target}.damaged")
        disk.sync(parts / file.name)
        (parts / file.name).replace(target)
    disk.sync(folder)


def _get(remote: str, mirrors: Sequence[str], *, files: Sequence[File], parts: Path, progress: Progress) -> None:
    """Download one file, mirror by mirror and again after a pause, until what came is good; unpack it in ``parts``."""
    part, facts, refused = parts / remote, dict[str, str](), set[str]()
    for attempt, mirror in product(range(ATTEMPTS), mirrors):
        if mirror in refused:
            continue
        time.sleep(PAUSE_S * (2**attempt - 1))
        try:
            _take(mirror + remote, part, files, progress)
        except data.DamagedError as error:
            facts[mirror] = str(error)
            refused.add(mirror)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            facts[mirror] = _reason(error)
        else:
            return
    told = "; ".join(f"{urlsplit(mirror).netloc}: {fact}" for mirror, fact in facts.items())
    raise data.DamagedError(f"cannot fetch {remote} ({told})")


def _take(url: str, part: Path, files: Sequence[File], progress: Progress) -> None:
    """Download to ``part``, check, and unpack beside it; a part that is no good is taken away."""
    resumed = part.exists()
    try:
        _stream(url, part, limit=2 * sum(file.size for file in files), progress=progress)
        for name, content in _contents(part, files):
            part.with_name(name).write_bytes(content)
    except data.DamagedError:
        part.unlink(missing_ok=True)
        if not resumed:
            raise
        _take(url, part, files, progress)  # what was there before may be to blame, from another mirror or an earlier fetch


def _stream(url: str, part: Path, *, limit: int, progress: Progress) -> None:
    """Download to ``part``, going on where an earlier attempt stopped."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with _Session() as web, web.get(url, headers=headers, timeout=TIMEOUTS_S, stream=True) as answer:
        code, sent = answer.status_code, answer.headers.get("Content-Range", "")
        if start and code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is left to send
        if code in _PASSING:
            answer.raise_for_status()
        resumed = start > 0 and code == requests.codes.partial_content and sent.startswith(f"bytes {start}-")
        if code != requests.codes.ok and not resumed:
            raise data.DamagedError(f"HTTP {code}{sent and f', {sent!r}'}")
        done = start if resumed else 0
        left = answer.raw.length_remaining  # None where the mirror does not say
        total = None if left is None else done + left
        watch, before = Stopwatch(), done
        with part.open("ab" if done else "wb") as file:
            for chunk in iter(partial(answer.raw.read1, CHUNK), b""):  # iter_content would wait for all of it
                done += len(chunk)
                if max(done, total or 0) > limit:
                    raise data.DamagedError(f"sends more than {limit:,} bytes")
                file.write(chunk)
                progress(part.name, done, total)
                if watch.seconds() > SLOW_S:
                    if done - before < SLOW * SLOW_S:
                        raise requests.Timeout(f"fewer than {SLOW:,} bytes a second")
                    watch, before = Stopwatch(), done


class _Session(requests.Session):
    def get_adapter(self, url: str) -> BaseAdapter:
        """Refuse whatever does not begin as it must, also where a redirect leads."""
        if not url.startswith(PREFIXES):
            raise data.DamagedError(f"leads to an address that does not begin with {' or '.join(PREFIXES)}")
        return super().get_adapter(url)


def _reason(error: requests.RequestException | urllib3.exceptions.HTTPError) -> str:
    """A failure that may pass, in a few words."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not valid here"
    if "timed out" in str(error):
        connecting = isinstance(error, requests.ConnectTimeout)
        return f"no connection within {TIMEOUTS_S[0]:g} s" if connecting else f"no answer for {TIMEOUTS_S[1]:g} s"
    if isinstance(error, requests.Timeout):
        return str(error)
    if isinstance(error, urllib3.exceptions.ProtocolError | urllib3.exceptions.SSLError):
        return "the connection broke off"
    return "no connection" if isinstance(error, requests.ConnectionError) else type(error).__name__


def _contents(part: Path, files: Sequence[File]) -> Iterator[tuple[str, bytes]]:
    """The checked files in what was downloaded: the only one, or those of an archive, whatever else is in it."""
    if not part.name.endswith(".tar.gz"):
        yield files[0].name, data.read(part, files[0])
        return
    wanted = {f"cifar-10-batches-bin/{file.name}": file for file in files}
    try:
        with gzip.open(part) as packed:
            plain = io.BytesIO(packed.read(2 * sum(file.size for file in files)))  # and no more of a bomb
        with tarfile.open(fileobj=plain, mode="r|") as tar:  # as a stream: no member leads back
            for member in tar:
                if member.name in wanted and (stream := member.isreg() and tar.extractfile(member)):
                    file = wanted.pop(member.name)
                    yield file.name, data.checked(stream.read(file.size + 1), Path(member.name), file=file)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise data.DamagedError(f"{part.name} cannot be unpacked ({error})") from None
    if wanted:
        raise data.DamagedError(f"{part.name} lacks {min(wanted)}")
