"""The files that a sweep writes beside its runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlsys.sweep.artifacts import write_results
from tests.sweep.studies import many, results_of


def test_plotting_libraries_are_imported_only_for_the_report():
    heavy = "('matplotlib', 'jinja2', 'PIL')"
    code = f"import sys, mlsys.sweep.run, mlsys.sweep.executors; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_of_the_report_is_raised_after_the_other_files_are_written(tmp_path, monkeypatch):
    results = results_of(tmp_path / "sweep", many(3))

    def fail(_):
        raise RuntimeError("cannot draw")

    monkeypatch.setattr("mlsys.sweep.report.html.render_sweep", fail)
    with pytest.raises(RuntimeError, match="cannot draw"):
        write_results(results)
    assert (tmp_path / "sweep" / "optimization_results.yaml").exists()
    assert (tmp_path / "sweep" / "trials.parquet").exists()
    assert not (tmp_path / "sweep" / "report.html").exists()
