"""Compiles the tree traversal (serve/scoring/trees/traverse.c) whenever mlsys is installed or built."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE, LIBRARY = "serve/scoring/trees/traverse.c", "serve/scoring/trees/traverse.bin"
FLAGS = "-std=c11 -O2 -ffp-contract=off -shared -fPIC"  # as in the Dockerfile


class Compile(BuildHookInterface[Any]):
    """Builds a wheel for this platform; without a C compiler a pure-Python one, which traverses trees in NumPy."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's interface
        """Compile."""
        if self.target_name != "wheel":
            return
        output = f"{LIBRARY}.{os.getpid()}"  # another process may have the present library open
        try:
            command = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS.split(), "-o", output, SOURCE]
            subprocess.run(command, cwd=self.root, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"{error}: without a C compiler, trees are traversed in NumPy, which is slower.")
            return
        (Path(self.root) / output).replace(Path(self.root) / LIBRARY)
        build_data["artifacts"].append(LIBRARY)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
