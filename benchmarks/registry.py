"""Kills among four processes that add, promote and roll back: is the registry whole, and is all there that was done?

    python benchmarks/registry.py [--kills 200] [--workers 4] [--seed 0]

Each command is a process of its own; three of four are to be killed with SIGKILL at a random moment of their usual
duration. A fifth process follows the champion all the while, as a service does, and reads every file of it. In the end
the history is held against what each command said that it had done, `verify` looks for damage, and the champion is
followed by hand. Then one command of each kind is killed before each change that it makes to the disk.
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
    given = parser.parse_args()
    storm = ["--kills", given.kills, "--workers", given.workers, "--seed", given.seed]
    with tempfile.TemporaryDirectory(prefix="mlsys-registry-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.registry.kills", folder, *storm, "--everywhere", "1"],
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
