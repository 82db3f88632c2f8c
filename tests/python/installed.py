"""Whether this Python has what requirements.txt names: says what it lacks, and fails."""

import importlib.metadata
import sys
from pathlib import Path

for line in Path(__file__).with_name("requirements.txt").read_text().splitlines():
    name, _, wanted = line.partition("==")
    if not wanted:
        continue
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"{name} {wanted} is missing")
    if found != wanted:
        sys.exit(f"{name} is {found}, {wanted} is needed")
