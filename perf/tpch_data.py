"""TPC-H as an SQLite file: `python -m perf.tpch_data --scale 1 --folder perf/data`.

Types are declared as in the TPC-H specification, revision 3, clause 1.4.1: identifiers BIGINT,
integers INTEGER, decimals DECIMAL(15,2), DATE, CHAR(n) and VARCHAR(n), all NOT NULL, with the
primary keys. A BIGINT key is no alias of the rowid, so each key is an index of its own.
Dates are text 'YYYY-MM-DD'; NUMERIC affinity stores a whole decimal as an integer and any other
as the nearest double.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from perf.sqlite_file import DATA_FOLDER, new_file

_BATCH_ROWS = 65_536

SCHEMA = {
    "region": """
        r_regionkey BIGINT NOT NULL, r_name CHAR(25) NOT NULL, r_comment VARCHAR(152) NOT NULL,
        PRIMARY KEY (r_regionkey)""",
    "nation": """
        n_nationkey BIGINT NOT NULL, n_name CHAR(25) NOT NULL, n_regionkey BIGINT NOT NULL,
        n_comment VARCHAR(152) NOT NULL, PRIMARY KEY (n_nationkey)""",
    "supplier": """
        s_suppkey BIGINT NOT NULL, s_name CHAR(25) NOT NULL, s_address VARCHAR(40) NOT NULL,
        s_nationkey BIGINT NOT NULL, s_phone CHAR(15) NOT NULL, s_acctbal DECIMAL(15,2) NOT NULL,
        s_comment VARCHAR(101) NOT NULL, PRIMARY KEY (s_suppkey)""",
    "customer": """
        c_custkey BIGINT NOT NULL, c_name VARCHAR(25) NOT NULL, c_address VARCHAR(40) NOT NULL,
        c_nationkey BIGINT NOT NULL, c_phone CHAR(15) NOT NULL, c_acctbal DECIMAL(15,2) NOT NULL,
        c_mktsegment CHAR(10) NOT NULL, c_comment VARCHAR(117) NOT NULL, PRIMARY KEY (c_custkey)""",
    "part": """
        p_partkey BIGINT NOT NULL, p_name VARCHAR(55) NOT NULL, p_mfgr CHAR(25) NOT NULL,
        p_brand CHAR(10) NOT NULL, p_type VARCHAR(25) NOT NULL, p_size INTEGER NOT NULL,
        p_container CHAR(10) NOT NULL, p_retailprice DECIMAL(15,2) NOT NULL,
        p_comment VARCHAR(23) NOT NULL, PRIMARY KEY (p_partkey)""",
    "partsupp": """
        ps_partkey BIGINT NOT NULL, ps_suppkey BIGINT NOT NULL, ps_availqty INTEGER NOT NULL,
        ps_supplycost DECIMAL(15,2) NOT NULL, ps_comment VARCHAR(199) NOT NULL,
        PRIMARY KEY (ps_partkey, ps_suppkey)""",
    "orders": """
        o_orderkey BIGINT NOT NULL, o_custkey BIGINT NOT NULL, o_orderstatus CHAR(1) NOT NULL,
        o_totalprice DECIMAL(15,2) NOT NULL, o_orderdate DATE NOT NULL,
        o_orderpriority CHAR(15) NOT NULL, o_clerk CHAR(15) NOT NULL,
        o_shippriority INTEGER NOT NULL, o_comment VARCHAR(79) NOT NULL,
        PRIMARY KEY (o_orderkey)""",
    "lineitem": """
        l_orderkey BIGINT NOT NULL, l_partkey BIGINT NOT NULL, l_suppkey BIGINT NOT NULL,
        l_linenumber INTEGER NOT NULL, l_quantity DECIMAL(15,2) NOT NULL,
        l_extendedprice DECIMAL(15,2) NOT NULL, l_discount DECIMAL(15,2) NOT NULL,
        l_tax DECIMAL(15,2) NOT NULL, l_returnflag CHAR(1) NOT NULL, l_linestatus CHAR(1) NOT NULL,
        l_shipdate DATE NOT NULL, l_commitdate DATE NOT NULL, l_receiptdate DATE NOT NULL,
        l_shipinstruct CHAR(25) NOT NULL, l_shipmode CHAR(10) NOT NULL,
        l_comment VARCHAR(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber)""",
}


def build(scale: float, folder: Path = DATA_FOLDER) -> Path:
    """The SQLite file of this scale factor in `folder`, made at the first call."""
    target = folder / f"tpch-sf{scale:g}.sqlite"
    if target.exists():
        return target
    with new_file(target) as cursor, tempfile.TemporaryDirectory(dir=folder) as parquet:
        command = ["tpchgen-cli", "parquet", "-q", "-s", f"{scale:g}", "-o", parquet]
        subprocess.run(command, check=True)
        for table, columns in SCHEMA.items():
            cursor.execute(f"CREATE TABLE {table} ({columns})")
            cursor.adbc_ingest(table, _rows(Path(parquet, f"{table}.parquet")), mode="append")
    return target


def _rows(file: Path) -> pa.RecordBatchReader:
    source = pq.ParquetFile(file)
    schema = pa.schema([(field.name, _stored(field.type)) for field in source.schema_arrow])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in source.iter_batches(_BATCH_ROWS):
            columns = [_convert(column) for column in batch.columns]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _stored(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal(kind):
        return pa.float64()
    return kind if pa.types.is_integer(kind) else pa.string()


def _convert(column: pa.Array) -> pa.Array:
    if pa.types.is_decimal(column.type):
        # By way of text: parsing gives the nearest double, which a direct cast may miss.
        return pc.cast(pc.cast(column, pa.string()), pa.float64())
    return pc.cast(column, _stored(column.type))


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate TPC-H and load it into SQLite.")
    parser.add_argument("--scale", type=float, default=1.0, help="scale factor (1 is 8.66M rows)")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER)
    options = parser.parse_args()
    print(build(options.scale, options.folder))


if __name__ == "__main__":
    main()
