from __future__ import annotations

import gzip
import json
import logging
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlsys.data.table import read_table
from mlsys.data.table.delimited import sniff_delimiter
from mlsys.errors import DataError


def read(tmp_path: Path, name: str, content: str | bytes) -> dict[str, list[object]]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    frame = read_table(path)
    return {column: values.astype(object).where(values.notna(), None).tolist() for column, values in frame.items()}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("comma.csv", "a,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        ("tab.tsv", "a\tb\n1\t2,3\n", {"a": ["1"], "b": ["2,3"]}),
        ("bar.txt", "a|b\n1|2\n", {"a": ["1"], "b": ["2"]}),
        ("german.csv", "\ufeffid;preis\n007;1.234,56\n8;0,5\n", {"id": ["007", "8"], "preis": ["1.234,56", "0,5"]}),
        ("newline.csv", 'a,b\n"x\ny",2\n', {"a": ["x\ny"], "b": ["2"]}),
        ("newline_in_name.csv", '"a\nx",b\n1,2\n3,4\n', {"a x": ["1", "3"], "b": ["2", "4"]}),
        ("quotes.csv", 'a,b\n"say ""hi""","1,2"\n', {"a": ['say "hi"'], "b": ["1,2"]}),
        ("gaps.csv", 'a,b\n,2\n"",3\n', {"a": [None, None], "b": ["2", "3"]}),
        ("blank_before_quote.csv", 'a,b\n1, "2, 4"\n', {"a": ["1"], "b": ["2, 4"]}),
        ("blank_lines.csv", "\n\n a ,b\n1,2\n\n3,4\n\n", {"a": ["1", "3"], "b": ["2", "4"]}),
        ("windows.csv", "a,b\r\n1,2\r\n", {"a": ["1"], "b": ["2"]}),
        ("old_mac.csv", "a,b\r1,2\r3,4", {"a": ["1", "3"], "b": ["2", "4"]}),
        ("excel.csv", "sep=;\na;b\n1;2\n", {"a": ["1"], "b": ["2"]}),
        ("one_column.csv", "x\n1\n\n2\n", {"x": ["1", "2"]}),
        ("delimiter_at_end.csv", "a,b,\n1,2,\n", {"a": ["1"], "b": ["2"]}),
        ("delimiter_at_end_of_rows.csv", "a,b\n1,2,\n3,4,\n", {"a": ["1", "3"], "b": ["2", "4"]}),
        ("row_names.csv", "a,b\nr1,1,2\nr2,3,4\n", {"row": ["r1", "r2"], "a": ["1", "3"], "b": ["2", "4"]}),
        ("index.csv", ",a\n0,x\n1,y\n", {"column_1": ["0", "1"], "a": ["x", "y"]}),
        ("packed.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0), {"a": ["1"], "b": ["2"]}),
        ("misnamed.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), {"a": ["1"], "b": ["2"]}),
        ("utf16.csv", "a,b\n1,é\n".encode("utf-16"), {"a": ["1"], "b": ["é"]}),
        ("utf16_no_bom.csv", "a,b\n1,hello\n".encode("utf-16-be"), {"a": ["1"], "b": ["hello"]}),
        (
            "lines.jsonl",
            '{"a": 1}\n\n{"b": {"c": "x"}, "l": [2]}\n',
            {"a": [1, None], "b.c": [None, "x"], "l": [None, "[2]"]},
        ),
        ("list.json", '[{"a": 1}, {"a": 2}]', {"a": [1, 2]}),
        ("pretty.json", '{\n "a": 1}', {"a": [1]}),
        ("wrapped.json", '{"data": [{"a": 1}]}', {"a": [1]}),
        ("columns.json", '{"a": {"0": 1, "1": 2}, "b": {"0": "x"}}', {"a": [1, 2], "b": ["x", None]}),
        ("surrogate.jsonl", '{"a": "x\\ud800", "b": 1}\n{"a": "y"}', {"a": ["x?", "y"], "b": ["1", None]}),
    ],
)
def test_reads_every_format(tmp_path, name, content, expected):
    assert read(tmp_path, name, content) == expected


def test_text_files_come_as_text_columns(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,\n2,\n")
    assert read_table(tmp_path / "t.csv").dtypes.astype(str).tolist() == ["str", "str"]


@pytest.mark.parametrize(
    ("encoding", "words", "title"),
    [
        ("cp1252", ["naïve", "Größe", "café – “pro”"], "Windows-1252"),
        ("cp1252", ["don’t", "it’s – “here”"], "Windows-1252"),
        ("cp1252", ["50 €", "O’Brien", "20 °C"], "Windows-1252"),
        ("mac_roman", ["Martínez", "España", "Äpfel"], "Mac Roman"),
        ("cp1252", ["François Noël", "São Paulo", "Århus"], "Windows-1252"),
        ("cp1250", ["zażółć", "gęślą", "jaźń"], "Windows-1250"),
        ("cp1250", ["Jiří Dvořák", "kůň"], "Windows-1250"),
        ("cp1251", ["Москва", "Київ"], "Windows-1251"),
        ("mac_roman", ["naïve", "Größe", "café"], "Mac Roman"),
        ("cp932", ["東京", "大阪 カタカナ"], "Shift-JIS"),
        ("utf-16", ["Größe", "Москва"], "utf-16"),
        ("utf-16-le", ["Größe", "Москва"], "utf-16-le"),
        ("utf-16-be", ["Größe", "東京"], "utf-16-be"),
    ],
)
def test_encodings_are_detected_by_the_words_and_logged(tmp_path, caplog, encoding, words, title):
    text = "x,plan\n" + "".join(f"{number},{word}\n" for number, word in enumerate(words * 3))
    assert read(tmp_path, "t.csv", text.encode(encoding))["plan"] == words * 3
    assert f"t.csv is not UTF-8: read as {title}" in caplog.text


def test_an_encoding_that_is_one_of_two_or_none_is_logged(tmp_path, caplog):
    assert read(tmp_path, "t.csv", "a\nPadè\n".encode("cp1252")) == {"a": ["Padè"]}
    assert "though it may also be Windows-1250 (Central Europe)" in caplog.text
    assert read(tmp_path, "u.csv", b"a,b\n1,x\x81\xa0\n") == {"a": ["1"], "b": ["x\x81\xa0"]}
    assert "its letters match no encoding: read as latin-1" in caplog.text
    assert read(tmp_path, "v.csv", b"a,b\n1,x\xa4\n") == {"a": ["1"], "b": ["x¤"]}
    assert "its letters match no encoding: read as cp1252" in caplog.text


BIG = 2**53


ALL_FORMATS = ["csv", "jsonl", "json", "parquet", "duckdb", "sqlite"]


@pytest.mark.parametrize(
    ("suffix", "ids"),
    [
        *((suffix, [BIG + 1, None, BIG + 2]) for suffix in ALL_FORMATS),
        *((suffix, [2**63 + 1, None, 2**63 + 2]) for suffix in ALL_FORMATS[:-1]),  # SQLite has no unsigned numbers
    ],
)
def test_big_whole_numbers_are_exact(tmp_path, suffix, ids):
    path = tmp_path / f"t.{suffix}"
    kind = pa.int64() if max(filter(None, ids)) < 2**63 else pa.uint64()
    rows = pa.table({"id": pa.array(ids, kind)})
    if suffix == "parquet":
        pq.write_table(rows, path)
    elif suffix == "csv":
        path.write_text("id,x\n" + "".join(f"{'' if one is None else one},1\n" for one in ids))
    elif suffix == "json":
        path.write_text(json.dumps([{"id": one} for one in ids]))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps({"id": one}) + "\n" for one in ids))
    elif suffix == "duckdb":
        with duckdb.connect(path) as connection:
            connection.execute("CREATE TABLE t AS SELECT * FROM rows")
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (id INTEGER)")
            connection.executemany("INSERT INTO t VALUES (?)", [(one,) for one in ids])
            connection.commit()
    column = read_table(path)["id"]
    assert [None if pd.isna(one) else int(one) for one in column] == ids


@pytest.mark.parametrize("comments", ["# exported by the CRM\n", "#one\n\n# two, with a comma\n"])
def test_comment_lines_before_the_header_are_skipped(tmp_path, caplog, comments):
    assert read(tmp_path, "t.csv", comments + "a,b,c\n1,2,3\n") == {"a": ["1"], "b": ["2"], "c": ["3"]}
    assert f"{comments.count('#')} comment line" in caplog.text
    with pytest.raises(DataError, match=f"line {3 + comments.count(chr(10))}: 1 field, but the header has 3"):
        read(tmp_path, "u.csv", comments + "a,b,c\n1,2,3\n4\n")


@pytest.mark.parametrize("header", ["#id,size", "#", "#a;b"])
def test_a_header_may_start_with_a_number_sign(tmp_path, header):
    assert list(read(tmp_path, "t.csv", f"{header}\n" + header.replace("#", "1") + "\n")) == re.split("[,;]", header)


def test_a_file_name_with_spaces_and_brackets(tmp_path):
    assert read(tmp_path, "with space [1].csv", "a,b\n1,2\n") == {"a": ["1"], "b": ["2"]}


def test_an_unclosed_quote_loses_no_rows(tmp_path, caplog):
    content = 'a,b\n1,5" pipe\n2,"open\n3,x\n'
    assert read(tmp_path, "t.csv", content) == {"a": ["1", "2", "3"], "b": ['5" pipe', '"open', "x"]}
    assert "unbalanced quotes" in caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name;income\nSmith, J.;1,5\nDoe, A.;2,5\n", ";"),
        ("comment\nwell, yes\nno\nbut, well, no\n", ","),
        ("a,b\n1;2,3\n", ","),
        ("a|b|c\n1,5|2,5|3,5\n", "|"),
        ('"x;y",b\n"1;2",3\n', ","),
    ],
)
def test_detects_the_delimiter(text, expected):
    assert sniff_delimiter(text) == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.csv", "", "is empty (0 bytes)"),
        ("blank.csv", " \n\n", "only blank lines"),
        ("header.csv", "a,b\n", "has a header (a, b) but no rows"),
        ("header.csv", "a,b", "has a header (a, b) but no rows"),
        ("twice.csv", "a,b, a\n1,2,3\n", "a (columns 1, 3)"),
        ("long.csv", "a,b\n1,2\n3,4,5\n6\n", "line 3: 3 fields, but the header has 2 (2 of 3 rows affected): '3,"),
        ("short.csv", 'a,b\n"x\ny",2\n3\n', "line 4: 1 field, but the header has 2"),
        (
            "title.csv",
            "Report\na,b\n1,2\n3,4\n",
            "the header has 1 field, but all 3 rows have more, such as line 2: 'a,b'. If the first line is a title",
        ),
        ("open.csv", '"a,b\n1,2\n', "unclosed double quote"),
        ("garbage.csv", bytes(range(256)) * 8, "is not a text file"),
        ("image.csv", b"\x89PNG\r\n\x1a\n" + np.random.default_rng(0).bytes(4_000), "is not a text file"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "Cannot decompress"),
        ("sheet.xlsx", b"PK\x03\x04....", "is a spreadsheet or an archive"),
        ("cut.parquet", b"PAR1....", "as Parquet"),
        ("cut.jsonl", '{"a": 1}\n{"a":\n', "line 2: invalid JSON"),
        ("numbers.json", "[1, 2]", "1 is not a record"),
        ("none.json", "[]", ": no records"),
        ("cut.sqlite", b"SQLite format 3\x00....", "as an SQLite file"),
        ("cut.duckdb", b"........DUCK....", "as a DuckDB file"),
    ],
)
def test_invalid_files(tmp_path, name, content, expected):
    with pytest.raises(DataError) as caught:
        read(tmp_path, name, content)
    assert expected in str(caught.value)
    assert name in str(caught.value)


def test_missing_files(tmp_path):
    (tmp_path / "leads.csv").touch()
    for path, expected in {
        "leds.csv": "closest: leads.csv",
        "zzzzzzzz": "the folder has: leads.csv",
        "no/leads.csv": "no folder",
        "": "is a folder. Choose a file in it: leads.csv",
    }.items():
        with pytest.raises(DataError, match=expected):
            read_table(tmp_path / path)


def test_reads_parquet_with_its_types_and_its_index(tmp_path):
    frame = pd.DataFrame({" size ": [1.5]}, index=pd.Index(["x"], name="key"))
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_dict("list") == {"key": ["x"], "size": [1.5]}


def test_reads_tables_of_databases(tmp_path):
    with duckdb.connect(str(tmp_path / "d.db")) as connection:
        connection.sql("CREATE TABLE leads AS SELECT 1 AS a, DATE '2020-01-31' AS b")
    assert read_table(tmp_path / "d.db").to_dict("list") == {"a": [1], "b": [pd.Timestamp("2020-01-31")]}
    with duckdb.connect(str(tmp_path / "d.db")) as connection:
        connection.sql('CREATE TABLE "my ""other""" AS SELECT 2 AS a')
    assert read_table(f'{tmp_path}/d.db::my "other"').to_dict("list") == {"a": [2]}
    with pytest.raises(DataError, match=r"has 2 tables\. Tables: leads"):
        read_table(tmp_path / "d.db")
    with pytest.raises(DataError, match=r"no table 'leeds' \(closest: leads\)"):
        read_table(f"{tmp_path}/d.db::leeds")
    connection = sqlite3.connect(tmp_path / "s.db")
    connection.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2, NULL);")
    connection.close()
    assert read_table(tmp_path / "s.db").fillna("?").to_dict("list") == {"a": [1, 2], "b": ["x", "?"]}
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="not a DuckDB or SQLite file"):
        read_table(f"{tmp_path}/t.csv::t")


def test_all_formats_give_the_same_rows(tmp_path):
    frame = pd.DataFrame({"name": ["a, b", 'c "d"', "e\nf"], "size": ["1", "02", "3,5"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t", encoding="utf-16")
    frame.to_csv(tmp_path / "t.csv.gz", index=False, sep=";", encoding="utf-8-sig")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, frame.to_dict("records"))))
    frame.to_parquet(tmp_path / "t.parquet")
    logging.disable(logging.WARNING)
    try:
        for path in tmp_path.iterdir():
            pd.testing.assert_frame_equal(read_table(path), frame)
    finally:
        logging.disable(logging.NOTSET)


def test_fields_that_are_given_twice_are_an_error(tmp_path):
    path = tmp_path / "leads.jsonl"
    path.write_text('{"a": {"c": 1}}\n{"a": {"b": 1}, "a.b": 2}\n')
    with pytest.raises(DataError, match=r"record 2: 'a\.b' is given twice, as a field and as 'b' in 'a'\. Rename one"):
        read_table(path)


UMLAUTS = "name,city\nMüller,Köln\nGröße,Zürich\n"


@pytest.mark.parametrize("data", [UMLAUTS.encode() + b"M\xfcller,x\n", (UMLAUTS + "Jörg,Mä").encode()[:-1]])
def test_a_damaged_place_does_not_change_the_encoding(tmp_path, caplog, data):
    path = tmp_path / "leads.csv"
    path.write_bytes(data)
    frame = read_table(path)
    assert frame["city"].tolist()[:2] == ["Köln", "Zürich"]
    assert "is UTF-8 but for 1 place, the first in line 4" in caplog.text


@pytest.mark.parametrize(
    ("words", "encoding"),
    [("Müller", "mac_roman"), ("Győr,Pécs", "cp1250"), ("Łódź", "cp1250"), ("limões", "cp1252"), ("źródło", "cp1250")],
)
def test_letters_stand_where_words_have_them(tmp_path, words, encoding):
    path = tmp_path / "leads.csv"
    path.write_bytes(f"a,b\n{words},\n1,2\n".replace(",\n", "\n" if "," in words else ",\n").encode(encoding))
    assert read_table(path).iloc[0].dropna().tolist() == words.split(",")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "leads.csv",
            "<html><table><tr><td>a</td></tr></table></html>",
            r"leads.csv is a web page \(HTML\), not a table",
        ),
        (
            "leads.xls",
            "<?xml version='1.0'?><Workbook></Workbook>",
            r"leads.xls is XML, not a table\. Save the table as CSV",
        ),
        ("leads.csv", '[{"a": 0, "y": 1}, {"a": 1, "y": 0}]', r"leads.csv is JSON, .* Rename it to leads.json"),
        ("leads.txt", '\ufeff{"a": 0}\n{"a": 1}\n', r"is JSON, .* or leads.jsonl for lines"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_table(path)
