"""Archives are downloaded once, checked, unpacked and kept; a server on loopback stands in for their publishers."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from dataclasses import replace
from typing import ClassVar

import pytest

from tfmtl.data.datasets.published import Published, cache_folder, folder_of

PLAIN = b"a,b\n1,2\n"


def pack(path):
    """A zip with a tar.gz inside, as the UCI archive has it; one name in it would climb out of the folder."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as packed:
        for name in ("rows.data", "../../rows.test", "notes.txt"):
            member = tarfile.TarInfo(name)
            member.size = len(PLAIN)
            packed.addfile(member, io.BytesIO(PLAIN))
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("deep/inner.tar.gz", inner.getvalue())
    return path


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/short"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(PLAIN)
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    pack(folder / "rows.zip")
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TFMTL_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    Handler.asked.clear()
    url, folder = server
    digest = hashlib.md5((folder / "rows.zip").read_bytes()).hexdigest()
    return Published("rows", f"{url}/rows.zip", ("rows.*",), "https://example.org/rows", f"md5:{digest}")


def test_is_downloaded_once_and_unpacked_by_name(published, tmp_path, capsys):
    kept = folder_of(published, None, verbose=1)
    assert kept == tmp_path / "cache" / "rows" == folder_of(published, None)
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == {"rows.data": PLAIN, "rows.test": PLAIN}
    assert Handler.asked == ["/rows.zip"]
    assert "1/1" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["rows"]


def test_a_given_folder_needs_no_network(published, tmp_path):
    assert folder_of(published, str(tmp_path)) == tmp_path and not Handler.asked


@pytest.mark.parametrize("digest", ["md5:" + "0" * 32, "sha256:" + "0" * 64])
def test_another_archive_is_refused_and_not_kept(published, digest, tmp_path):
    with pytest.raises(ValueError, match=r"is not the archive of rows that is known.*Nothing was kept"):
        folder_of(replace(published, digest=digest), None)
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_digest_the_first_download_is_remembered(published, server, tmp_path):
    trusted = replace(published, digest=None)
    kept = folder_of(trusted, None)
    for file in kept.iterdir():
        file.unlink()
    kept.rmdir()
    assert folder_of(trusted, None).is_dir()  # the same again
    (tmp_path / "cache" / "rows.sha256").write_text("0" * 64)
    kept.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="its sha256 is"):
        folder_of(trusted, None)


@pytest.mark.parametrize(("path", "reason"), [("short.zip", "8 of 1,000 bytes"), ("none.zip", "File not found")])
def test_what_does_not_come_is_said(published, path, reason, tmp_path):
    url = published.url.replace("rows.zip", path)
    with pytest.raises(
        ConnectionError, match=rf"could not be downloaded .*{reason}.*Without a network, get it from https"
    ):
        folder_of(replace(published, url=url), None)
    assert not list((tmp_path / "cache").iterdir())


def test_no_network(published):
    with pytest.raises(ConnectionError, match=r"rows could not be downloaded .*refused.*Without a network"):
        folder_of(replace(published, url="http://127.0.0.1:9/rows.zip"), None)


def test_an_archive_without_the_files(published):
    with pytest.raises(ValueError, match=r"holds no \['other.csv'\]"):
        folder_of(replace(published, files=("rows.*", "other.csv")), None)


def test_the_folder_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TFMTL_DATA", "s3://bucket")
    with pytest.raises(ValueError, match="TFMTL_DATA"):
        cache_folder()
    monkeypatch.delenv("TFMTL_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tfmtl"
