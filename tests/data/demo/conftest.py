"""Synthetic tables shared by the tests in this folder."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlsys.data.demo import DemoSummary, generate


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    return generate(tmp_path_factory.mktemp("demo"), events=40_000, seed=3)


@pytest.fixture(scope="package")
def tables(made: DemoSummary) -> dict[str, pa.Table]:
    return {path.stem: pq.read_table(path) for path in made.files}
