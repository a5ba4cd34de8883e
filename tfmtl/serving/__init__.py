"""TensorFlow Serving's contract: its protocol, clients of it, and a local server that keeps it. It knows nothing of models."""
