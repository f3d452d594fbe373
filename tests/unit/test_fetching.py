"""A fetch gives the right bytes or a clear error, whatever the server does, and keeps nothing wrong."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from dgnbench import __version__, fetching
from dgnbench.cards import DatasetCard, read_dataset
from dgnbench.fetching import LOCK, FetchError, Settings
from tests.conftest import ROOT
from tests.server import Answer, Server

HDF5 = b"\x89HDF\r\n\x1a\n"
PAGE = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 34\n"
BUSY = Answer(status=503)
MIB = 1 << 20


def content(seed: int, size: int = 100_000) -> bytes:
    """Something that begins as an .h5ad does."""
    return HDF5 + np.random.default_rng(seed).bytes(size - len(HDF5))


GOOD, OTHER = content(0), content(1)


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def git_name(data: bytes) -> str:
    return f"git_blob_sha1:{hashlib.sha1(b'blob %d%c' % (len(data), 0) + data).hexdigest()}"


class Desk:
    """One user's clone, cache and working folder, and a server with a file and its mirror."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.raw = folder / "raw"

    def card(
        self, clone: str = "clone", *, name: str = "a.h5ad", files=None, **file
    ) -> DatasetCard:
        """The card of dataset `tiny`; of one file with a mirror where `files` are not given."""
        file.setdefault("urls", ["a.h5ad", "mirror/a.h5ad"])
        files = {name: file} if files is None else files
        for given in files.values():
            given["urls"] = [f"{self.server.url}/{url}" for url in given.get("urls", ())]
            if not given["urls"]:
                del given["urls"]
        place = self.folder / clone / "datasets" / "tiny" / "dataset.yaml"
        place.parent.mkdir(parents=True, exist_ok=True)
        told = {
            "label": "Tiny", "summary": "A file of a server.", "kind": "real", "organism": "none",
            "source": "the test", "licence": "unknown", "reference": "none: a test", "has": ["rna"],
            "modalities": ["rna"], "files": files, "landing": "https://example.org/tiny",
            "params": {}, "expected": {},
        }  # fmt: skip
        place.write_text(yaml.safe_dump(told))
        return read_dataset(place, str(place))

    def settings(self, **given) -> Settings:
        usual = {"manual_dir": self.folder / "manual", "timeout": 0.4, "wait": 0.01}
        return Settings(**{"cache_dir": self.folder / "cache", **usual, **given})

    def fetch(self, card: DatasetCard, *, accept: tuple[str, ...] = (), **settings) -> bytes:
        """The bytes of the card's last file, as they lie in the output folder."""
        done = fetching.fetch(card, self.settings(**settings), self.raw, accept=accept)
        return (self.raw / done[-1].name).read_bytes()

    def refuses(self, card: DatasetCard, *, accept: tuple[str, ...] = (), **settings) -> str:
        """The message of a fetch that fails; nothing new may then pass for a file."""
        before = self.held()
        with pytest.raises(FetchError) as error:
            fetching.fetch(card, self.settings(**settings), self.raw, accept=accept)
        assert self.held() == before
        assert "tiny" in str(error.value)
        return str(error.value)

    def breaks_off(self, card: DatasetCard, after: int, **how) -> None:
        """A fetch of which only the first bytes arrive, and then nothing for a long time."""
        self.server.answers["a.h5ad"] = [Answer(cut=after, **how), BUSY]
        self.server.answers["mirror/a.h5ad"] = Answer(status=404)
        self.refuses(card)
        self.server.answers.clear()
        self.server.requests.clear()

    def source(self) -> dict:
        return json.loads((self.raw / "source.json").read_text())

    def held(self) -> dict[str, bytes]:
        """What a fetch could take for a file: all in cache and output but parts and locks."""
        passing = (".lock", ".part", ".part.json")
        return {
            str(file.relative_to(self.folder)): file.read_bytes()
            for place in (self.folder / "cache", self.raw)
            for file in place.rglob("*")
            if file.is_file() and not file.name.endswith(passing)
        }

    def statuses(self, name: str = "a.h5ad") -> list[int]:
        return [request.status for request in self.server.asked(name)]

    def ranges(self, name: str = "a.h5ad") -> list[str | None]:
        return [request.headers.get("Range") for request in self.server.asked(name)]

    def command(self, *more: str) -> list[str]:
        """What a job would run."""
        told = self.settings(timeout=30).as_json()
        return [
            sys.executable, "-m", "dgnbench", "fetch", "tiny", "--settings", told,
            "--component-path", str(self.folder / "clone"), "--output", str(self.raw), *more,
        ]  # fmt: skip


@pytest.fixture
def server():
    with Server({"a.h5ad": GOOD, "mirror/a.h5ad": GOOD}) as running:
        yield running


@pytest.fixture
def desk(tmp_path, server):
    return Desk(tmp_path, server)


def until(what, seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not what() and time.monotonic() < limit:
        time.sleep(0.01)
    assert what()


# A server as it should be


def test_a_file_comes_once_and_is_linked_from_the_cache(desk, server):
    card = desk.card(pinned=sha256(GOOD), size=len(GOOD))
    assert desk.fetch(card) == GOOD
    assert desk.fetch(card) == GOOD
    assert len(server.requests) == 1
    told = desk.source()["a.h5ad"]
    assert (told["url"], told["mirror"]) == (f"{server.url}/a.h5ad", 0)
    assert (told["size"], told["standing"]) == (len(GOOD), "pinned")
    assert told["sha256"] == hashlib.sha256(GOOD).hexdigest()
    assert os.path.samefile(told["path"], desk.raw / "a.h5ad")
    assert not list(desk.raw.glob(".*"))


def test_source_json_is_not_rewritten_when_nothing_changed(desk):
    card = desk.card()
    desk.fetch(card)
    before = (desk.raw / "source.json").stat().st_mtime_ns
    desk.fetch(card)
    assert (desk.raw / "source.json").stat().st_mtime_ns == before


def test_a_copy_stands_in_where_hard_links_do_not_work(desk, monkeypatch):
    def no_link(*_):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    card = desk.card(pinned=sha256(GOOD))
    for _ in range(2):
        assert desk.fetch(card) == GOOD
        assert not os.path.samefile(desk.source()["a.h5ad"]["path"], desk.raw / "a.h5ad")
    assert not list(desk.raw.glob(".*"))


@pytest.mark.parametrize("checksum", [sha256(GOOD), git_name(GOOD)])
def test_a_claim_that_holds_is_no_more_than_a_claim(desk, checksum):
    assert desk.fetch(desk.card(claimed=checksum)) == GOOD
    assert desk.source()["a.h5ad"]["standing"] == "claimed"


def test_our_name_is_sent_where_a_bare_user_agent_gets_403(desk, server):
    server.answers["a.h5ad"] = Answer(only_agent=f"dgnbench/{__version__}")
    assert desk.fetch(desk.card()) == GOOD
    assert desk.source()["a.h5ad"]["mirror"] == 0
    server.answers["a.h5ad"] = Answer(only_agent="Mozilla/")
    assert "status 403" in desk.refuses(desk.card(name="b.h5ad", urls=["a.h5ad"]))


def test_a_redirect_is_followed(desk, server):
    server.answers["a.h5ad"] = Answer(status=302, headers={"Location": f"{server.url}/b?token=1"})
    server.files["b?token=1"] = OTHER
    assert desk.fetch(desk.card()) == OTHER
    assert desk.source()["a.h5ad"]["mirror"] == 0


def test_a_redirect_in_a_circle_or_to_nowhere_leads_to_the_mirror(desk, server):
    for place in (f"{server.url}/a.h5ad", "nowhere://x/"):
        server.answers["a.h5ad"] = Answer(status=302, headers={"Location": place})
        card = desk.card(pinned=sha256(GOOD), name=f"{len(place)}.h5ad")
        assert desk.fetch(card) == GOOD
        assert desk.source()[f"{len(place)}.h5ad"]["mirror"] == 1


def test_two_urls_that_differ_only_in_the_query_are_two_files(desk, server):
    server.files |= {"get?file=1": GOOD, "get?file=2": OTHER}
    for n, wanted in ((1, GOOD), (2, OTHER), (1, GOOD)):
        assert desk.fetch(desk.card(f"clone{n}", urls=[f"get?file={n}"])) == wanted
    both = {f"{n}.h5ad": {"urls": [f"get?file={n}"]} for n in (1, 2)}
    assert desk.fetch(desk.card("elsewhere", files=both)) == OTHER
    assert (desk.raw / "1.h5ad").read_bytes() == GOOD


def test_urls_are_rewritten_to_a_mirror_of_ones_own(desk, server):
    card = desk.card(urls=["gone/a.h5ad"])
    rewrite = {f"{server.url}/gone": f"{server.url}/mirror"}
    assert desk.fetch(card, rewrite_urls=rewrite) == GOOD
    assert desk.source()["a.h5ad"]["url"] == f"{server.url}/gone/a.h5ad"


# What is not the file


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("a.h5ad", Answer(status=202), "status 202"),
        ("a.h5ad", Answer(status=202, body=GOOD), "status 202"),
        ("a.h5ad", Answer(status=404), "status 404"),
        ("a.h5ad", Answer(body=b""), "it is empty"),
        ("a.h5ad", Answer(body=PAGE), "it is a web page"),
        ("a.csv", Answer(body=PAGE), "it is a web page"),
        ("a.csv", Answer(body=b"\xef\xbb\xbf\n<!-- 7 --><html>"), "it is a web page"),
        ("a.csv", Answer(body=b"<?xml version='1.0'?><Error/>"), "it is an XML message"),
        ("a.csv", Answer(body=POINTER), "it is a Git LFS pointer"),
        ("a.h5ad", Answer(body=b"cell,gene\n1,2\n"), "does not begin as a .h5ad"),
        ("a.csv.gz", Answer(body=b"cell,gene\n1,2\n"), "does not begin as a .gz"),
        ("a.h5ad", Answer(body=GOOD[:-1]), "wanted 100000 bytes, the server offers 99999"),
        ("a.h5ad", Answer(body=GOOD + b"x"), "wanted 100000 bytes, the server offers 100001"),
        ("a.h5ad", Answer(body=GOOD + b"x", length="chunked"), "wanted 100000 bytes, got 100001"),
        ("a.csv", Answer(headers={"Content-Encoding": "gzip"}), "compressed (Content-Encoding"),
    ],
)  # fmt: skip
def test_what_is_not_the_file_is_refused_and_the_mirror_asked(desk, server, name, answer, said):
    server.answers["a.h5ad"] = answer
    size = len(GOOD) if "bytes" in said else None
    given = {} if size is None else {"size": size}
    message = desk.refuses(desk.card(name=name, urls=["a.h5ad"], **given))
    assert f"{server.url}/a.h5ad: " in message
    assert said in message
    assert name in message
    assert "rewrite_urls" in message
    assert len(server.requests) == 1  # it would come again

    if not name.endswith(".gz"):
        assert desk.fetch(desk.card(name=name, **given)) == GOOD
        assert desk.source()[name]["mirror"] == 1


def test_a_compressed_table_may_be_declared_as_such(desk, server):
    table = b"\x1f\x8b" + GOOD
    server.answers["a.h5ad"] = Answer(body=table, headers={"Content-Encoding": "x-gzip"})
    assert desk.fetch(desk.card(name="a.csv.gz")) == table


# A server that fails for a while, or for long


def test_503_twice_is_waited_for(desk, server):
    server.answers["a.h5ad"] = [BUSY, BUSY, Answer()]
    assert desk.fetch(desk.card()) == GOOD
    assert desk.statuses() == [503, 503, 200]
    assert desk.source()["a.h5ad"]["mirror"] == 0


def test_503_for_long_leads_to_the_next_mirror(desk, server):
    server.answers["a.h5ad"] = BUSY
    assert desk.fetch(desk.card()) == GOOD
    assert desk.statuses() == [503] * fetching.TRIES
    assert desk.source()["a.h5ad"]["mirror"] == 1
    assert desk.source()["a.h5ad"]["url"] == f"{server.url}/mirror/a.h5ad"


def test_every_url_is_named_with_its_reason_when_none_works(desk, server):
    server.answers |= {"a.h5ad": BUSY, "mirror/a.h5ad": Answer(status=404)}
    message = desk.refuses(desk.card())
    assert f"{server.url}/a.h5ad: given up after 4 tries, the last one: status 503" in message
    assert f"{server.url}/mirror/a.h5ad: status 404" in message


def test_a_server_that_is_down_is_one_message(desk, server):
    card = desk.card()
    server.stop()
    message = desk.refuses(card)
    assert message.count("given up after 4 tries") == 2


@pytest.mark.parametrize("cut", [None, 0, 50_000])
def test_a_connection_that_hangs_is_left_for_the_mirror(desk, server, cut):
    server.answers["a.h5ad"] = Answer(hang=True, cut=cut, ranges=False)
    started = time.monotonic()
    assert desk.fetch(desk.card(), timeout=0.15) == GOOD
    assert time.monotonic() - started < 10
    assert desk.source()["a.h5ad"]["mirror"] == 1


def test_a_connection_that_hangs_once_is_gone_on_with(desk, server):
    server.answers["a.h5ad"] = [Answer(hang=True, cut=50_000), Answer()]
    assert desk.fetch(desk.card(), timeout=0.15) == GOOD
    assert desk.statuses() == [200, 206]


@pytest.mark.parametrize("length", ["content", "chunked", "close"])
@pytest.mark.parametrize("known", [{}, {"size": len(GOOD)}, {"pinned": sha256(GOOD)}])
def test_a_truncated_body_is_never_taken_for_a_file(desk, server, length, known):
    server.answers["a.h5ad"] = Answer(length=length, cut=60_000, ranges=False)
    card = desk.card(urls=["a.h5ad"], **known)
    assert f"{server.url}/a.h5ad" in desk.refuses(card)
    server.answers["a.h5ad"] = [Answer(length=length, cut=60_000), Answer()]
    assert desk.fetch(desk.card(**known)) == GOOD


def test_a_body_without_a_length_is_taken_if_something_tells_that_it_is_whole(desk, server):
    server.answers["a.h5ad"] = Answer(length="close")
    message = desk.refuses(desk.card(urls=["a.h5ad"]))
    assert "does not say where the file ends" in message
    assert desk.fetch(desk.card(urls=["a.h5ad"], pinned=sha256(GOOD))) == GOOD
    assert desk.fetch(desk.card(urls=["a.h5ad"], size=len(GOOD))) == GOOD
    assert len(server.requests) == 3


# A transfer that is broken off, and gone on with


def test_a_killed_transfer_is_gone_on_with(desk, server):
    large, half = content(2, 4 * MIB), 2 * MIB
    server.files["a.h5ad"] = large
    server.answers["a.h5ad"] = [Answer(cut=half, hang=True), Answer()]
    desk.card(urls=["a.h5ad"])
    environment = os.environ | {"DGNBENCH_ROOT": str(ROOT)}
    process = subprocess.Popen(desk.command(), env=environment)
    try:
        until(lambda: [f for f in desk.folder.rglob("*.part") if f.stat().st_size == half])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not any(desk.held().values())  # pooch's temporary file is empty
    done = subprocess.run(desk.command(), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (desk.raw / "a.h5ad").read_bytes() == large
    first, second = server.asked("a.h5ad")
    assert first.headers.get("Range") is None
    assert second.headers["Range"] == f"bytes={half}-"
    assert (second.status, second.sent) == (206, len(large) - half)
    assert not list((desk.folder / "cache").rglob("*.part*"))


def test_a_transfer_that_advances_is_not_given_up(desk, server):
    steps = [Answer(cut=10_000) for _ in range(8)]
    server.answers["a.h5ad"] = [*steps, Answer()]
    assert desk.fetch(desk.card()) == GOOD
    assert desk.statuses() == [200, *[206] * 8]
    assert sum(request.sent for request in server.requests) == len(GOOD)


def test_a_server_that_gives_less_than_the_asked_part_is_asked_again(desk, server):
    server.answers["a.h5ad"] = [Answer(cut=30_000), Answer(ranges=20_000)]
    assert desk.fetch(desk.card()) == GOOD
    assert desk.ranges() == [None, *(f"bytes={n}000-" for n in (30, 50, 70, 90))]


def test_a_server_that_answers_200_to_a_range_request_begins_anew(desk, server):
    card = desk.card()
    desk.breaks_off(card, 50_000)
    server.answers["a.h5ad"] = Answer(ranges=False)
    assert desk.fetch(card) == GOOD
    assert desk.ranges() == ["bytes=50000-"]
    assert desk.statuses() == [200]


def test_a_part_of_another_version_is_begun_anew(desk, server):
    card = desk.card()
    desk.breaks_off(card, 50_000)
    server.files["a.h5ad"] = OTHER
    assert desk.fetch(card) == OTHER
    assert desk.ranges() == ["bytes=50000-"]
    assert desk.statuses() == [200]


def test_a_server_that_ignores_if_range_does_not_mix_two_versions(desk, server):
    card = desk.card()
    desk.breaks_off(card, 50_000)
    server.files["a.h5ad"] = OTHER
    server.answers["a.h5ad"] = Answer(if_range=False)
    assert desk.fetch(card) == OTHER
    assert desk.statuses() == [206, 200]


def test_two_versions_mixed_are_detected_by_the_checksum_and_fetched_anew(desk, server):
    card = desk.card(pinned=sha256(OTHER))
    desk.breaks_off(card, 50_000, etag=False)
    server.files["a.h5ad"] = OTHER
    server.answers["a.h5ad"] = Answer(etag=False)
    assert desk.fetch(card) == OTHER
    assert desk.ranges() == ["bytes=50000-", None]
    assert desk.statuses() == [206, 200]


@pytest.mark.parametrize("weak", [False, True])
def test_a_part_whose_version_nobody_knows_is_not_gone_on_with(desk, server, weak):
    card = desk.card()
    how = {"headers": {"ETag": 'W/"1"'}} if weak else {"etag": False}
    desk.breaks_off(card, 50_000, **how)
    server.files["a.h5ad"] = OTHER
    assert desk.fetch(card) == OTHER
    assert desk.ranges() == [None]


def test_416_begins_anew(desk, server):
    short = content(3, 40_000)
    card = desk.card(pinned=sha256(short))
    desk.breaks_off(card, 50_000, etag=False)
    server.files["a.h5ad"] = short
    assert desk.fetch(card) == short
    assert desk.statuses() == [416, 200]


def test_the_part_of_one_mirror_is_not_gone_on_with_at_another(desk, server):
    server.files["mirror/a.h5ad"] = OTHER
    server.answers["a.h5ad"] = [Answer(cut=50_000), BUSY]
    assert desk.fetch(desk.card()) == OTHER
    assert desk.ranges("mirror/a.h5ad") == [None]


def test_a_part_without_its_note_is_begun_anew(desk, server):
    card = desk.card()
    desk.breaks_off(card, 50_000)
    (note,) = desk.folder.rglob("*.part.json")
    note.write_text('{"url": "http')  # as a crash leaves it
    assert desk.fetch(card) == GOOD
    assert desk.ranges() == [None]


def test_a_refused_mirror_does_not_leave_its_name_on_the_part_of_another(desk, server):
    card = desk.card(size=len(GOOD))
    server.files["mirror/a.h5ad"] = OTHER
    server.answers["a.h5ad"] = [Answer(cut=50_000), BUSY]
    server.answers["mirror/a.h5ad"] = [Answer(headers={"Content-Length": "7"}), Answer()]
    assert "wanted 100000 bytes, the server offers 7" in desk.refuses(card)
    server.answers["a.h5ad"] = Answer(status=404)
    assert desk.fetch(card) == OTHER


def test_two_processes_that_want_one_file_download_it_once(desk, server):
    card = desk.card(urls=["a.h5ad"])
    server.answers["a.h5ad"] = Answer(seconds=0.15)  # about a second in all
    first = subprocess.Popen(desk.command(), env=os.environ | {"DGNBENCH_ROOT": str(ROOT)})
    try:
        until(lambda: server.requests)
        elsewhere = desk.folder / "elsewhere"
        fetching.fetch(card, desk.settings(timeout=30), elsewhere)
    finally:
        assert first.wait(timeout=30) == 0
    assert len(server.requests) == 1
    assert (elsewhere / "a.h5ad").read_bytes() == (desk.raw / "a.h5ad").read_bytes() == GOOD


# Checksums: pinned, claimed, unknown


def test_content_that_changed_after_it_was_pinned_fails_hard(desk, server):
    card = desk.card(pinned=sha256(GOOD))
    server.files |= {"a.h5ad": OTHER, "mirror/a.h5ad": OTHER}
    message = desk.refuses(card)
    assert message.count(f"wanted {sha256(GOOD)} (its card pins), got {sha256(OTHER)}") == 2
    assert "--accept" not in message
    assert "change the card" in desk.refuses(card, accept=("a.h5ad",))
    assert not (card.folder / LOCK).exists()


@pytest.mark.parametrize("claim", [sha256(GOOD), git_name(GOOD)])
def test_content_that_is_not_as_claimed_stops_until_it_is_accepted(desk, server, claim):
    card = desk.card(claimed=claim)
    server.files |= {"a.h5ad": OTHER, "mirror/a.h5ad": OTHER}
    message = desk.refuses(card)
    found = sha256(OTHER) if claim.startswith("sha256") else git_name(OTHER)
    assert f"wanted {claim} (a third party claims), got {found}" in message
    assert "dgnbench fetch tiny --accept a.h5ad" in message

    assert desk.fetch(card, accept=("a.h5ad",)) == OTHER
    assert yaml.safe_load((card.folder / LOCK).read_text()) == {"a.h5ad": sha256(OTHER)}
    server.requests.clear()
    assert desk.fetch(card) == OTHER
    assert not server.requests
    assert desk.source()["a.h5ad"]["standing"] == "recorded"
    fresh = desk.folder / "cache" / "fresh"
    assert desk.fetch(card, cache_dir=fresh) == OTHER
    server.files |= {"a.h5ad": GOOD, "mirror/a.h5ad": GOOD}
    message = desk.refuses(card, cache_dir=fresh / "still")
    assert f"wanted {sha256(OTHER)} (was recorded at the first fetch)" in message


def test_an_unknown_checksum_is_recorded_once_and_binds_from_then_on(desk, server):
    card = desk.card()
    assert desk.fetch(card) == GOOD
    lock = (card.folder / LOCK).read_text()
    assert yaml.safe_load(lock) == {"a.h5ad": sha256(GOOD)}
    assert lock.startswith("#")
    server.files |= {"a.h5ad": OTHER, "mirror/a.h5ad": OTHER}
    message = desk.refuses(card, cache_dir=desk.folder / "cache" / "fresh")
    assert (
        f"wanted {sha256(GOOD)} (was recorded at the first fetch), got {sha256(OTHER)}" in message
    )
    assert "dgnbench fetch tiny --accept a.h5ad" in message
    assert (card.folder / LOCK).read_text() == lock
    assert desk.fetch(card) == GOOD  # the cache still has what was recorded


def test_accepting_one_file_keeps_the_records_of_the_others(desk, server):
    files = {f"{n}.h5ad": {"urls": [f"{n}.h5ad"]} for n in "bc"}
    server.files |= {"b.h5ad": GOOD, "c.h5ad": GOOD}
    card = desk.card(files=files)
    desk.fetch(card)
    server.files |= {"b.h5ad": OTHER, "c.h5ad": OTHER}
    assert desk.fetch(card, accept=("b.h5ad",)) == GOOD
    assert (desk.raw / "b.h5ad").read_bytes() == OTHER
    recorded = yaml.safe_load((card.folder / LOCK).read_text())
    assert recorded == {"b.h5ad": sha256(OTHER), "c.h5ad": sha256(GOOD)}


def test_what_is_accepted_must_still_be_a_file(desk, server):
    card = desk.card(claimed=sha256(GOOD))
    server.files |= {"a.h5ad": PAGE, "mirror/a.h5ad": PAGE}
    assert "it is a web page" in desk.refuses(card, accept=("a.h5ad",))
    assert not (card.folder / LOCK).exists()


def test_what_one_clone_accepted_another_does_not_get_unasked(desk, server):
    server.files |= {"a.h5ad": OTHER, "mirror/a.h5ad": OTHER}
    desk.fetch(desk.card("one", claimed=sha256(GOOD)), accept=("a.h5ad",))
    other = desk.card("two", claimed=sha256(GOOD))
    assert "a third party claims" in desk.refuses(other)
    server.files["a.h5ad"] = GOOD
    assert desk.fetch(other) == GOOD


def test_a_record_that_came_from_another_clone_binds_here_too(desk, server):
    card = desk.card()
    desk.fetch(card)
    (card.folder / LOCK).write_text(yaml.safe_dump({"a.h5ad": sha256(OTHER)}))
    assert "was recorded at the first fetch" in desk.refuses(card)
    server.requests.clear()
    assert "`offline`" in desk.refuses(card, offline=True)
    assert not server.requests
    server.files["a.h5ad"] = OTHER
    assert desk.fetch(card) == OTHER


def test_strict_checksums_refuse_what_nobody_knows(desk, server):
    card = desk.card()
    message = desk.refuses(card, strict_checksums=True)
    assert "no checksum of a.h5ad is known" in message
    assert LOCK in message
    assert not server.requests
    desk.fetch(card)
    assert desk.fetch(card, strict_checksums=True) == GOOD
    assert desk.fetch(desk.card("two", claimed=sha256(GOOD)), strict_checksums=True) == GOOD


def test_ci_is_strict_unless_the_config_says_otherwise(monkeypatch):
    assert not Settings.of({}).strict_checksums
    monkeypatch.setenv("CI", "true")
    assert Settings.of({}).strict_checksums
    assert not Settings.of({"strict_checksums": False}).strict_checksums


def test_an_unknown_name_cannot_be_accepted(desk, server):
    message = desk.refuses(desk.card(), accept=("b.h5ad",))
    assert "no file 'b.h5ad'; it has a.h5ad" in message
    assert not server.requests


# Files that a person fetches


def test_a_manual_file_that_is_missing_is_said_with_page_and_place(desk):
    message = desk.refuses(desk.card(urls=[]))
    assert "https://example.org/tiny" in message
    assert str(desk.folder / "manual" / "tiny" / "a.h5ad") in message


def test_a_manual_file_is_verified_and_recorded(desk):
    mine = desk.folder / "manual" / "tiny" / "a.h5ad"
    mine.parent.mkdir(parents=True)
    card = desk.card(urls=[])
    mine.write_bytes(PAGE)
    message = desk.refuses(card)
    assert f"{mine}: it is a web page; fetch it again from https://example.org/tiny" in message
    mine.write_bytes(GOOD)
    assert desk.fetch(card, offline=True) == GOOD
    assert yaml.safe_load((card.folder / LOCK).read_text()) == {"a.h5ad": sha256(GOOD)}
    mine.unlink()
    mine.write_bytes(OTHER)
    assert "--accept a.h5ad" in desk.refuses(card)
    assert desk.fetch(card, accept=("a.h5ad",)) == OTHER
    assert desk.source()["a.h5ad"]["standing"] == "recorded"
    other = desk.card("another clone", urls=[])
    assert "`strict_checksums`" in desk.refuses(other, strict_checksums=True)
    assert desk.fetch(other, accept=("a.h5ad",), strict_checksums=True) == OTHER


def test_a_manual_file_that_is_not_the_pinned_one_is_refused(desk):
    mine = desk.folder / "manual" / "tiny" / "a.h5ad"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(OTHER)
    message = desk.refuses(desk.card(urls=[], pinned=sha256(GOOD)))
    assert str(mine) in message
    assert f"wanted {sha256(GOOD)} (its card pins), got {sha256(OTHER)}" in message


# Without a network, and with a cache that somebody touched


def test_offline_uses_the_cache_and_asks_nobody(desk, server):
    card = desk.card()
    desk.fetch(card)
    server.requests.clear()
    desk.raw = desk.folder / "another"
    assert desk.fetch(card, offline=True) == GOOD
    assert "`offline`" in desk.refuses(card, offline=True, accept=("a.h5ad",))
    assert not server.requests


def test_offline_names_all_missing_files_at_once(desk, server):
    files = {f"{n}.h5ad": {"urls": [f"{n}.h5ad"]} for n in "bcd"} | {"m.h5ad": {}}
    card = desk.card(files=files)
    server.files["c.h5ad"] = GOOD
    desk.fetch(desk.card("one", files={"c.h5ad": {"urls": ["c.h5ad"]}}))
    server.requests.clear()
    message = desk.refuses(card, offline=True)
    for name in ("b.h5ad", "d.h5ad", "m.h5ad"):
        assert f"tiny: {name} " in message
    assert "c.h5ad" not in message
    assert str(desk.folder / "cache") in message
    assert f"{server.url}/b.h5ad" in message
    assert not server.requests


def poisoned(desk: Desk, data: bytes) -> None:
    (cached,) = (desk.folder / "cache").rglob("a.h5ad")
    cached.chmod(0o644)
    cached.write_bytes(data)


@pytest.mark.parametrize("known", [{}, {"pinned": sha256(GOOD)}, {"claimed": git_name(GOOD)}])
@pytest.mark.parametrize("data", [OTHER, GOOD[:500], b"", PAGE])
def test_a_cached_file_that_was_edited_is_never_used(desk, server, known, data):
    card = desk.card(**known)
    desk.fetch(card)
    desk.raw = desk.folder / "another"
    poisoned(desk, data)
    server.requests.clear()
    message = desk.refuses(card, offline=True)
    assert not server.requests
    assert "a.h5ad" in message
    assert "`offline`" in message
    assert desk.fetch(card) == GOOD
    assert len(server.requests) == 1


def test_an_edited_file_is_not_trusted_by_a_clone_that_knows_no_checksum(desk):
    desk.fetch(desk.card("one"))
    poisoned(desk, OTHER)
    other = desk.card("two")
    assert "it was changed in the cache" in desk.refuses(other, offline=True)
    assert desk.fetch(other) == GOOD
    assert yaml.safe_load((other.folder / LOCK).read_text()) == {"a.h5ad": sha256(GOOD)}


def test_a_cached_file_without_its_record_is_fetched_anew(desk, server):
    card = desk.card()
    desk.fetch(card)
    poisoned(desk, OTHER)
    (record,) = (desk.folder / "cache").rglob("a.h5ad.source.json")
    for text in (None, "{", '{"of": "another version of dgnbench"}'):
        record.unlink()
        if text is not None:
            record.write_text(text)
        desk.raw = desk.folder / f"raw{len(text or '')}"
        message = desk.refuses(card, offline=True)
        assert "a.h5ad" in message
        assert ("snakemake prefetch" in message) == (text is None)  # said before any job
        assert desk.fetch(card) == GOOD
        poisoned(desk, OTHER)


def test_a_cached_file_is_read_once_to_be_verified(desk, monkeypatch):
    read = []
    real = fetching.digests_of

    def counting(path, *algorithms):
        read.append(path)
        return real(path, *algorithms)

    monkeypatch.setattr(fetching, "digests_of", counting)
    card = desk.card(claimed=git_name(GOOD))
    desk.fetch(card)
    assert len(read) == 1
    desk.fetch(card)
    assert len(read) == 2


def test_output_keeps_the_old_files_until_all_new_ones_are_there(desk, server):
    files = {f"{n}.h5ad": {"urls": [f"{n}.h5ad"], "size": len(GOOD)} for n in "bc"}
    server.files |= {"b.h5ad": GOOD, "c.h5ad": GOOD}
    card = desk.card(files=files)
    desk.fetch(card)
    server.files |= {"b.h5ad": OTHER, "c.h5ad": PAGE}
    with pytest.raises(FetchError, match=r"c\.h5ad"):
        desk.fetch(card, accept=("b.h5ad", "c.h5ad"))
    assert (desk.raw / "b.h5ad").read_bytes() == (desk.raw / "c.h5ad").read_bytes() == GOOD


def test_a_place_that_cannot_be_written_is_one_message(desk):
    (desk.folder / "taken").write_text("a file where a folder is wanted")
    message = desk.refuses(desk.card(), cache_dir=desk.folder / "taken")
    assert f"cannot be kept in {desk.folder / 'taken'}" in message
    assert "is there room, and may you write there?" in message
