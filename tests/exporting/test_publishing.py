"""A version is there whole or not at all."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import begin_fresh

from tfmtl.atomic_file import replacing
from tfmtl.exporting.publishing import check_writable, choose_version, publish, remove_old, staging
from tfmtl.exporting.warmup_requests import WARMUP_FILE
from tfmtl.serving.protocol.base_paths import model_path
from tfmtl.serving.protocol.version_folders import versions
from tfmtl.serving.server.graph_session import GraphSession


def make(base, *names):
    for name in names:
        (base / name).mkdir(parents=True)
        (base / name / "saved_model.pb").write_text(name)


def test_folders_are_versions_as_a_server_reads_their_names(tmp_path):
    make(tmp_path, "1", "007", "-1", "+12", "v3", "4.tmp", ".5", "1_0", "1e3", "20261126212400000000000")
    assert list(versions(tmp_path)) == [-1, 1, 7, 12]
    assert versions(tmp_path / "nowhere") == {}


def test_versions_count_up(tmp_path):
    assert choose_version(tmp_path / "new", None) == 1
    make(tmp_path, "2", "010", "v99", "20261126212400000000000")
    assert choose_version(tmp_path, None) == 11
    assert choose_version(tmp_path, 3) == 3


def test_there_is_nothing_above_the_highest(tmp_path):
    make(tmp_path, str(2**63 - 1))
    with pytest.raises(ValueError, match=f"version={2**63}"):
        choose_version(tmp_path, None)


@pytest.mark.parametrize("version", [2, 10])
def test_a_version_is_never_written_twice(tmp_path, version):
    make(tmp_path, "2", "010")
    with pytest.raises(FileExistsError, match=f"Version {version} exists"):
        choose_version(tmp_path, version)


@pytest.mark.parametrize("version", [0, -1, 2**63, True, "3", 1.0])
def test_a_version_is_a_positive_int64(tmp_path, version):
    with pytest.raises(ValueError, match=f"version={version!r}"):
        choose_version(tmp_path, version)


def test_publishes_what_was_staged(tmp_path):
    base = tmp_path / "models" / "ranker"
    with staging(base) as folder:
        assert folder.parent == base.parent and folder not in base.iterdir()
        (folder / "variables").mkdir()
        (folder / "variables" / "data").write_text("weights")
        assert publish(folder, base, 4) == base / "4"
    assert (base / "4" / "variables" / "data").read_text() == "weights"
    assert list(base.parent.iterdir()) == [base]


def test_what_fails_leaves_nothing(tmp_path):
    base = tmp_path / "ranker"
    with pytest.raises(RuntimeError), staging(base) as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert list(base.iterdir()) == [] and list(tmp_path.iterdir()) == [base]


def test_the_second_of_two_that_publish_the_same_version_is_told(tmp_path):
    base = tmp_path / "ranker"
    with staging(base) as first, staging(base) as second:
        for folder in (first, second):
            (folder / "saved_model.pb").write_text(folder.name)
        publish(first, base, 1)
        with pytest.raises(FileExistsError, match="in the meantime"):
            publish(second, base, 1)
    assert (base / "1" / "saved_model.pb").read_text() == first.name


def test_keeps_the_newest_and_what_is_to_be_spared(tmp_path):
    base = tmp_path / "ranker"
    make(base, "1", "2", "7", "10", "notes")
    remove_old(base, 2, spared=[2])
    assert sorted(child.name for child in base.iterdir()) == ["10", "2", "7", "notes"]
    assert list(tmp_path.iterdir()) == [base]


def test_two_may_remove_at_the_same_time(tmp_path):
    for attempt in range(20):
        base = tmp_path / str(attempt) / "ranker"
        make(base, *map(str, range(1, 9)))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(remove_old, [base] * 4, [1] * 4, [()] * 4))
        assert [child.name for child in base.iterdir()] == ["8"]


def test_an_old_version_that_cannot_be_removed_is_a_warning(tmp_path):
    base = tmp_path / "ranker"
    make(base, "2")
    (base / "1").write_text("a file in the place of a version")
    with pytest.warns(UserWarning, match="Version 1 is old and could not be removed"):
        remove_old(base, 1, spared=[])
    assert (base / "2").is_dir()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is a file"):
        check_writable(tmp_path / "file" / "ranker")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="locked cannot be written"):
        check_writable(tmp_path / "locked" / "ranker")


EXPORT_FOR_EVER = """
import os, sys
from pathlib import Path
from exporting.small_ranker import SCHEMA, small_model
from tfmtl.exporting.export import export

model = small_model()
Path(sys.argv[2]).write_text(str(os.getpid()))
while True:
    export(model, sys.argv[1], SCHEMA, tasks=["click"])
"""


def test_kill_9_leaves_only_whole_versions(tmp_path):
    """Killed while it writes version 2 and later: what has a number loads, what is half written has none."""
    base, number = tmp_path / "models" / "ranker", tmp_path / "process"
    code = begin_fresh(EXPORT_FOR_EVER, base, number)
    while not (versions(base) and list(base.parent.glob(".ranker.export-*/variables"))):
        assert not code.done()
        time.sleep(0.001)
    os.kill(int(number.read_text()), signal.SIGKILL)
    assert code.result() == -signal.SIGKILL
    half_written = [child for child in base.parent.iterdir() if child != base]
    assert len(half_written) == 1 and not half_written[0].name.isdigit()
    for version, folder in versions(base).items():
        GraphSession(folder).close()
        assert (folder / WARMUP_FILE).stat().st_size and folder.name == str(version)
    assert choose_version(base, None) == max(versions(base)) + 1


LEAVE_HALF = """
import os, sys, time
from pathlib import Path
from tfmtl.atomic_file import replacing
from tfmtl.exporting.publishing import staging

base, written, end = map(Path, sys.argv[1:])
with staging(base) as folder, replacing(base / "models.config") as file:
    (folder / "saved_model.pb").write_text("half")
    file.write_text("half")
    written.touch()
    if end.name == "dies":
        os._exit(1)
    while not end.exists():
        time.sleep(0.01)
"""


def begin(base, end):
    """A process that has written half of an export, and goes on when there is a file `end`."""
    written = end.with_suffix(".written")
    code = begin_fresh(LEAVE_HALF, base, written, end)
    while not written.exists():
        assert not code.done()
        time.sleep(0.01)
    return code


def test_what_dead_exports_have_left_is_removed_and_nothing_else(tmp_path):
    base = tmp_path / "models" / "ranker"
    other = base.parent / ".ranker2.export-0123456789ab"
    other.mkdir(parents=True)
    dead, alive = begin(base, tmp_path / "dies"), begin(base, tmp_path / "lives")
    assert dead.result() == 1
    old = base.parent / ".ranker.removed-0123456789ab"
    old.mkdir()
    with staging(base) as own, replacing(base / "models.config") as file:
        there = {path.name for path in base.parent.iterdir()} - {"ranker", own.name, other.name}
        assert len(there) == 1 and there.pop().startswith(".ranker.export-")  # of the one that lives
        assert len(list(base.iterdir())) == 2
        file.write_text("whole")
    (tmp_path / "lives").touch()
    assert alive.result() == 0
    assert sorted(path.name for path in base.parent.iterdir()) == [other.name, "ranker"]
    assert [path.name for path in base.iterdir()] == ["models.config"]


@pytest.mark.parametrize("name", ["ranker[v2]", "rank*", "rank?", r"rank\er"])
def test_a_path_that_tensorflow_reads_as_a_pattern(tmp_path, name):
    with pytest.raises(ValueError, match=r"which TensorFlow reads as a pattern.*Received: path="):
        model_path(tmp_path / name)


def test_a_url_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("gs://bucket/ranker", "s3://bucket/ranker"):
        with pytest.raises(ValueError, match="not a URL"):
            model_path(path)
    assert model_path("file:///models/ranker") == Path("/models/ranker")
    assert not list(tmp_path.iterdir())
