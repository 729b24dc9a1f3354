"""Reads delimited text: detects encoding and delimiter, and keeps every field as text."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from mlsys.data.table.encodings import decodes, detect
from mlsys.data.table.values import text_series
from mlsys.errors import DataError
from mlsys.text import counted, is_or_are, joined

DELIMITERS = (",", ";", "\t", "|")
DELIMITER = "delimiter"  # the key of a frame's attrs

_SAMPLE_CHARS = 1 << 20
_SAMPLE_ROWS = 200
_BLOCK = 1 << 24  # bytes; the longest row that the fast parser accepts
_END = "\x00end"  # appended as the last row: if it is not parsed as one, a quote is unclosed
_FOREIGN_PER_DAMAGED = 4  # letters beyond ASCII for each damaged place, in a file that was written as UTF-8
_TEXT_CONTROLS = frozenset(map(ord, "\t\n\r\f\x1a"))
logger = logging.getLogger(__name__)


def read_delimited(data: bytes, file: Path) -> pd.DataFrame:
    r"""Read delimited text as a frame of str columns; empty fields are missing.

    Parameters
    ----------
    data : bytes
        The uncompressed content.
    file : Path
        The source file, for messages.

    Returns
    -------
    DataFrame, shape (n_rows, n_columns)
        Its ``attrs`` have the ``delimiter``.

    Raises
    ------
    DataError
        If the content is not text or is blank, or if a row and the header differ in their number of fields.

    Examples
    --------
    >>> read_delimited(b'name;size\n"a;b";1,5\n', Path("leads.csv")).to_dict("records")
    [{'name': 'a;b', 'size': '1,5'}]
    """
    text = decode(data, file)
    hint, text = _excel_hint(text)
    if not text.strip():
        raise DataError(f"{file} has only blank lines. Export it again.")
    text = without_comments(text, hint, file)
    delimiter = hint or sniff_delimiter(text)
    names, skip = _header(text, delimiter, file)
    frame = _parse_fast(text, delimiter, len(names), skip)
    if frame is None:
        frame = _parse_slowly(text, delimiter, len(names), file)
    if frame.shape[1] == len(names) + 1:
        names = ["row", *names]  # R writes row names without a header
    frame = _without_unnamed(frame.set_axis(names, axis="columns"), file)
    frame.attrs[DELIMITER] = delimiter
    return frame


def decode(data: bytes, file: Path) -> str:
    r"""Decode text: UTF-8 or UTF-16, with or without a byte-order mark, else by what its words look like.

    Anything but UTF-8 is logged as a warning.

    Raises
    ------
    DataError
        If the data are not text.

    Examples
    --------
    >>> decode("\ufeffcafé".encode("utf-16-le"), Path("leads.csv"))
    'café'
    """
    text = _decoded(data, file)
    sample = text[: 1 << 16]
    controls = sum(ord(char) < 32 and ord(char) not in _TEXT_CONTROLS for char in sample)
    if 200 * controls > len(sample):
        raise DataError(
            f"{file} is not a text file: {controls:,} of its first {counted(len(sample), 'character')} "
            f"{is_or_are(controls)} control characters (it starts with {data[:8]!r}). Export the table as CSV, TSV, "
            "JSON lines, Parquet, DuckDB or SQLite."
        )
    return text


def _decoded(data: bytes, file: Path) -> str:
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        guesses = ["utf-32"]
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        guesses = ["utf-16"]
    else:
        guesses = [*_without_mark(data), "utf-8-sig"]
    for encoding in guesses:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "utf-8-sig":
            logger.warning("%s is not UTF-8: read as %s", file, encoding)
        return text
    return _decode_bytes(data, file)


def _without_mark(data: bytes) -> list[str]:
    """Return the kind of UTF-16 if about every second byte is zero, as in digits and Latin letters."""
    sample = data[:2000]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if 10 * max(even, odd) <= len(sample) or 10 * min(even, odd) > max(even, odd):
        return []
    return ["utf-16-le" if odd > even else "utf-16-be"]


def _decode_damaged(data: bytes, file: Path) -> str | None:
    """Decode UTF-8 with a few bytes that are not; None if these are more than a few, so that it is no UTF-8."""
    text = data.decode("utf-8-sig", "replace")
    kept = data.count("\ufffd".encode())
    damaged = text.count("\ufffd") - kept
    foreign = sum(not char.isascii() for char in text) - damaged - kept
    if foreign < _FOREIGN_PER_DAMAGED * damaged:
        return None
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        logger.warning(
            "%s is UTF-8 but for %s, the first in line %s (%r): read as \ufffd. Export the file again.",
            file,
            counted(damaged, "place"),
            f"{line:,}",
            data[error.start : error.end],
        )
    return text


def _decode_bytes(data: bytes, file: Path) -> str:
    if text := _decode_damaged(data, file):
        return text
    found = detect(data)
    if found is None:
        encoding = "cp1252" if decodes(data, "cp1252") else "latin-1"
        logger.warning(
            "%s is not UTF-8, and its letters match no encoding: read as %s. Save it as UTF-8.", file, encoding
        )
        return data.decode(encoding)
    others = joined([other.title for other in found.others], "or")
    logger.warning(
        "%s is not UTF-8: read as %s, such as %r%s; if that is wrong, save it as UTF-8",
        file,
        found.encoding.title,
        found.word,
        f", though it may also be {others}" if others else "",
    )
    return data.decode(found.encoding.name)


def _excel_hint(text: str) -> tuple[str, str]:
    """Split off a first line such as ``sep=;``, which spreadsheets write; return its delimiter and the rest."""
    first, _, rest = text.partition("\n")
    first = first.strip().lower()
    return (first[4], rest) if len(first) == 5 and first.startswith("sep=") else ("", text)


def without_comments(text: str, hint: str, file: Path) -> str:
    """Blank lines that start with # before the header, so that line numbers stay; a header like "#id" is no comment.

    Parameters
    ----------
    text : str
        The content of a file.
    hint : str
        The delimiter, or "" to detect it.
    file : Path
        The source file, for the warning.
    """
    lines = itertools.takewhile(lambda line: line.startswith("#") or not line.strip(), io.StringIO(text, newline=""))
    first = "".join(lines)
    if not first.strip() or not text[len(first) :]:
        return text
    rest = text[len(first) :]
    delimiter = hint or sniff_delimiter(rest)
    width = len(next(_rows(rest, delimiter))[1])
    comments = [row for _, row in _rows(first, delimiter) if any(row)]
    if width == 1 or any(len(row) == width for row in comments):
        return text
    logger.warning("%s: %s before the header skipped", file, counted(len(comments), "comment line"))
    return "\n" * first.count("\n") + rest


def sniff_delimiter(text: str) -> str:
    r"""Return the delimiter that splits most rows into the same number of fields, preferably that of the header.

    Examples
    --------
    >>> sniff_delimiter("name;income\nSmith, J.;1,5\nDoe, A.;2,5\n")
    ';'
    """
    sample = text[:_SAMPLE_CHARS]
    if len(text) > len(sample):
        sample = sample[: sample.rfind("\n") + 1] or sample
    scores = {}
    for delimiter in DELIMITERS:
        widths = [len(row) for _, row in itertools.islice(_rows(sample, delimiter), _SAMPLE_ROWS)]
        width, matching = Counter(widths[1:] or widths).most_common(1)[0]
        has_header = widths[0] > 1 and widths[0] in (width - 1, width)
        scores[delimiter] = (has_header, matching / len(widths) if width > 1 or has_header else 0.0, width)
    best = max(DELIMITERS, key=lambda delimiter: scores[delimiter])
    return best if scores[best][0] or scores[best][1] > 0.9 else ","


def _rows(text: str, delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> Iterator[tuple[int, list[str]]]:
    """Yield each non-blank row with the number of its last line."""
    limit = csv.field_size_limit(len(text) + 1)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, quoting=quoting)  # type: ignore[arg-type]
        yield from ((reader.line_num, row) for row in reader if row)
    finally:
        csv.field_size_limit(limit)


def _header(text: str, delimiter: str, file: Path) -> tuple[list[str], int]:
    """Return the column names and the number of the header's last line."""
    line, names = next(_rows(f"{text}\n{_END}", delimiter))
    if _END in names[-1]:
        raise _open_quote(file)
    return names, line


def _parse_fast(text: str, delimiter: str, width: int, skip: int) -> pd.DataFrame | None:
    """Parse all rows with Arrow; None if a row or the quoting is irregular."""
    names = [str(position) for position in range(width)]
    end = f"\n{_END}{delimiter * (width - 1)}"
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO((text + end).encode("utf-8", "replace")),
            pyarrow.csv.ReadOptions(column_names=names, skip_rows=skip, block_size=_BLOCK),
            pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table["0"][-1].as_py() != _END:
        return None
    frame: pd.DataFrame = table.slice(0, table.num_rows - 1).to_pandas()
    return frame


def _parse_slowly(text: str, delimiter: str, width: int, file: Path) -> pd.DataFrame:
    """Parse row by row, tolerating spaces before quotes, stray quotes and empty trailing fields."""
    problems = []
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        parsed = list(_rows(f"{text}\n{_END}", delimiter, quoting))
        rows, (_, end) = parsed[1:-1], parsed[-1]
        has_row_names = width > 1 and all(len(row) == width + 1 and row[-1].strip() for _, row in rows)
        fields = width + 1 if rows and has_row_names else width
        problem = _first_ragged(rows, fields, delimiter, file) if end == [_END] else _open_quote(file)
        if problem is None:
            if quoting == csv.QUOTE_NONE:
                logger.warning("%s has unbalanced quotes; they are read as ordinary characters", file)
            return pd.DataFrame(
                {field: text_series([row[field] or None for _, row in rows]) for field in range(fields)}
            )
        problems.append(problem)
    raise problems[0]


def _open_quote(file: Path) -> DataError:
    return DataError(f"{file}: unclosed double quote. Fix it, or export the file again.")


def _first_ragged(rows: list[tuple[int, list[str]]], width: int, delimiter: str, file: Path) -> DataError | None:
    ragged = [(line, row) for line, row in rows if len(row) < width or any(field.strip() for field in row[width:])]
    if not ragged:
        return None
    line, row = ragged[0]
    if width == 1 and len(ragged) == len(rows):
        return DataError(
            f"{file}: the header has 1 field, but all {counted(len(rows), 'row')} have more, such as line {line}:"
            f" {delimiter.join(row)[:80]!r}. If the first line is a title, remove it; the column names come"
            " first."
        )
    return DataError(
        f"{file}, line {line}: {counted(len(row), 'field')}, but the header has {width} ({len(ragged):,} of"
        f" {counted(len(rows), 'row')} affected): {delimiter.join(row)[:80]!r}. Fix the rows, or quote text that"
        f" contains {delimiter!r} or a line break with double quotes."
    )


def _without_unnamed(frame: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Drop empty unnamed columns (from trailing delimiters) and name other unnamed columns by position."""
    unnamed = [position for position, name in enumerate(frame.columns) if not str(name).strip()]
    empty = [position for position in unnamed if frame.iloc[:, position].isna().all()]
    names = [f"column_{position + 1}" if position in unnamed else name for position, name in enumerate(frame.columns)]
    if len(unnamed) > len(empty):
        logger.warning("%s has unnamed columns; they are named column_N by position", file)
    kept = [position for position in range(len(names)) if position not in empty]
    return frame.set_axis(names, axis="columns").iloc[:, kept]


def unique_names(names: list[str], file: Path) -> list[str]:
    r"""Return the column names with normalized whitespace.

    Raises
    ------
    DataError
        If a name is repeated.

    Examples
    --------
    >>> unique_names([" size", "of\nstaff "], Path("leads.csv"))
    ['size', 'of staff']
    """
    names = [" ".join(name.replace("\ufeff", "").split()) for name in names]
    repeated = [f"{name} (columns {_positions(names, name)})" for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"{file}: duplicate column names: {', '.join(repeated)}. Rename them in the header; if the first line has"
            " values, add a header."
        )
    return names


def _positions(names: list[str], name: str) -> str:
    return ", ".join(str(position) for position, other in enumerate(names, start=1) if other == name)
