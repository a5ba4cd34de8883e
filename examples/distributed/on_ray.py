"""The training script under Ray Train, which starts the workers and starts them again: `pip install 'tfmtl[ray]'`.

    python examples/distributed/rows.py rows
    python examples/distributed/on_ray.py --workers 2 --data "$PWD/rows" --out "$PWD/out"

Ray sets `TF_CONFIG` for each worker. Its `TensorflowTrainer` needs tf_keras, as every training on several machines does.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.tensorflow import TensorflowTrainer

HERE = Path(__file__).resolve().parent


def loop(config: dict[str, Any]) -> None:
    """What each worker runs."""
    sys.path.insert(0, str(HERE))
    import train

    ray.train.report(train.main(config["arguments"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=1, help="of each worker")
    options, arguments = parser.parse_known_args()
    ray.init(runtime_env={"env_vars": {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}})
    trainer = TensorflowTrainer(
        loop,
        train_loop_config={"arguments": arguments},
        scaling_config=ScalingConfig(num_workers=options.workers, resources_per_worker={"CPU": options.cpus}),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=5)),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
