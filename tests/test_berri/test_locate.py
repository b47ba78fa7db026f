from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request, urlopen

import pytest

import berri.locate
from berri.card import Source, SourceFile, read_card
from berri.locate import locate
from tart.errors import DataError, DownloadError

CONTENT = b'{"q": "a", "d": "b"}\n'
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = "https://example.org/rows.jsonl"


def source(*files: SourceFile) -> Source:
    texts = dict.fromkeys(("title", "published", "revision", "license", "license_reason", "citation", "domain"), "x")
    return Source(
        name="made_up",
        license_class="open",
        overlaps=(),
        note="",
        files=files,
        reader="jsonl",
        settings={},
        text_steps=(),
        **texts,
    )


@pytest.fixture
def one() -> Source:
    return source(SourceFile("rows.jsonl", SHA256, URL))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    (tmp_path / "mirror" / "made_up").mkdir(parents=True)
    (tmp_path / "mirror" / "made_up" / "rows.jsonl").write_bytes(CONTENT)
    return tmp_path / "mirror"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(berri.locate, "WAIT", 0.0)
    return tmp_path / "cache" / "sources" / "made_up"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A server on this machine that gives its answers one after the other: (status, headers, body)."""
    state = SimpleNamespace(answers=[], asked=0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = state.answers[min(state.asked, len(state.answers) - 1)]
            state.asked += 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    served = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    address = f"http://127.0.0.1:{served.server_port}/"
    monkeypatch.setattr(berri.locate, "open_url", lambda url: urlopen(address, timeout=5))
    yield state
    served.shutdown()
    served.server_close()


def test_a_mirror_that_holds_every_file_is_used_as_it_is(one: Source, mirror: Path, cache: Path) -> None:
    files = locate(one, mirror, download=True)
    assert files.folder == mirror / "made_up"
    assert files.names == ("rows.jsonl",)
    assert files.text("rows.jsonl").encode() == CONTENT
    assert not cache.exists()


def test_each_file_of_a_partly_filled_mirror_is_found_by_itself(
    mirror: Path, cache: Path, server: SimpleNamespace
) -> None:
    (cache / "more").mkdir(parents=True)
    (cache / "more" / "rows.jsonl").write_bytes(CONTENT)
    files = [SourceFile(name, SHA256, "") for name in ("rows.jsonl", "more/rows.jsonl")]
    last = SourceFile("last.jsonl", SHA256, URL)
    with pytest.raises(DownloadError, match=f"{mirror / 'made_up' / 'last.jsonl'}: no such file, and nothing"):
        locate(source(*files, last), mirror, download=False)
    server.answers = [(200, {}, CONTENT)]
    found = locate(source(*files, last), mirror, download=True)
    assert [found.path(name) for name in found.names] == [
        mirror / "made_up" / "rows.jsonl",
        cache / "more" / "rows.jsonl",
        cache / "last.jsonl",
    ]
    assert [found.text(name).encode() for name in found.names] == [CONTENT] * 3
    assert server.asked == 1


def test_bad_rows_go_where_they_were_asked_to(one: Source, mirror: Path) -> None:
    told: list[DataError] = []
    locate(one, mirror, False, told.append).bad("no text", "rows.jsonl", 1)
    assert str(told[0]) == f"{mirror / 'made_up' / 'rows.jsonl'}:1: no text"


def test_a_flipped_byte_is_refused_with_both_hashes(one: Source, mirror: Path) -> None:
    path = mirror / "made_up" / "rows.jsonl"
    flipped = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    path.write_bytes(flipped)
    with pytest.raises(DataError) as caught:
        locate(one, mirror, download=False)
    assert str(path) in str(caught.value)
    assert f"sha256 {hashlib.sha256(flipped).hexdigest()}, the card wants {SHA256}" in str(caught.value)


def test_a_truncated_file_is_refused(one: Source, mirror: Path) -> None:
    (mirror / "made_up" / "rows.jsonl").write_bytes(CONTENT[:-3])
    with pytest.raises(DataError, match=f"the card wants {SHA256}"):
        locate(one, mirror, download=False)


def test_a_file_is_hashed_once_in_a_run_and_again_when_it_has_changed(
    one: Source, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    real = berri.locate.sha256_file
    monkeypatch.setattr(berri.locate, "sha256_file", lambda path: hashed.append(path) or real(path))
    locate(one, mirror, download=False)
    locate(one, mirror, download=False)
    assert len(hashed) == 1
    (mirror / "made_up" / "rows.jsonl").write_bytes(CONTENT + b"\n")
    with pytest.raises(DataError, match="the card wants"):
        locate(one, mirror, download=False)
    assert len(hashed) == 2


def test_a_missing_file_without_downloads_cannot_be_had(one: Source, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"mirror.made_up.rows\.jsonl: no such file, and nothing is downloaded"):
        locate(one, tmp_path / "mirror", download=False)


def test_a_missing_file_without_an_address_cannot_be_had(tmp_path: Path) -> None:
    without = source(SourceFile("rows.jsonl", SHA256, ""))
    with pytest.raises(DownloadError, match=r"rows\.jsonl: no such file, and it has no address of its own"):
        locate(without, tmp_path / "mirror", download=True)


def test_a_source_of_the_hub_has_no_files_and_needs_downloads(mirror: Path) -> None:
    hub = replace(source(), reader="hub")
    assert hub.comes_from == "hub"
    assert locate(hub, mirror, download=True).names == ()
    with pytest.raises(DownloadError, match="made_up comes from the hub, and nothing is downloaded"):
        locate(hub, mirror, download=False)


def test_a_name_that_points_outside_is_refused_by_the_card_and_by_locate(mirror: Path, tmp_path: Path) -> None:
    outside = source(SourceFile("../other/rows.jsonl", SHA256, URL))
    with pytest.raises(DataError, match=r"'\.\./other/rows\.jsonl' points outside"):
        locate(outside, mirror, download=True)
    card = Path(berri.locate.__file__).parent / "cards" / "scitldr.toml"
    bad = tmp_path / "bad.toml"
    bad.write_text(card.read_text().replace('name = "SciTLDR-A_train', 'name = "../SciTLDR-A_train'))
    with pytest.raises(DataError, match="a name below it"):
        read_card(bad)


def test_what_was_downloaded_is_kept_and_not_asked_for_again(one: Source, cache: Path, server: SimpleNamespace) -> None:
    server.answers = [(200, {"Content-Length": str(len(CONTENT))}, CONTENT)]
    assert locate(one, None, download=True).folder == cache
    assert (cache / "rows.jsonl").read_bytes() == CONTENT
    locate(one, None, download=False)
    assert server.asked == 1


def test_a_broken_transfer_is_tried_again(one: Source, cache: Path, server: SimpleNamespace) -> None:
    length = {"Content-Length": str(len(CONTENT))}
    server.answers = [(503, {}, b""), (200, length, CONTENT[:5]), (200, length, CONTENT)]
    assert locate(one, None, download=True).text("rows.jsonl").encode() == CONTENT
    assert server.asked == 3


def test_a_transfer_that_stays_broken_leaves_nothing(one: Source, cache: Path, server: SimpleNamespace) -> None:
    server.answers = [(200, {"Content-Length": str(len(CONTENT))}, CONTENT[:5])]
    with pytest.raises(DownloadError, match=f"{URL}: can't be downloaded .*5 of {len(CONTENT)} bytes came"):
        locate(one, None, download=True)
    assert server.asked == berri.locate.TRIES
    assert list(cache.iterdir()) == []


def test_a_download_of_the_wrong_hash_is_not_kept(one: Source, cache: Path, server: SimpleNamespace) -> None:
    server.answers = [(200, {}, b"something else")]
    wrong = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(DataError, match=f"{URL}: came with the sha256 {wrong}, the card wants {SHA256}"):
        locate(one, None, download=True)
    assert list(cache.iterdir()) == []


def test_a_file_that_is_not_there_is_asked_for_once(one: Source, server: SimpleNamespace) -> None:
    server.answers = [(404, {}, b"")]
    with pytest.raises(DownloadError, match="404"):
        locate(one, None, download=True)
    assert server.asked == 1


def test_a_download_that_grows_too_large_is_cut_off(
    one: Source, cache: Path, server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(berri.locate, "MOST_BYTES", len(CONTENT) - 1)
    server.answers = [(200, {}, CONTENT)]
    with pytest.raises(DownloadError, match=f"has over {len(CONTENT) - 1} bytes"):
        locate(one, None, download=True)
    assert list(cache.iterdir()) == []


def test_only_https_is_opened_and_followed() -> None:
    with pytest.raises(DownloadError, match="wanted an https address"):
        berri.locate.open_url("http://example.org/rows.jsonl")
    redirect = berri.locate._HttpsOnly().redirect_request
    with pytest.raises(DownloadError, match=r"leads to http://example\.org/x, which is not https"):
        redirect(Request(URL), None, 302, "Found", {}, "http://example.org/x")
