"""Jupyter starts this in place of a kernel: it has a process fork that has imported TensorFlow, and the fork is the kernel."""

import os
import sys

from fresh import run_forked_of

KERNEL = """
import os, sys
from ipykernel.kernelapp import launch_new_instance

os.chdir(sys.argv[2])
launch_new_instance(argv=["-f", sys.argv[1]])
"""

address, connection_file = sys.argv[1:]
environment = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
code, _, errors = run_forked_of(address, KERNEL, [connection_file, os.getcwd()], environment, timeout=600)
sys.exit(errors if code else 0)
