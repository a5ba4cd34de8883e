"""Request batching: what merges, what is padded, what fails, and that nobody gets another's rows."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tfmtl.serving.client import Client, RequestError
from tfmtl.serving.protocol.batching_options import BatchingOptions
from tfmtl.serving.server import LocalServer, batching_runner
from tfmtl.serving.server.batch_queue import BatchThreads
from tfmtl.serving.server.batching_runner import BatchingRunner
from tfmtl.serving.server.graph_session import GraphSession
from tfmtl.serving.server.server_metrics import ServerMetrics
from tfmtl.serving.server.serving_error import Code, ServingError


class Gate:
    """A session that notes the batches it is given and can be held shut, so that a queue fills up behind it."""

    def __init__(self, session):
        self._session = session
        self._open = threading.Event()
        self._open.set()
        self.entered = threading.Semaphore(0)
        self.fed = []

    def run(self, feeds, fetches):
        self.entered.release()
        assert self._open.wait(60)
        self.fed.append(next(iter(feeds.values())))
        return self._session.run(feeds, fetches)

    @property
    def sizes(self):
        return [len(array) for array in self.fed]

    def shut(self):
        self._open.clear()
        self.entered = threading.Semaphore(0)

    def open(self):
        self._open.set()

    def close(self):
        self._session.close()


@pytest.fixture
def batcher(exports):
    """`batcher(**options)` makes a batching runner over a real session."""
    made = []

    def make(**options):
        gate = Gate(GraphSession(exports[0]))
        threads = BatchThreads(options.pop("num_threads", 1))
        options.setdefault("execution_size", options.get("max_batch_size", 1000))
        runner = BatchingRunner(gate, BatchingOptions(**options), threads, ServerMetrics())
        made.append((runner, threads))
        return runner, gate, Model(gate)

    yield make
    for runner, threads in made:
        runner.close()
        threads.close()


class Model:
    """Graph tensors of the Ranker's signatures."""

    def __init__(self, gate):
        self._signatures = gate._session.signatures

    def ask(self, runner, signature="any_float", outputs=(), **inputs):
        found = self._signatures[signature]
        feeds = {found.inputs[name].name: np.asarray(value) for name, value in inputs.items()}
        aliases = list(outputs) or sorted(found.outputs)
        return dict(zip(aliases, runner.run(feeds, [found.outputs[name].name for name in aliases]), strict=True))


def floats(*values):
    return np.array(values, np.float32)


def behind_the_gate(runner, gate, model, requests, **ask):
    """Sends one request that shuts the only thread in, then `requests` at once, then opens; gives their answers."""
    gate.shut()
    with ThreadPoolExecutor(len(requests) + 1) as pool:
        first = pool.submit(model.ask, runner, x=floats(0.0), signature="any_float")
        assert gate.entered.acquire(timeout=30)
        answers = []
        for request in requests:
            answers.append(pool.submit(model.ask, runner, **{"x": request, **ask}))
            wait_until(lambda: submitted(runner) + failed(answers) == len(answers))
        gate.open()
        first.result(60)
        return [answer.exception(60) or answer.result() for answer in answers]


def waiting(runner):
    return [task for queue in runner._queues.values() for batch in queue.batches for task in batch.tasks]


def submitted(runner):
    """Requests that wait; the pieces of one count once."""
    return len({id(array.base) if array.base is not None else id(array) for array in map(first_feed, waiting(runner))})


def first_feed(task):
    return next(iter(task.feeds.values()))


def failed(answers):
    return sum(answer.done() for answer in answers)


def wait_until(reached, seconds=30):
    done = threading.Event()
    for _ in range(int(seconds / 0.002)):
        if reached():
            return
        done.wait(0.002)
    raise AssertionError("not reached")


def test_requests_merge_and_everyone_gets_their_rows(batcher):
    runner, gate, model = batcher(max_batch_size=8)
    answers = behind_the_gate(runner, gate, model, [floats(1.0), floats(2.0, 3.0), floats(4.0)])
    assert gate.sizes == [1, 4]
    assert [answer["x_out"].tolist() for answer in answers] == [[1.0], [2.0, 3.0], [4.0]]


def test_a_full_batch_is_closed(batcher):
    runner, gate, model = batcher(max_batch_size=3)
    behind_the_gate(runner, gate, model, [floats(1.0, 1.0), floats(2.0, 2.0), floats(3.0)])
    assert gate.sizes == [1, 2, 3]


def test_sizes_are_rounded_up_with_a_real_row(batcher):
    runner, gate, model = batcher(max_batch_size=8, allowed_sizes=(4, 8))
    answer = model.ask(runner, x=floats(1.0, 2.0, 3.0))
    assert gate.sizes == [4]
    assert answer["x_out"].tolist() == [1.0, 2.0, 3.0]
    assert gate.fed[-1].tolist() == [1.0, 2.0, 3.0, 1.0]


def test_an_empty_request_is_answered(batcher):
    runner, _, model = batcher(max_batch_size=8, allowed_sizes=(4, 8))
    assert model.ask(runner, x=floats())["x_out"].shape == (0,)


def test_the_row_that_pads_is_of_a_request_that_has_one(batcher):
    runner, gate, model = batcher(max_batch_size=8, allowed_sizes=(4, 8))
    many, none = behind_the_gate(runner, gate, model, [floats(1.0, 2.0, 3.0, 4.0, 5.0), floats()])
    assert gate.fed[-1].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 1.0, 1.0]
    assert many["x_out"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0] and none["x_out"].shape == (0,)


def test_a_batch_waits_for_its_timeout(batcher):
    runner, gate, model = batcher(max_batch_size=2, timeout=30.0, num_threads=2)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda value: model.ask(runner, x=floats(value)), [1.0, 2.0]))
    assert gate.sizes == [2]  # thirty seconds were not waited for: the batch was full
    assert [answer["x_out"].tolist() for answer in answers] == [[1.0], [2.0]]


def test_signatures_and_filters_have_queues_of_their_own(batcher):
    runner, gate, model = batcher(max_batch_size=8)
    columns = {"user": np.array([b"a"], object), "age": np.array([1]), "price": np.ones((1, 1), np.float32)}
    wanted = [(), (), ("click",), ("buy", "click")]
    gate.shut()
    with ThreadPoolExecutor(len(wanted) + 1) as pool:
        first = pool.submit(model.ask, runner, x=floats(0.0))
        assert gate.entered.acquire(timeout=30)
        asked = [pool.submit(model.ask, runner, "serving_default", outputs, **columns) for outputs in wanted]
        wait_until(lambda: len(waiting(runner)) == len(wanted))
        gate.open()
        first.result(60)
        assert [set(answer.result(60)) for answer in asked] == [set(outputs or ("buy", "click")) for outputs in wanted]
    assert gate.sizes[0] == 1 and sorted(gate.sizes[1:]) == [1, 3]


def test_queues_that_nobody_uses_are_forgotten_beyond_a_number(batcher, monkeypatch):
    monkeypatch.setattr(batching_runner, "MAX_FILTERS", 2)
    runner, gate, model = batcher(max_batch_size=8)
    columns = {"user": np.array([b"a"], object), "age": np.array([1]), "price": np.ones((1, 1), np.float32)}
    gate.shut()
    with ThreadPoolExecutor(4) as pool:  # all of them are used: none is forgotten, and each is answered
        asked = [pool.submit(model.ask, runner, x=floats(0.0))]
        for outputs in ((), ("click",), ("buy",)):
            asked.append(pool.submit(model.ask, runner, "serving_default", outputs, **columns))
        wait_until(lambda: len(runner._queues) == len(runner._threads._queues) == 4)
        gate.open()
        assert [set(answer.result(60)) for answer in asked] == [{"x_out"}, {"click", "buy"}, {"click"}, {"buy"}]
    for _ in range(2):
        assert set(model.ask(runner, "serving_default", ("click",), **columns)) == {"click"}
        assert len(runner._queues) == len(runner._threads._queues) == 2


def test_a_large_request_is_refused_or_split(batcher):
    runner, gate, model = batcher(max_batch_size=4)
    with pytest.raises(ServingError, match="Task size 5 is larger than maximum input batch size 4") as caught:
        model.ask(runner, x=np.ones(5, np.float32))
    assert caught.value.code == Code.INVALID_ARGUMENT
    runner, gate, model = batcher(max_batch_size=10, split=True, execution_size=3)
    with pytest.raises(ServingError, match="Task size 11 is larger than maximum input batch size 10"):
        model.ask(runner, x=np.ones(11, np.float32))
    values = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(model.ask(runner, x=values)["x_out"], values)
    assert sorted(gate.sizes) == [1, 3, 3, 3]


def test_a_split_request_fills_the_open_batch_first(batcher):
    runner, gate, model = batcher(max_batch_size=6, split=True, execution_size=4)
    small, large = behind_the_gate(runner, gate, model, [floats(9.0), np.arange(6, dtype=np.float32)])
    assert small["x_out"].tolist() == [9.0]
    assert large["x_out"].tolist() == [0, 1, 2, 3, 4, 5]
    assert gate.sizes == [1, 4, 3]


def test_the_batches_of_a_split_request_run_at_once(batcher):
    runner, gate, model = batcher(max_batch_size=8, split=True, execution_size=4, num_threads=2)
    model.ask(runner, x=floats(0.0))  # both threads are there, and sleep
    gate.shut()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(model.ask, runner, x=np.arange(8, dtype=np.float32))
        try:
            assert gate.entered.acquire(timeout=30) and gate.entered.acquire(timeout=30)
        finally:
            gate.open()
        assert answer.result(60)["x_out"].tolist() == list(range(8))


def test_what_waits_is_answered_when_the_threads_end(batcher):
    runner, _, model = batcher(max_batch_size=8, timeout=3600.0)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(model.ask, runner, x=floats(1.0, 2.0))
        wait_until(lambda: waiting(runner))
        runner._threads.close()
        assert answer.result(60)["x_out"].tolist() == [1.0, 2.0]
    with pytest.raises(ServingError, match="The server stops") as caught:
        model.ask(runner, x=floats(1.0))
    assert caught.value.code == Code.UNAVAILABLE


def test_a_full_queue_is_unavailable(batcher):
    runner, gate, model = batcher(max_batch_size=1, max_enqueued_batches=2)
    answers = behind_the_gate(runner, gate, model, [floats(1.0), floats(2.0), floats(3.0)])
    assert [answer["x_out"].tolist() for answer in answers[:2]] == [[1.0], [2.0]]
    assert isinstance(answers[2], ServingError) and answers[2].code == Code.UNAVAILABLE


def test_what_cannot_be_merged_fails_alone(batcher):
    runner, _, model = batcher(max_batch_size=8)
    with pytest.raises(ServingError, match="at least one dimension") as caught:
        model.ask(runner, x=np.float32(1.0))
    assert caught.value.code == Code.INVALID_ARGUMENT
    with pytest.raises(ServingError, match="equal 0th-dimension") as caught:
        model.ask(runner, "serving_default", user=np.array([b"a"], object), age=np.array([1, 2]), price=np.ones((1, 1)))
    assert caught.value.code == Code.INVALID_ARGUMENT
    with pytest.raises(ServingError, match="at least one input tensor"):
        runner.run({}, ["NoOp"])


def test_outputs_must_be_batches(batcher):
    runner, _, model = batcher(max_batch_size=8)
    with pytest.raises(ServingError, match="0 dimensions") as caught:
        model.ask(runner, "rank_zero", x=floats(1.0, 2.0))
    assert caught.value.code == Code.FAILED_PRECONDITION
    with pytest.raises(ServingError, match="0th dimension does not equal") as caught:
        model.ask(runner, "shorter", x=floats(1.0, 2.0))
    assert caught.value.code == Code.FAILED_PRECONDITION


def test_different_inner_shapes_fail_the_whole_batch_without_padding(batcher):
    runner, gate, model = batcher(max_batch_size=8)
    requests = [np.ones((1, 2), np.float32), np.ones((1, 3), np.float32)]
    answers = behind_the_gate(runner, gate, model, requests, signature="padded")
    assert [answer.code for answer in answers] == [Code.FAILED_PRECONDITION] * 2
    assert answers[0] is not answers[1]


def test_padding_repeats_the_first_element(batcher):
    runner, gate, model = batcher(max_batch_size=8, pad_variable_length_inputs=True)
    requests = [np.full((1, 2), 5.0, np.float32), np.ones((2, 4), np.float32)]
    short, long = behind_the_gate(runner, gate, model, requests, signature="padded")
    assert gate.sizes == [1, 3]
    assert short["row_sum"].tolist() == [20.0]  # 5 + 5, and two more fives
    assert long["row_sum"].tolist() == [4.0, 4.0]


def test_an_error_of_the_graph_reaches_every_request_of_the_batch(batcher):
    runner, gate, model = batcher(max_batch_size=8)
    answers = behind_the_gate(runner, gate, model, [floats(1.0), floats(-1.0)], signature="picky")
    assert [answer.code for answer in answers] == [Code.INVALID_ARGUMENT] * 2


def test_a_server_with_batching_answers_many_clients(tmp_path, publish):
    publish(tmp_path / "m", 1)
    file = tmp_path / "batching.config"
    file.write_text(
        "max_batch_size { value: 16 } batch_timeout_micros { value: 2000 } allowed_batch_sizes: 4 allowed_batch_sizes: 16"
    )
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with LocalServer(tmp_path / "m", batching_parameters=file, monitoring_config=monitoring) as server:
        with Client(server.grpc_address) as client:

            def ask(number):
                columns = {"user": ["eve"] * 2, "age": [0, 0], "price": [[number], [number + 0.5]]}
                return client.predict(columns)["click"].ravel().tolist()

            with ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(ask, range(200)))
            with pytest.raises(RequestError, match="larger than maximum") as caught:
                client.predict({"user": ["a"] * 17, "age": [0] * 17, "price": [[0.0]] * 17})
        assert caught.value.code == "INVALID_ARGUMENT"
        page = server._metrics.page()
    assert answers == [[number, number + 0.5] for number in range(200)]
    runs = next(line for line in page.splitlines() if line.startswith(":tensorflow:serving:batching_session:wrapped"))
    assert int(runs.split()[-1]) < 200


def test_each_version_may_bring_its_own_parameters(tmp_path, publish):
    publish(tmp_path / "own", 1).joinpath("batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    publish(tmp_path / "none", 1)
    models = {"own": tmp_path / "own", "none": tmp_path / "none"}
    columns = {"user": ["a"] * 3, "age": [0] * 3, "price": [[0.0]] * 3}
    with LocalServer(models, per_model_batching_parameters=True) as server:
        with Client(server.grpc_address, model="own") as client, pytest.raises(RequestError, match="larger than"):
            client.predict(columns)
        with Client(server.grpc_address, model="none") as client:
            assert client.predict(columns)["click"].shape == (3, 1)
