"""Fetching: the files of a dataset, verified, from a cache that all benchmarks share.

Whatever arrives is checked before it takes its place: status, length, first bytes, size, checksum.
What lies in the cache is checked again before it is used, since others can write there. pooch gives
names whole or not at all; the transfer itself is ours, because pooch neither resumes nor looks at
what it was sent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dgnbench import __version__
from dgnbench.cards import DatasetCard, RemoteFile, read_yaml
from dgnbench.contract import DgnbenchError
from dgnbench.storage import expanded, whole, write_json

if TYPE_CHECKING:
    import requests

LOG = logging.getLogger(__name__)
LOCK = "checksums.lock.yaml"  # beside a dataset's card: what was seen at the first fetch
TRIES = 4  # of one URL without getting further, before the next mirror
CHUNK = 1 << 20
BUSY = (408, 425, 429, 500, 502, 503, 504)  # worth another try at the same place
HDF5 = b"\x89HDF\r\n\x1a\n"
MAGIC = {
    ".h5ad": (HDF5,),
    ".h5mu": (HDF5, b"MuData ("),  # muon writes a line of its own in front
    ".h5": (HDF5,),
    ".loom": (HDF5,),
    ".gz": (b"\x1f\x8b",),
    ".zip": (b"PK",),
}
PAGES = (b"<!doctype html", b"<html", b"<head", b"<!--")


class FetchError(DgnbenchError):
    """A file that could not be had, or that is not what the card says."""


class _Transient(Exception):
    """Something that may be different in a moment."""


class _Unusable(Exception):
    """This URL does not give the file; another one may."""


@dataclass(frozen=True)
class Settings:
    """Where files are kept, and how strict to be; the keys of a config of the same names.

    Parameters
    ----------
    cache_dir
        Shared by all benchmarks and work trees.
    manual_dir
        Where a person puts the files that have no URL: ``<manual_dir>/<dataset>/<file>``.
    offline
        Use what is in the cache, and never the network.
    strict_checksums
        Refuse a file of which no checksum is known. On where the variable ``CI`` is set.
    rewrite_urls
        Beginnings of URLs and what to put in their place: a mirror of one's own.
    timeout
        Seconds without a byte after which a connection counts as dead.
    wait
        Seconds before the second try; doubled for each further one.
    """

    cache_dir: Path = field(default_factory=lambda: default_cache())
    manual_dir: Path = Path("data/manual")
    offline: bool = False
    strict_checksums: bool = field(default_factory=lambda: bool(os.environ.get("CI")))
    rewrite_urls: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60
    wait: float = 2

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Settings:
        """The settings among the keys of a config."""
        given = {key: config[key] for key in cls.__dataclass_fields__ if key in config}
        for key in ("cache_dir", "manual_dir"):
            if key in given:
                given[key] = expanded(given[key])
        return cls(**given)

    def as_json(self) -> str:
        """To be given to ``dgnbench fetch --settings``."""
        return json.dumps(asdict(self), default=str)


def default_cache() -> Path:
    """``DGNBENCH_CACHE`` if set, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("DGNBENCH_CACHE") or platformdirs.user_cache_dir("dgnbench"))


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched or found, as ``source.json`` tells it."""

    name: str
    path: str
    url: str
    mirror: int
    size: int
    sha256: str
    standing: str
    time: str


def recorded(card: DatasetCard) -> dict[str, str]:
    """The checksums recorded beside the card, by file name."""
    lock = card.folder / LOCK
    return dict(read_yaml(lock) or {}) if lock.is_file() else {}


def wanted_checksum(card: DatasetCard, file: RemoteFile) -> tuple[str | None, str]:
    """What a file must be, and on whose word: a card's pin, then our record, then a claim."""
    if file.standing == "pinned":
        return file.checksum, "pinned"
    seen = recorded(card).get(file.name)
    if seen is not None:
        return seen, "recorded"
    return file.checksum, file.standing


def _record(card: DatasetCard, name: str, checksum: str) -> None:
    entries = {**recorded(card), name: checksum}
    with whole(card.folder / LOCK) as partial:
        partial.write_text(
            "# What the first fetch found; commit it. To renew one: dgnbench fetch ID --accept FILE\n"
            + yaml.safe_dump(entries, sort_keys=True)
        )


def cached_path(card: DatasetCard, file: RemoteFile, settings: Settings) -> Path:
    """Where a file lies in the cache: by dataset and content, since names repeat in the wild."""
    identity = file.checksum or " ".join(file.urls)
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return settings.cache_dir / card.id / key / file.name


def manual_path(card: DatasetCard, file: RemoteFile, settings: Settings) -> Path:
    """Where a person puts a file that has no URL."""
    return settings.manual_dir / card.id / file.name


def _record_of(path: Path) -> Path:
    """Where it stands what a cached file was when it came."""
    return path.with_name(f"{path.name}.source.json")


def missing(card: DatasetCard, settings: Settings) -> list[str]:
    """What stands in the way of preparing a dataset without help: one line a file."""
    lines = []
    for file in card.files.values():
        if not file.urls:
            place = manual_path(card, file, settings)
            if not place.is_file():
                lines.append(
                    f"{card.id}: {file.name} has no direct link: fetch it by hand from "
                    f"{card.landing} and put it at {place}"
                )
        elif settings.offline:
            path = cached_path(card, file, settings)
            if not (path.is_file() and _record_of(path).is_file()):
                lines.append(
                    f"{card.id}: {file.name} is not in the cache {settings.cache_dir} "
                    f"({file.urls[0]}): bring it where there is a network, by `snakemake prefetch`"
                )
    return lines


def fetch(
    card: DatasetCard,
    settings: Settings,
    output: Path,
    *,
    accept: tuple[str, ...] = (),
) -> list[Fetched]:
    """Bring every file of a dataset into the cache and link it into a folder.

    Parameters
    ----------
    card
        Whose `files` are wanted.
    settings
        Where to keep them, and how strict to be.
    output
        The folder that gets a hard link (a copy on another file system) of each file, and
        ``source.json``, which tells where each came from.
    accept
        Names of files whose new content is to be recorded, whatever was known of it before.

    Raises
    ------
    FetchError
        With the file, what was wanted, what came from each URL and how to mend it. The cache then
        holds what it held before.
    """
    for name in accept:
        if name not in card.files:
            raise FetchError(
                f"dataset {card.id}: no file '{name}'; it has {', '.join(card.files) or 'none'}"
            )
        if card.files[name].standing == "pinned":
            raise FetchError(
                f"dataset {card.id}: the checksum of {name} is pinned in its card; if the source "
                "really changed, change the card"
            )
    lacking = missing(card, settings)
    if lacking:
        raise FetchError("files are missing\n" + "\n".join(lacking))
    try:
        done = [
            (_from_cache_or_net if file.urls else _by_hand)(
                card, file, settings, file.name in accept
            )
            for file in card.files.values()
        ]
        for got in done:
            _link(Path(got.path), output / got.name)
        told = {got.name: asdict(got) for got in done}
        source = output / "source.json"
        if not source.is_file() or json.loads(source.read_text()) != told:
            write_json(source, told)  # only then: a newer one has the dataset prepared again
    except OSError as error:
        raise FetchError(
            f"dataset {card.id}: its files cannot be kept in {settings.cache_dir} and {output}: "
            f"{error}; is there room, and may you write there?"
        ) from None
    return done


def _link(source: Path, target: Path) -> None:
    """A hard link that takes its name whole; a copy where the file system is another one."""
    with whole(target) as partial:  # which also goes where both are one file: a rename does nothing
        try:
            os.link(source, partial)
        except OSError:
            shutil.copy2(source, partial)


def digests_of(path: Path, *algorithms: str) -> dict[str, str]:
    """The checksums of a file, read once: sha256, md5, or the name that git gives its content."""
    digests = {}
    for algorithm in algorithms:
        if algorithm == "git_blob_sha1":
            blob = f"blob {path.stat().st_size}\0".encode()
            digests[algorithm] = hashlib.sha1(blob, usedforsecurity=False)
        else:
            digests[algorithm] = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as handle:
        while block := handle.read(CHUNK):
            for digest in digests.values():
                digest.update(block)
    return {algorithm: digest.hexdigest() for algorithm, digest in digests.items()}


def check_content(path: Path, file: RemoteFile) -> str | None:
    """What is wrong with the first bytes or the size of a file, or None."""
    size = path.stat().st_size
    if size == 0:
        return "it is empty"
    with path.open("rb") as handle:
        head = handle.read(512)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(PAGES):
        return "it is a web page"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer"
    if text.startswith(b"<?xml") and not file.name.endswith((".xml", ".svg")):
        return "it is an XML message"
    wanted = MAGIC.get(Path(file.name).suffix)
    if wanted is not None and not head.startswith(wanted):
        return f"it does not begin as a {Path(file.name).suffix} file does, but with {head[:8]!r}"
    if file.size is not None and size != file.size:
        return f"wanted {file.size} bytes, got {size}"
    return None


def _examine(
    card: DatasetCard, file: RemoteFile, path: Path, accept: bool
) -> tuple[str | None, str]:
    """What is wrong with a file, or None; and its sha256, where it was worth reading."""
    fault = check_content(path, file)
    if fault:
        return fault, ""
    checksum, standing = (None, "unknown") if accept else wanted_checksum(card, file)
    if checksum is None:
        return None, digests_of(path, "sha256")["sha256"]
    algorithm, wanted = checksum.split(":")
    found = digests_of(path, *{"sha256", algorithm})
    if found[algorithm] != wanted:
        fault = _mismatch(card, file, checksum, f"{algorithm}:{found[algorithm]}", standing)
    return fault, found["sha256"]


def _mismatch(card: DatasetCard, file: RemoteFile, wanted: str, found: str, standing: str) -> str:
    said = {
        "pinned": "its card pins",
        "claimed": "a third party claims",
        "recorded": "was recorded at the first fetch",
    }[standing]
    text = f"the content is another one: wanted {wanted} ({said}), got {found}"
    if standing == "pinned":
        return text
    return f"{text}; to accept the new content: dgnbench fetch {card.id} --accept {file.name}"


def _known(card: DatasetCard, file: RemoteFile, settings: Settings) -> None:
    if settings.strict_checksums and wanted_checksum(card, file)[0] is None:
        raise FetchError(
            f"dataset {card.id}: no checksum of {file.name} is known, and `strict_checksums` is on; "
            f"fetch it once without, look at it, and commit {card.folder.name}/{LOCK}"
        )


def _by_hand(card: DatasetCard, file: RemoteFile, settings: Settings, accept: bool) -> Fetched:
    """Verify a file that a person fetched."""
    if not accept:
        _known(card, file, settings)
    path = manual_path(card, file, settings)
    fault, digest = _examine(card, file, path, accept)
    if fault:
        raise FetchError(f"dataset {card.id}: {path}: {fault}; fetch it again from {card.landing}")
    got = _fetched(file, path, card.landing, 0, digest)
    if accept or (file.standing == "unknown" and file.name not in recorded(card)):
        _record(card, file.name, f"sha256:{digest}")
    return replace(got, standing=wanted_checksum(card, file)[1])


def _from_cache_or_net(
    card: DatasetCard, file: RemoteFile, settings: Settings, accept: bool
) -> Fetched:
    from filelock import FileLock

    if not accept:
        _known(card, file, settings)
    path = cached_path(card, file, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):  # another benchmark may want it now
        got = "new content is to be accepted" if accept else _cached(card, file, path)
        if isinstance(got, str):
            if settings.offline:
                raise FetchError(
                    f"dataset {card.id}: {path}: {got}; it must be fetched anew, but `offline` is on"
                )
            if path.is_file() and not accept:
                LOG.warning("dataset %s: %s: %s; it is fetched anew", card.id, path, got)
            got = _download(card, file, path, settings, accept)
    if accept or (file.standing == "unknown" and file.name not in recorded(card)):
        _record(card, file.name, f"sha256:{got.sha256}")
    return replace(got, path=str(path), standing=wanted_checksum(card, file)[1])


def _cached(card: DatasetCard, file: RemoteFile, path: Path) -> Fetched | str:
    """The record of a cached file, or why the file is not to be used."""
    try:
        got = Fetched(**json.loads(_record_of(path).read_text()))
        fault, digest = _examine(card, file, path, accept=False)
    except (FileNotFoundError, ValueError, TypeError):
        return "it is not in the cache, or not as this version keeps it"
    if fault is None and digest != got.sha256:
        fault = f"it was changed in the cache: sha256:{got.sha256} came, now it is sha256:{digest}"
    return fault or got


def _fetched(file: RemoteFile, path: Path, url: str, mirror: int, digest: str) -> Fetched:
    return Fetched(
        name=file.name,
        path=str(path),
        url=url,
        mirror=mirror,
        size=path.stat().st_size,
        sha256=digest,
        standing=file.standing,
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _download(
    card: DatasetCard, file: RemoteFile, path: Path, settings: Settings, accept: bool
) -> Fetched:
    """Try each URL in turn; the file, whole and verified, at `path`, and its record beside it."""
    import pooch

    pooch.get_logger().setLevel(logging.ERROR)  # the progress bar tells
    arrived = path.with_name(f"{path.name}.arrived")
    said = []
    for mirror, original in enumerate(file.urls):
        url = _rewritten(original, settings)
        arrived.unlink(missing_ok=True)  # pooch would take it for the file
        transfer = _Transfer(card, file, path, settings, accept)
        # No hash for pooch: the transfer checks it, also git's, and reads the file only once.
        keeper = pooch.create(
            path.parent, base_url="", registry={arrived.name: None}, urls={arrived.name: url}
        )
        try:
            keeper.fetch(arrived.name, downloader=transfer)
        except _Unusable as error:
            said.append(f"  {url}: {error}")
            LOG.warning("dataset %s: %s: %s: %s", card.id, file.name, url, error)
            continue
        got = _fetched(file, arrived, original, mirror, transfer.sha256)
        write_json(_record_of(path), asdict(got))
        arrived.chmod(0o444)
        os.replace(arrived, path)
        return got
    raise FetchError(
        f"dataset {card.id}: {file.name} could not be had; nothing was kept. Look at the addresses, or "
        "name a mirror of your own with `rewrite_urls:` in the config\n" + "\n".join(said)
    )


def _rewritten(url: str, settings: Settings) -> str:
    for beginning, other in settings.rewrite_urls.items():
        if url.startswith(beginning):
            return other + url.removeprefix(beginning)
    return url


@dataclass
class _Transfer:
    """pooch's downloader for one URL: retries with back-off, resumes, and looks at what it got.

    The part that has arrived is kept beside the file with the server's word on which version it
    is of (ETag or Last-Modified), and is gone on with only if that still holds, or if a checksum
    will tell in the end.
    """

    card: DatasetCard
    file: RemoteFile
    path: Path
    settings: Settings
    accept: bool
    sha256: str = ""  # of what came, once it is verified

    def __call__(self, url: str, output_file: str | Path, pooch: Any) -> None:
        """Download `url`; called by pooch."""
        import requests

        part = self.path.with_name(f"{self.path.name}.part")
        failed = 0
        while failed < TRIES:
            if failed:
                time.sleep(min(self.settings.wait * 2 ** (failed - 1), 60))
            before = part.stat().st_size if part.is_file() else 0
            try:
                resumed = self._get(url, part)
            except (_Transient, requests.ConnectionError, requests.Timeout) as error:
                reason = str(error)
                LOG.info("%s: %s", url, reason)
                advanced = part.is_file() and part.stat().st_size > before
                failed = 1 if advanced else failed + 1
                continue
            except requests.RequestException as error:  # a circle of redirects, a faulty address
                raise _Unusable(str(error)) from None
            fault, self.sha256 = _examine(self.card, self.file, part, self.accept)
            if fault is None:
                os.replace(part, output_file)
                self._forget(part)
                return
            self._forget(part)
            if not resumed:
                raise _Unusable(fault)
            reason = fault  # perhaps two versions in one file: once more from the beginning
            failed += 1
        raise _Unusable(f"given up after {TRIES} tries, the last one: {reason}")

    @property
    def _checksum(self) -> str | None:
        return None if self.accept else wanted_checksum(self.card, self.file)[0]

    def _forget(self, part: Path) -> None:
        part.unlink(missing_ok=True)
        self._note(part).unlink(missing_ok=True)

    @staticmethod
    def _note(part: Path) -> Path:
        return part.with_name(f"{part.name}.json")

    def _version(self, part: Path, url: str) -> str | None:
        """The server's word on the version of a part; None where it is not to be gone on with.

        Empty where there is no word, but a checksum that will tell.
        """
        try:
            note = json.loads(self._note(part).read_text())
        except (FileNotFoundError, ValueError):
            return None
        if not part.is_file() or note["url"] != url:
            return None
        return note["validator"] or ("" if self._checksum else None)

    def _get(self, url: str, part: Path) -> bool:
        """One request; whether the server went on with the part instead of beginning anew."""
        import requests
        from urllib3.exceptions import HTTPError

        headers = {"User-Agent": f"dgnbench/{__version__}", "Accept-Encoding": "identity"}
        version = self._version(part, url)
        have = 0 if version is None else part.stat().st_size
        if have:
            headers["Range"] = f"bytes={have}-"
        if have and version:
            headers["If-Range"] = version
        with requests.get(
            url,
            headers=headers,
            stream=True,
            timeout=(min(20, self.settings.timeout), self.settings.timeout),
        ) as response:
            if response.status_code == 416:  # nothing after what there is: it is no beginning of it
                self._forget(part)
                raise _Transient("the part that had arrived does not fit (status 416)")
            if response.status_code in BUSY:
                raise _Transient(f"status {response.status_code}")
            goes_on = response.status_code == 206
            if response.status_code != 200 and not (goes_on and have):
                raise _Unusable(f"status {response.status_code} instead of the file")
            coding = response.headers.get("Content-Encoding", "identity")
            if coding != "identity" and not self.file.name.endswith(".gz"):
                raise _Unusable(f"it came compressed (Content-Encoding: {coding}), unasked")
            if goes_on:
                total = self._check_further_part(response, part, have, version or "")
            else:
                have = 0
                self._forget(part)  # first: its note will be of this answer
                validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
                if validator and validator.startswith("W/"):
                    validator = None  # weak: equal does not mean the same bytes
                write_json(self._note(part), {"url": url, "validator": validator})
                total = self._check_length(response)
            try:
                self._write(response, part, have, total)
            except (HTTPError, ConnectionError, TimeoutError) as error:
                raise _Transient(f"broken off: {type(error).__name__}") from None
            return goes_on

    def _check_length(self, response: requests.Response) -> int | None:
        """The length of the file, where the server tells it."""
        length = response.headers.get("Content-Length")
        if length is not None:
            return int(length)
        chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if not chunked and self.file.size is None and self._checksum is None:
            raise _Unusable(
                "the server does not say where the file ends, and neither its size nor a checksum "
                "is known: one that is cut off would pass for the whole"
            )
        return None

    def _check_further_part(
        self, response: requests.Response, part: Path, have: int, version: str
    ) -> int | None:
        """The length of the whole file, of which the server gives what comes after `have`."""
        given = response.headers.get("Content-Range", "")
        etag = response.headers.get("ETag", version)
        if version.startswith('"') and etag != version:  # it did not look at If-Range
            self._forget(part)
            raise _Transient("the file changed between two parts")
        if not given.startswith(f"bytes {have}-"):
            self._forget(part)
            raise _Transient("the server went on at another place than asked")
        total = given.rpartition("/")[2]  # this part may end before the file does
        return int(total) if total.isdigit() else None

    def _write(self, response: requests.Response, part: Path, have: int, total: int | None) -> None:
        from tqdm import tqdm

        if None not in (total, self.file.size) and total != self.file.size:
            raise _Unusable(f"wanted {self.file.size} bytes, the server offers {total}")
        total = self.file.size if total is None else total
        with (
            part.open("ab" if have else "wb") as handle,
            tqdm(
                total=total,
                initial=have,
                unit="B",
                unit_scale=True,
                desc=f"{self.card.id}/{self.file.name}",
                mininterval=0.5 if sys.stderr.isatty() else 20,
                delay=2,
            ) as bar,
        ):
            # `read1` gives what is there: `read` would lose it where the connection dies.
            while block := response.raw.read1(CHUNK, decode_content=False):
                handle.write(block)
                bar.update(len(block))
            arrived = handle.tell()
        if total is not None and arrived < total:
            raise _Transient(f"broken off after {arrived} of {total} bytes")
