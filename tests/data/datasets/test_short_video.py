"""The feed whose truth is known: KuaiRand's files, the same for the same seed, and labels as its truth says."""

import numpy as np
import pyarrow.csv as pa_csv
import pytest

from tfmtl.data import adapt, read
from tfmtl.data.datasets import kuairand, short_video
from tfmtl.data.datasets.short_video import TRUE_TASKS, TRUTH
from tfmtl.metrics import exact

LABELS = {"click": "is_click", "long_view": "long_view", "like": "is_like", "forward": "is_forward"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return short_video(tmp_path_factory.mktemp("feed"), users=800, videos=300, rows_per_user=25, seed=3)


@pytest.fixture(scope="module")
def rows(folder):
    log = pa_csv.read_csv(folder / "log_standard_4_22_to_5_06_pure.csv")
    truth = pa_csv.read_csv(folder / TRUTH)
    assert log["user_id"] == truth["user_id"] and log["time_ms"] == truth["time_ms"]
    return {name: log[name].to_numpy() for name in log.column_names} | {
        f"true_{name}": truth[name].to_numpy() for name in TRUE_TASKS
    }


def test_labels_occur_as_often_as_the_truth_says(rows):
    for task, column in LABELS.items():
        expected, count = rows[f"true_{task}"], len(rows[column])
        deviation = np.sqrt((expected * (1 - expected)).sum()) / count
        assert abs(rows[column].mean() - expected.mean()) < 4 * deviation
    assert 0.005 < rows["is_like"].mean() < 0.04 and 0.005 < rows["is_forward"].mean() < 0.04


def test_nothing_happens_without_a_click(rows):
    for column in ("long_view", "is_like", "is_forward"):
        assert not rows[column][rows["is_click"] == 0].any()


def test_what_is_watched_to_its_end_is_not_forwarded(rows):
    long_view, forward = (np.log(rows[f"true_{task}"] / rows["true_click"]) for task in ("long_view", "forward"))
    like = np.log(rows["true_like"] / rows["true_click"])
    assert np.corrcoef(long_view, forward)[0, 1] < -0.2 < np.corrcoef(like, forward)[0, 1]


def test_the_truth_ranks_better_than_the_rate_of_the_video(rows):
    for task, column in LABELS.items():
        assert exact.auc(rows[column].astype("float64"), rows[f"true_{task}"]) > 0.78


def test_is_read_as_kuairand_and_some_users_are_new(folder):
    split = kuairand(folder, tasks=TRUE_TASKS, min_count=2)
    new = set(split.test["user_id"].to_pylist()) - set(split.train["user_id"].to_pylist())
    assert len(new & set(range(776, 800))) > 5
    schema = adapt(split.schema, read(split.train, split.schema, batch_size=4096))
    x, y = next(iter(read(split.valid, schema, batch_size=64, encode=True)))
    assert x["watched_mask"].numpy().any() and set(y) == set(TRUE_TASKS)
    assert (np.array(split.train["age_days"].to_pylist()) >= 0).all()


def test_one_seed_makes_one_feed(folder, tmp_path):
    again = short_video(tmp_path / "again", users=800, videos=300, rows_per_user=25, seed=3)
    other = short_video(tmp_path / "other", users=800, videos=300, rows_per_user=25, seed=4)
    for file in sorted(path.name for path in folder.iterdir()):
        assert (folder / file).read_bytes() == (again / file).read_bytes()
    assert (folder / TRUTH).read_bytes() != (other / TRUTH).read_bytes()


def test_sizes_that_make_no_feed_are_refused(tmp_path):
    with pytest.raises(ValueError, match="users=0"):
        short_video(tmp_path, users=0)
    with pytest.raises(ValueError, match="Every day needs a row"):
        short_video(tmp_path, users=2, rows_per_user=2)
