"""Kill registry commands and check that the registry is intact and no finished change is lost.

    python benchmarks/registry.py [--kills 200] [--workers 4] [--seed 0]

Four processes add, promote and roll back. Each command runs in its own process, and three of four are killed with
SIGKILL at a random moment of their typical duration. Meanwhile another process opens the champion repeatedly, as a
service does, and reads all of its files. At the end the history is compared with what each command reported, `verify`
looks for damage, and the champion is replayed from the history. Then each kind of command is killed before each change
it makes to the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TITLES = {"random": "random kills", "everywhere": "a kill before every change"}
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", default="200")
    parser.add_argument("--workers", default="4")
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    options = ["--kills", arguments.kills, "--workers", arguments.workers, "--seed", arguments.seed]
    with tempfile.TemporaryDirectory(prefix="mlsys-registry-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.registry.kills", folder, *options, "--everywhere", "1"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    for title, found in json.loads(done.stdout.splitlines()[-1]).items() if done.stdout else ():
        print(TITLES[title])
        for key, value in found.items():
            print(f"  {key:<28} {value}")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
