"""Downloads that break off and go on, and archives that try to leave their folder. The server is this machine."""

import http.server
import io
import shutil
import sys
import tarfile
import threading

import numpy as np
import pytest

from comflp.errors import ComflpError
from fixtures.corpora import ROOT

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT: /ranges answers ranges, /whole does not, /breaks ends after a million bytes, /long has one byte more."""

    def do_GET(self):
        content = CONTENT + b"x" if self.path == "/long" else CONTENT
        start = 0
        if self.path != "/whole" and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:start + 1_000_000] if self.path == "/breaks" else content[start:])

    def log_message(self, *_):
        """Nothing is logged."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.starts = []
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def tools():
    sys.path.insert(0, str(ROOT / "local"))
    try:
        import fetch
        import unpack
    finally:
        sys.path.remove(str(ROOT / "local"))
    return fetch, unpack


@pytest.fixture
def fetch(tools):
    return tools[0].fetch


@pytest.fixture
def unpack(tools):
    return tools[1]


def test_a_broken_download_goes_on_where_it_stopped(server, fetch, tmp_path):
    out = tmp_path / "new" / "file.tgz"
    for done in ("1,000,000", "2,000,000"):
        with pytest.raises(ComflpError, match=f"broke off after {done} of 3,000,000 bytes; run the same command again"):
            fetch(f"{server.url}/breaks", len(CONTENT), out)
        assert not out.exists()
    fetch(f"{server.url}/breaks", len(CONTENT), out)
    assert out.read_bytes() == CONTENT and server.starts == [0, 1_000_000, 2_000_000]
    assert [path.name for path in out.parent.iterdir()] == ["file.tgz"]


def test_a_server_without_ranges_is_asked_for_all_of_it(server, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(b"old" * 1000)
    fetch(f"{server.url}/whole", len(CONTENT), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_of_another_size_is_refused(server, fetch, tmp_path):
    with pytest.raises(ComflpError, match="longer than the 3,000,000 bytes"):
        fetch(f"{server.url}/long", len(CONTENT), tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_no_server_and_no_room_are_said(fetch, tmp_path, server):
    server.shutdown()
    with pytest.raises(ComflpError, match="no room for the 1,000,000,000,000,000,000 bytes"):
        fetch(f"{server.url}/ranges", 10**18, tmp_path / "file")
    with pytest.raises(ComflpError, match="http://127.0.0.1:1/x cannot be fetched"):
        fetch("http://127.0.0.1:1/x", 10, tmp_path / "file")


def test_the_script_skips_what_is_there(server, script, tmp_path):
    arguments = ["local/fetch.py", "--url", f"{server.url}/ranges", "--bytes", len(CONTENT), "--out", "f"]
    script(*arguments)
    assert "is there already" in script(*arguments).stdout and server.starts == [0]
    (tmp_path / "f").write_bytes(b"short")
    assert "is not this download of 3,000,000 bytes; add --force to replace it" in script(*arguments, check=False).stderr
    assert (tmp_path / "f").read_bytes() == b"short"
    script(*arguments, "--force")
    assert (tmp_path / "f").read_bytes() == CONTENT


def make_archive(path, members):
    """A tar.gz of {name: bytes, or a function that changes the member's TarInfo}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if callable(content):
                content(info)
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def link(kind, target):
    def change(info):
        info.type, info.linkname = kind, target

    return change


def test_one_folder_of_an_archive_is_unpacked_whole(unpack, tmp_path):
    make_archive(tmp_path / "x.tgz", {"LibriSpeech/dev-clean/1/a.flac": b"a", "LibriSpeech/README.TXT": b"r"})
    unpack.unpack(tmp_path / "x.tgz", "LibriSpeech/dev-clean", tmp_path / "d")
    assert [path.relative_to(tmp_path / "d").as_posix() for path in (tmp_path / "d").rglob("[!.]*") if path.is_file()] == [
        "LibriSpeech/dev-clean/1/a.flac"]
    with pytest.raises(ComflpError, match="does not hold one folder other"):
        unpack.unpack(tmp_path / "x.tgz", "other", tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../outside", b"x"),
        ("a/../../outside", b"x"),
        ("{tmp_path}/outside", b"x"),
        ("a/link", link(tarfile.SYMTYPE, "/etc")),
        ("a/hard", link(tarfile.LNKTYPE, "../../outside")),
        ("a/fifo", link(tarfile.FIFOTYPE, "")),
    ],
)
def test_nothing_is_written_outside_the_target(unpack, tmp_path, name, content):
    make_archive(tmp_path / "x.tgz", {"a/fine": b"x", name.format(tmp_path=tmp_path): content})
    with pytest.raises(ComflpError, match=r"x\.tgz: .* is a link, a device or outside the target"):
        unpack.unpack(tmp_path / "x.tgz", "a", tmp_path / "d" / "e")
    assert not list((tmp_path / "d" / "e").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "x.tgz"]


def test_a_damaged_archive_is_named_and_leaves_nothing(unpack, tmp_path):
    make_archive(tmp_path / "x.tgz", {"a/f": CONTENT})
    (tmp_path / "x.tgz").write_bytes((tmp_path / "x.tgz").read_bytes()[:100_000])
    with pytest.raises(ComflpError, match=r"x\.tgz cannot be unpacked"):
        unpack.unpack(tmp_path / "x.tgz", "a", tmp_path / "d")
    assert not list((tmp_path / "d").iterdir())


def test_speaker_archives_are_unpacked_in_place_and_only_once(unpack, script, tmp_path):
    wav = tmp_path / "data_aishell" / "wav"
    make_archive(wav / "S0002.tar.gz", {"train/S0002/a.wav": b"a"})
    make_archive(wav / "S0724.tar.gz", {"dev/S0724/b.wav": b"b"})
    assert unpack.unpack_nested(wav) == 2
    assert (wav / "train/S0002/a.wav").read_bytes() == b"a" and (wav / "dev/S0724/b.wav").read_bytes() == b"b"
    shutil.rmtree(wav / "dev" / "S0724")
    assert "1 archives unpacked" in script("local/unpack.py", "--nested", wav).stdout
    assert (wav / "dev/S0724/b.wav").exists()


def test_librispeechs_script_names_a_part_that_does_not_exist(script):
    failed = script("recipes/librispeech/local/download.sh", "--parts", "dev-clen", cwd=ROOT / "recipes" / "librispeech", check=False)
    assert failed.returncode == 1 and "LibriSpeech has no part dev-clen" in failed.stderr


def test_fsdds_script_clones_and_keeps_what_is_there(script, tmp_path):
    recipe = ROOT / "recipes" / "fsdd"
    failed = script("recipes/fsdd/local/download.sh", "--target", tmp_path / "d", "--url", tmp_path / "none", cwd=recipe, check=False)
    assert failed.returncode == 1 and "pass its folder as --corpus DIR" in failed.stderr and not list((tmp_path / "d").iterdir())
    (tmp_path / "d" / "free-spoken-digit-dataset").mkdir()
    assert "is there already" in script("recipes/fsdd/local/download.sh", "--target", tmp_path / "d", cwd=recipe).stdout
