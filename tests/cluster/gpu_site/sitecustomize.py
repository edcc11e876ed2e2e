"""Gives Ray's workers the emulated device, before anything in them imports PyTorch."""

import sys

if any("default_worker.py" in argument for argument in sys.orig_argv):
    import tests.emulated_cuda  # noqa: F401
