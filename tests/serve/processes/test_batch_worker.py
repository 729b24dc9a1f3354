"""The memory limit of batches holds for decompression bombs."""

import io
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import ipc


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc/self/status")
def test_a_batch_that_exceeds_the_memory_limit_is_rejected_and_others_succeed(start, run, tmp_path):
    text, sink = pa.array(["a" * 300_000_000]), io.BytesIO()
    table = pa.table({f"column_{i}": text for i in range(10)})
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    bomb = {"content": sink.getvalue(), "headers": {"content-type": "application/vnd.apache.arrow.stream"}}
    assert len(bomb["content"]) < 200_000
    csv = "users,actions,industry\n" + "3,0.5,Software\n" * 1_000
    with start(tmp_path, run.path, "--batch-memory-mb", 200) as service:
        before = service.children()
        for _ in range(2):
            rejected = service.client.post("/predict/batch", **bomb)
            assert (rejected.status_code, rejected.json()["error"]) == (413, "too_large")
        service.until(lambda: len(service.children()) == len(before) and set(service.children()) != set(before))
        assert (
            service.client.post("/predict/batch", content=csv, headers={"content-type": "text/csv"}).status_code == 200
        )
        assert sum("needs more memory" in line["message"] for line in service.lines() if "message" in line) == 2
