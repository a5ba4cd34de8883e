"""TensorFlow's errors of the network end in a sentence; `test_workers.py` and `test_distributed_examples.py` kill processes."""

import json

import pytest
import tensorflow as tf

from tfmtl.lost_process import naming_lost_process

SERVER = """Graph execution error:

failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:40263: Failed to connect to remote host: Connection refused
Additional GRPC error information from remote target /job:worker/replica:0/task:0 while calling /tensorflow.eager.EagerService/Enqueue:
Additional GRPC error information from remote target /job:ps/replica:0/task:1/device:CPU:0 while calling /tensorflow.eager:"""
PEER = """{{function_node __wrapped__CollectiveReduceV2_Nordering_token_1_device_/job:worker/replica:0/task:0/device:CPU:0}}
Collective ops is aborted by: recvmsg:Connection reset by peer
Additional GRPC error information from remote target /job:worker/replica:0/task:1 while calling /tensorflow.WorkerService/RecvBuf:"""
SILENT = """{{function_node __wrapped__CollectiveReduceV2_Nordering_token_1_device_/job:worker/replica:0/task:0/device:CPU:0}}
Collective ops is aborted by: Error reported from /job:worker/task:1: The following tasks are unhealthy (stopped sending heartbeats):
/job:worker/replica:0/task:1
The tasks have crashed. Check the task logs for an earlier error, or scheduler events (e.g. preemption, eviction)."""
UNNAMED = "Collective ops is aborted by: Socket closed"


def failing(error):
    @naming_lost_process
    def fit():
        raise error

    return fit


@pytest.mark.parametrize(
    ("text", "who"),
    [
        (SERVER, "Parameter server 1 at d:4"),
        (PEER, "Worker 1 at b:2"),
        (SILENT, "Worker 1 at b:2"),
        (UNNAMED, "A process of the cluster"),
    ],
)
def test_names_the_process_that_is_gone(text, who, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:2"], "ps": ["c:3", "d:4"]}}))
    error = tf.errors.UnavailableError(None, None, text)
    with pytest.raises(ConnectionError, match=f"^{who} no longer answers") as info:
        failing(error)()
    assert info.value.__cause__ is error


def test_other_errors_stay_what_they_are():
    for error in (ValueError(PEER), tf.errors.UnavailableError(None, None, "the name server is down")):
        with pytest.raises(type(error)) as info:
            failing(error)()
        assert info.value is error
