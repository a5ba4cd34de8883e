"""The scripts of `examples/distributed`: workers as processes, one of them killed, and what Kubernetes is given."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from harness import ROOT, run_fresh

pytestmark = pytest.mark.keras3

FOLDER = ROOT / "examples" / "distributed"
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}


def run(script, *arguments, timeout=540):
    command = [sys.executable, FOLDER / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr[-6000:]
    return done.stdout + done.stderr


def manifests(kind):
    paths = sorted((FOLDER / "kubernetes").glob("*.yaml"))
    return [each for path in paths for each in yaml.safe_load_all(path.read_text()) if each["kind"] == kind]


def assert_names_pods(name, job, count):
    """By the rule that Kubernetes has for names, which no schema holds: JobSet's webhook applies it to the longest of them."""
    longest = f"{name}-{job}-0-{count - 1}-abcde"
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", longest) and len(longest) <= 63


@pytest.mark.parametrize("jobset", manifests("JobSet"), ids=lambda jobset: jobset["metadata"]["name"])
def test_every_pod_is_told_the_cluster_that_the_manifest_makes(jobset, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from on_jobset import tf_config

    counts, configs = {}, {}
    for job in jobset["spec"]["replicatedJobs"]:
        of_job = job["template"]["spec"]
        counts[job["name"]] = of_job["parallelism"]
        assert of_job["completions"] == of_job["parallelism"] and of_job["completionMode"] == "Indexed"
        (container,) = of_job["template"]["spec"]["containers"]
        environment = {each["name"]: each["value"] for each in container["env"]}
        for index in range(of_job["parallelism"]):
            config = json.loads(tf_config({**environment, "JOB_COMPLETION_INDEX": str(index)}))
            assert config["task"] == {"type": job["name"], "index": index}
            configs[job["name"], index] = config["cluster"]
        assert (FOLDER / container["command"][1]).name == "on_jobset.py" and (ROOT / container["command"][1]).exists()
    assert all(cluster == configs["worker", 0] for cluster in configs.values())
    name = jobset["metadata"]["name"]
    for job, count in counts.items():
        assert_names_pods(name, job, count)
    assert set(jobset["spec"].get("successPolicy", {}).get("targetReplicatedJobs", [])) <= set(counts)
    assert configs["worker", 0] == {
        role: [f"{name}-{role}-0-{index}.{name}:2222" for index in range(count)] for role, count in counts.items()
    }


def test_kubeflow_makes_the_same_cluster(monkeypatch):
    """Its trainer names the set like the job, and puts its command and its number of nodes into the runtime's one job."""
    monkeypatch.syspath_prepend(FOLDER)
    from on_jobset import tf_config

    (runtime,), (job,) = manifests("TrainingRuntime"), manifests("TrainJob")
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    nodes = job["spec"]["trainer"]["numNodes"]
    assert nodes == runtime["spec"]["mlPolicy"]["numNodes"]
    (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["template"]["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    (container,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    assert replicated["name"] == container["name"] == "node"
    environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    (named,) = [each for each in container["env"] if "valueFrom" in each]
    assert named["name"] == "JOBSET" and "jobset-name" in named["valueFrom"]["fieldRef"]["fieldPath"]
    environment |= {"JOBSET": job["metadata"]["name"], "JOB_COMPLETION_INDEX": "1"}
    config = json.loads(tf_config(environment))
    assert config["cluster"] == {"worker": [f"tfmtl-node-0-{index}.tfmtl:2222" for index in range(nodes)]}
    assert config["task"] == {"type": "worker", "index": 1}
    assert_names_pods("tfmtl", "node", nodes)
    assert (ROOT / job["spec"]["trainer"]["command"][1]).exists()


def test_one_process_trains_saves_and_exports(tmp_path):
    run("rows.py", tmp_path / "rows")
    printed = run_fresh(
        f"""
        import json, os, sys
        sys.path.insert(0, {str(FOLDER)!r})
        import train

        cluster = {{"chief": ["a:1"], "worker": ["b:1", "c:1"]}}  # a chief that trains too
        shards = []
        for role, index in [("chief", 0), ("worker", 0), ("worker", 1)]:
            os.environ["TF_CONFIG"] = json.dumps({{"cluster": cluster, "task": {{"type": role, "index": index}}}})
            shards.append(train._place())
        assert shards == [((0, 3), 0), ((1, 3), 0), ((2, 3), 0)], shards
        os.environ["TF_CONFIG"] = ""
        print(json.dumps(train.main(["--data", sys.argv[1], "--out", sys.argv[2], "--epochs", "1", "--batch-size", "1024"])))
        """,
        tmp_path / "rows",
        tmp_path / "out",
        env={"TF_USE_LEGACY_KERAS": "1", "TF_CONFIG": ""},
    )
    assert json.loads(printed.splitlines()[-1])["click_auc"] > 0.5
    assert (tmp_path / "out" / "served" / "1" / "saved_model.pb").exists() and (
        tmp_path / "out" / "model.keras"
    ).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "a script of"),
        (("nothing.py",), "a script of"),
        (("--workers", 0, "train.py"), "must be a worker"),
        (("--kill", "ps", "train.py"), "workers alone"),
    ],
)
def test_the_launcher_starts_nothing_that_cannot_run(arguments, said):
    command = [sys.executable, FOLDER / "launch.py", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and said in done.stderr


@pytest.mark.slow
def test_two_workers_go_on_after_one_is_killed(tmp_path):
    run("rows.py", tmp_path / "rows")
    out = tmp_path / "out"
    printed = run(
        *["launch.py", "--workers", 2, "--kill-after", 1, "--wait-for", out / "run"],
        *["train.py", "--data", tmp_path / "rows", "--out", out, "--epochs", 3],
    )
    assert "killing worker process" in printed and "starting all of them again (1)" in printed
    told = [json.loads(line) for line in re.findall(r"^{.*}$", printed, re.MULTILINE)]
    assert len(told) == 2 and told[0] == told[1]
    assert [path.name for path in (out / "served").iterdir() if path.name.isdigit()] == ["1"]
    whole = tmp_path / "whole"
    run("launch.py", "--workers", 2, "train.py", "--data", tmp_path / "rows", "--out", whole, "--epochs", 3)
    run_fresh(
        """
        import sys
        import numpy as np
        import tfmtl
        from tfmtl.keras_host import keras
        killed, whole = (keras.models.load_model(f"{out}/model.keras").get_weights() for out in sys.argv[1:])
        for ours, theirs in zip(killed, whole, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        """,
        out,
        whole,
        env={"TF_USE_LEGACY_KERAS": "1"},
    )


@pytest.mark.slow
def test_parameter_servers_train_though_a_worker_is_killed(tmp_path):
    run("rows.py", tmp_path / "records", "--tfrecord")
    out = tmp_path / "out"
    run(
        *["launch.py", "--workers", 2, "--servers", 1, "--kill-after", 1, "--wait-for", out / "run"],
        *["train.py", "--data", tmp_path / "records", "--out", out, "--epochs", 3],
    )
    assert (out / "served" / "1" / "saved_model.pb").exists()


@pytest.mark.slow
def test_training_goes_on_after_a_parameter_server_is_killed(tmp_path):
    """And the model, whose tables lie in parts, is saved for one device."""
    run("rows.py", tmp_path / "records", "--tfrecord")
    out = tmp_path / "out"
    printed = run(
        *["launch.py", "--workers", 2, "--servers", 2, "--kill", "ps", "--kill-after", 0.1],
        *["--wait-for", out / "run" / "checkpoint-00000002", "train.py", "--data", tmp_path / "records", "--out", out],
        *["--epochs", 12, "--steps-per-epoch", 30, "--part-bytes", 64],
    )
    assert "killing ps process" in printed and "starting all of them again (1)" in printed
    assert re.search(r"ConnectionError: Parameter server [01] at localhost:\d+ no longer answers", printed)
    assert re.search(r"Going on from .*: epoch [3-9]", printed)
    steps = run_fresh(
        """
        import sys
        import tfmtl
        from tfmtl.keras_host import keras
        model = keras.models.load_model(sys.argv[1])
        assert all("part_" not in variable.name for variable in model.weights)
        print(int(model.optimizer.iterations))
        """,
        out / "model.keras",
        env={"TF_USE_LEGACY_KERAS": "1"},
    )
    assert int(steps) == 12 * 30


@pytest.mark.slow
def test_ray_trains_on_two_workers(tmp_path):
    pytest.importorskip("ray")
    run("rows.py", tmp_path / "rows")
    run("on_ray.py", "--workers", 2, "--data", tmp_path / "rows", "--out", tmp_path / "out", "--epochs", 1)
    assert (tmp_path / "out" / "served" / "1" / "saved_model.pb").exists() and (tmp_path / "out" / "run").is_dir()
