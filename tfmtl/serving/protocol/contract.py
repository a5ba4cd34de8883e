"""Names and limits of TensorFlow Serving that exports, the local server and the clients share."""

from pathlib import Path

DEFAULT_SIGNATURE = "serving_default"
"""What a request asks that names no signature."""

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Where a version's folder has its warm-up requests."""

MAX_WARMUP_RECORDS = 1000
"""A server refuses a version with more."""

UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
"""Channel options: grpc refuses messages over 4 MiB unless told otherwise; a server takes whatever a proto can hold."""
