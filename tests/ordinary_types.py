"""Ordinary values of ordinary types of PostgreSQL: a table without a key and with equal rows, and
its rows once more under a key of text and under one of two columns."""

from __future__ import annotations

ORDINARY_TABLES: tuple[str, ...] = (
    """
    CREATE TABLE keyless AS SELECT
        (i % 40)::int8 AS whole, (i % 7 - 3)::int2 AS small, i % 3 = 0 AS yes,
        i / 7.0::float8 AS ratio, (i / 8.0 + 0.1)::float4 AS single,
        (i * 1.37)::numeric(10,2) AS price, i / 4.0 AS amount,
        (i * 10 ^ 15 + 0.5)::numeric(20,1) AS large, 'the words of row ' || i AS words,
        ('Code ' || chr(64 + i % 26))::varchar(20) AS code, lpad(i::text, 3)::char(5) AS padded,
        decode(md5(i::text), 'hex') AS picture, '2001-02-03'::date + i AS day,
        '2001-02-03 04:05:06'::timestamp + i * interval '1 hour 1 microsecond' AS moment,
        '2001-02-03 04:05:06+01'::timestamptz + i * interval '1 hour' AS zoned,
        '04:05:06.5'::time + i * interval '1 second' AS hour, md5(i::text)::uuid AS id,
        ('{"a":  ' || i || ', "b": [null, "X"]}')::json AS document,
        ('{"a": ' || i || ', "b": [1.50, "X"]}')::jsonb AS kept_document,
        i * interval '1 day 01:00' AS length, ARRAY[i, NULL, -i] AS numbers,
        ('10.0.' || i % 250 || '.1/24')::inet AS network, int4range(i, i + 9) AS span
    FROM generate_series(1, 200) AS i
    """,
    "INSERT INTO keyless SELECT * FROM keyless WHERE whole < 3",
    "INSERT INTO keyless DEFAULT VALUES",
    "CREATE TABLE by_text AS SELECT 'Key' || row_number() OVER () AS key, k.* FROM keyless AS k",
    "ALTER TABLE by_text ADD PRIMARY KEY (key)",
    """
    CREATE TABLE by_pair AS
        SELECT n % 5 AS one, 'key' || n AS two, k.* FROM (
            SELECT row_number() OVER () AS n, * FROM keyless) AS k
    """,
    "ALTER TABLE by_pair ADD PRIMARY KEY (one, two)",
)
