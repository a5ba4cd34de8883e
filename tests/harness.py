"""What the tests share: fresh processes, gradients, round trips."""

import atexit
import functools
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from fresh import run_forked

from tfmtl.keras_host import keras, ops

ROOT = Path(__file__).resolve().parent.parent


def _environment() -> dict[str, str]:
    """That of a new process: quiet, and it finds the package and the tests."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


def run_fresh(script: str, *arguments: Any, env: dict[str, str] | None = None, timeout: int = 300) -> str:
    """Runs `script` in a new Python process of the same Keras host and returns what it printed; fails if it fails."""
    code, stdout, stderr = _run(script, arguments, env, timeout)
    assert code == 0, f"the process failed with exit code {code}:\n{stdout}\n{stderr[-6000:]}"
    return stdout


def begin_fresh(script: str, *arguments: Any, timeout: int = 300) -> Future[int]:
    """As `run_fresh`, but goes on while the script runs; the result is its exit code, that of a signal negative."""
    thread = ThreadPoolExecutor(1)
    code = thread.submit(lambda: _run(script, arguments, None, timeout)[0])
    thread.shutdown(wait=False)
    return code


def run_file(path: Path, *arguments: Any, env: dict[str, str] | None = None, timeout: int = 300) -> str:
    """As `run_fresh`, the script being a file with arguments of its own."""
    script = """
        import os, runpy, sys
        sys.argv = sys.argv[1:]
        sys.path[0] = os.path.dirname(sys.argv[0])
        runpy.run_path(sys.argv[0], run_name="__main__")
        """
    return run_fresh(script, path, *arguments, env=env, timeout=timeout)


def _run(script: str, arguments: Iterable[Any], env: dict[str, str] | None, timeout: int) -> tuple[int, str, str]:
    environment = {**_environment(), **(env or {})}
    return run_forked(textwrap.dedent(script), [*map(str, arguments)], environment, timeout)


def gradients(loss: Any, variables: list[Any]) -> list[np.ndarray | None]:
    """The dense gradient of `loss()` for each of `variables`; None where the loss does not reach it."""
    with tf.GradientTape() as tape:
        value = loss()
    raw = tape.gradient(value, [getattr(v, "value", v) if not isinstance(v, tf.Variable) else v for v in variables])
    return [None if g is None else np.asarray(tf.convert_to_tensor(g)) for g in raw]


def assert_all_trained(model: Any, loss: Any) -> None:
    """Every trainable variable of `model` (or layer) must get a gradient that is not zero from `loss()`."""
    found = gradients(loss, model.trainable_variables)
    dead = [
        v.name for v, g in zip(model.trainable_variables, found, strict=True) if g is None or not np.abs(g).max() > 0
    ]
    assert not dead, f"no gradient reaches {dead}"


def assert_reloads(model: Any, inputs: Any, folder: Path) -> None:
    """`model` saved as `.keras` and loaded by a process that never built one must answer `inputs` with the same numbers."""
    path, given, wanted = folder / "model.keras", folder / "inputs.npz", folder / "outputs.npz"
    model.save(path)
    np.savez(given, **inputs)
    np.savez(wanted, **{name: np.asarray(y) for name, y in model(inputs).items()})
    process = _reloader()
    process.stdin.write(json.dumps([str(path), str(given), str(wanted)]) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline() or '"the process ended"')
    assert answer == "equal", answer


@functools.cache
def _reloader() -> subprocess.Popen:
    """A process that has only imported tfmtl: it loads models and compares their answers, one after the other.

    Starting one takes seconds, so the tests of a run share it; what it has loaded before leaves no layer behind.
    """
    script = """
        import json, sys, traceback
        import numpy as np
        import tfmtl
        from tfmtl.keras_host import keras

        def check(path, given, wanted):
            outputs, wanted = keras.models.load_model(path)(dict(np.load(given))), dict(np.load(wanted))
            assert set(outputs) == set(wanted), (set(outputs), set(wanted))
            for name in wanted:
                np.testing.assert_allclose(np.asarray(outputs[name]), wanted[name], rtol=1e-6, atol=1e-7)
            return "equal"

        for line in sys.stdin:
            try:
                answer = check(*json.loads(line))
            except Exception:
                answer = traceback.format_exc()[-6000:]
            print(json.dumps(answer), flush=True)
        """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.kill)
    return process


def fit_callbackless(model: Any, *arguments: Any, **options: Any) -> Any:
    """`model.fit` without a progress bar; returns the history."""
    return model.fit(*arguments, **{"verbose": 0, **options}).history


__all__ = [
    "ROOT",
    "assert_all_trained",
    "assert_reloads",
    "begin_fresh",
    "fit_callbackless",
    "gradients",
    "keras",
    "ops",
    "run_file",
    "run_fresh",
]
