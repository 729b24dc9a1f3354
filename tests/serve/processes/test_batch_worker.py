"""A batch takes no more memory than it is given, whatever it unpacks to."""

import io
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import ipc


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say how much memory there is")
def test_a_batch_that_unpacks_to_more_than_there_is_is_refused_and_others_are_not(start, run, tmp_path):
    text, sink = pa.array(["a" * 300_000_000]), io.BytesIO()
    table = pa.table({f"column_{place}": text for place in range(10)})
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    bomb = {"content": sink.getvalue(), "headers": {"content-type": "application/vnd.apache.arrow.stream"}}
    assert len(bomb["content"]) < 200_000
    csv = "users,actions,industry\n" + "3,0.5,Software\n" * 1_000
    with start(tmp_path, run.path, "--batch-memory-mb", 200) as service:
        before = service.children()
        for _ in range(2):
            refused = service.client.post("/predict/batch", **bomb)
            assert (refused.status_code, refused.json()["error"]) == (413, "too_large")
        service.until(lambda: len(service.children()) == len(before) and set(service.children()) != set(before))
        assert (
            service.client.post("/predict/batch", content=csv, headers={"content-type": "text/csv"}).status_code == 200
        )
        assert sum("needs more memory" in line["message"] for line in service.lines() if "message" in line) == 2
