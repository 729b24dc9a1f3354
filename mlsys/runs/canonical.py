"""Make skops files deterministic, so that equal models have equal bytes.

skops names arrays by their memory address and byte strings by a random UUID, repeats the addresses in its schema, keeps
sets in hash order, timestamps every entry, and copies the uninitialised padding bytes of decision trees. None of this
is needed to load the model.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

SCHEMA = "schema.json"
# Immutable values: whether two references share one object has no effect, and may differ between equal models.
UNSHARED = frozenset({"FunctionNode", "JsonNode", "TupleNode", "TypeNode"})
LEVEL = 1  # zlib's fastest; level 6 takes twice as long for files a tenth smaller


def canonical(data: bytes) -> bytes:
    """Rewrite a skops file so that equal models have equal bytes.

    Parameters
    ----------
    data : bytes
        Result of ``skops.io.dumps``.

    Returns
    -------
    bytes
        File that ``skops.io.loads`` loads as the same model: files named by the digest of their content, ids numbered
        from 1 in order of appearance, sets sorted, compressed, every entry dated 1980-01-01.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = json.loads(archive.read(SCHEMA))
        contents = {name: _without_padding(archive.read(name)) for name in archive.namelist() if name != SCHEMA}
    names = {name: _name_by_content(name, content) for name, content in contents.items()}
    _rewrite(schema, names, {})
    files = {names[name]: content for name, content in contents.items()}
    return _archive({SCHEMA: json.dumps(schema, separators=(",", ":")).encode(), **dict(sorted(files.items()))})


def _name_by_content(name: str, content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:32]}.{name.rpartition('.')[2]}"


def _rewrite(node: object, names: dict[str, str], ids: dict[int, int]) -> None:
    """Rename files and renumber ids in place, depth first."""
    if isinstance(node, list):
        for item in node:
            _rewrite(item, names, ids)
    if not isinstance(node, dict):
        return
    loader = node.get("__loader__")
    if isinstance(loader, str) and loader in UNSHARED:
        node.pop("__id__", None)
    elif isinstance(node.get("__id__"), int):
        node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
    if isinstance(node.get("file"), str):
        node["file"] = names[node["file"]]
    for item in node.values():
        _rewrite(item, names, ids)
    if loader == "SetNode":
        node["content"].sort(key=json.dumps)


def _without_padding(content: bytes) -> bytes:
    """Return a .npy file with zeros as padding between record fields, where NumPy saves uninitialised memory."""
    if not content.startswith(b"\x93NUMPY") or b"'|V" not in content[:1024]:
        return content
    import numpy as np  # the caller has imported it with the model already

    records = np.load(io.BytesIO(content), allow_pickle=False)
    clean = np.zeros(records.shape, records.dtype)
    for field in records.dtype.names or ():
        clean[field] = records[field]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def _archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, on every system
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, LEVEL)
    return buffer.getvalue()
