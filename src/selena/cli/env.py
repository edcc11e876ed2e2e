"""`selena env`: versions and hardware."""

from __future__ import annotations

import json

from selena.cli import options
from selena.environment.description import describe_environment
from selena.files.writing import write_json


def env_command(
    json_out: options.Json = None,
) -> None:
    """Print versions, cores, instruction sets and devices, for bug reports."""
    description = describe_environment()
    print(json.dumps(description, indent=2))
    if json_out:
        write_json(json_out, description)
