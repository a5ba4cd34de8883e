"""The floor: the matmuls of a step at the rate of one large matmul on this machine, in the step's precision."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from child import Steps, each, serve
from workload import Workload

SIDE = 2048


def scaled(run: Steps, factor: float) -> Steps:
    return lambda steps: [seconds * factor for seconds in run(steps)]


def main() -> None:
    workload = Workload.from_arguments()
    square = tf.cast(tf.random.normal((SIDE, SIDE)), workload.precision.removeprefix("mixed_"))
    multiply = tf.function(lambda: tf.matmul(square, square))
    run = each(lambda: multiply()[0, 0].numpy())
    serve(scaled(run, workload.matmul_flops / (2 * SIDE**3)), versions={"tensorflow": tf.__version__}, weights=0)


if __name__ == "__main__":
    main()
