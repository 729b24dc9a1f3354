"""Time to `python -m mlsys.train --help` against the smallest possible Hydra program's.

python benchmarks/startup.py [--repeats 11]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HELLO = """import hydra

@hydra.main(config_path=None)
def hello(config):
    pass

hello()
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "hello.py"
        program.write_text(HELLO)
        pairs = [
            (
                seconds([sys.executable, str(program), "--help"]),
                seconds([sys.executable, "-m", "mlsys.train", "--help"]),
            )
            for _ in range(repeats + 1)
        ][1:]  # the first pair warms the file cache
    hello, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"Hydra hello-world --help {hello:.3f} s, mlsys.train --help {ours:.3f} s, ratio {ours / hello:.2f}")


if __name__ == "__main__":
    main()
