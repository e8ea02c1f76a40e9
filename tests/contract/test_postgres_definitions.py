"""What inspecting a PostgreSQL source tells of columns and types, keys, indexes and views."""

from __future__ import annotations

import re
from contextlib import closing

from tests.contract.inspecting import inspected, left, opened, public, table
from tests.servers import Server
from tests.system.applications import for_an_ordinary_role

from tableferry.model import Check, Column, ForeignKey, Identity, Index, IndexColumn, Key, UserType

# ---- columns and types --------------------------------------------------------------------------


def test_columns(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE t (a varchar(3) NOT NULL DEFAULT 'x', b numeric(5,2)[], c int, "
        "d int GENERATED ALWAYS AS (c * 2) STORED, e timestamptz DEFAULT now(), "
        'f text COLLATE "C", g text COLLATE "default")',
        "COMMENT ON TABLE t IS 'all of it'",
        "COMMENT ON COLUMN t.a IS 'it''s a'",
        "ALTER TABLE t DROP COLUMN c CASCADE",
        "ALTER TABLE t ADD COLUMN c bigint, ADD COLUMN h int GENERATED ALWAYS AS (1 + 1) STORED",
    )
    t = table(schema, "t")
    assert t.comment == "all of it"
    assert t.columns == (
        Column(
            "a",
            "character varying(3)",
            nullable=False,
            default="'x'::character varying",
            comment="it's a",
        ),
        Column("b", "numeric(5,2)[]"),
        Column("e", "timestamp with time zone", default="now()"),
        Column("f", "text"),
        Column("g", "text"),
        Column("c", "bigint"),
        Column("h", "integer", generated="(1 + 1)"),
    )
    assert left(schema) == {("collation", "f", "t")}


def test_a_virtual_column(database: Server) -> None:
    virtual = "VIRTUAL" if database.version >= 18 else "STORED"
    schema = inspected(
        database, f"CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 1) {virtual})"
    )
    assert table(schema, "t").column("b").generated == "(a + 1)"


def test_types_of_users(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TYPE mood AS ENUM ('so so', 'sad')",
        "ALTER TYPE mood ADD VALUE 'happy' BEFORE 'sad'",
        "CREATE DOMAIN percent AS numeric(5,2) DEFAULT 1 CONSTRAINT low CHECK (VALUE >= 0) "
        "CONSTRAINT high CHECK (VALUE <= 100 OR 'VALUE' = VALUE::text)",
        "CREATE DOMAIN share AS percent NOT NULL CHECK (VALUE <> 50)",
        "CREATE DOMAIN feeling AS mood",
        "CREATE TYPE pair AS (first mood, second integer[])",
        "CREATE TYPE later AS (a int)",
        "CREATE TYPE spread AS RANGE (subtype = numeric)",
        "ALTER TYPE pair ADD ATTRIBUTE third later",
        'CREATE TABLE t (m mood, ms mood[], p percent DEFAULT 2, "the s" share, f feeling, '
        "pp pair, r spread, rs spread_multirange, ps percent[])",
    )
    numbers = Check("(VALUE >= (0)::numeric)", "low")
    upper = Check("((VALUE <= (100)::numeric) OR ('VALUE'::text = (VALUE)::text))", "high")
    not_half = Check("((VALUE)::numeric <> (50)::numeric)", "share_check")
    moods = ("so so", "happy", "sad")
    types = {
        each.name.name: each
        for each in (
            UserType(public("mood"), "enum", labels=moods),
            UserType(
                public("percent"),
                "domain",
                base="numeric(5,2)",
                default="1",
                checks=(upper, numbers),
            ),
            UserType(
                public("share"),
                "domain",
                base="public.percent",
                nullable=False,
                default="1",
                checks=(not_half,),
            ),
            UserType(public("feeling"), "domain", base="public.mood"),
            UserType(public("later"), "composite", attributes=(("a", "integer"),)),
            UserType(
                public("pair"),
                "composite",
                attributes=(
                    ("first", "public.mood"),
                    ("second", "integer[]"),
                    ("third", "public.later"),
                ),
            ),
            UserType(public("spread"), "range", base="numeric"),
        )
    }
    assert {each.name.name: each for each in schema.types} == types
    order = [each.name.name for each in schema.types]
    for first, second in (("mood", "feeling"), ("percent", "share"), ("later", "pair")):
        assert order.index(first) < order.index(second)
    t = table(schema, "t")
    assert t.columns == (
        Column("m", "public.mood", labels=moods, user_type=public("mood")),
        Column("ms", "public.mood[]", user_type=public("mood")),
        Column("p", "numeric(5,2)", default="2", user_type=public("percent")),
        Column("the s", "numeric(5,2)", nullable=False, default="1", user_type=public("share")),
        Column("f", "public.mood", labels=moods, user_type=public("feeling")),
        Column("pp", "public.pair", user_type=public("pair")),
        Column("r", "public.spread", user_type=public("spread")),
        Column("rs", "public.spread_multirange", user_type=public("spread")),
        Column("ps", "public.percent[]", user_type=public("percent")),
    )
    assert t.checks == (
        Check('(("p" <= (100)::numeric) OR (\'VALUE\'::text = ("p")::text))', "high_p", "percent"),
        Check('("p" >= (0)::numeric)', "low_p", "percent"),
        Check('(("the s")::numeric <> (50)::numeric)', "share_check_the s", "share"),
        Check(
            '(("the s" <= (100)::numeric) OR (\'VALUE\'::text = ("the s")::text))',
            "high_the s",
            "percent",
        ),
        Check('("the s" >= (0)::numeric)', "low_the s", "percent"),
    )
    assert not schema.left_behind


def test_types_of_another_schema_come_along(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE SCHEMA here",
        "CREATE TYPE used AS ENUM ('a')",
        "CREATE TYPE unused AS ENUM ('a')",
        "CREATE TYPE here.own AS ENUM ('b')",
        "CREATE TABLE here.t (a used[])",
        schema="here",
    )
    assert [str(each.name) for each in schema.types] == ["here.own", "used"]


# ---- keys and indexes ---------------------------------------------------------------------------


def test_keys_and_checks(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE parent (a int, b int, PRIMARY KEY (b, a), UNIQUE (a))",
        "CREATE TABLE child (x int NOT NULL, y int, z int REFERENCES parent (a) "
        "ON DELETE CASCADE ON UPDATE RESTRICT DEFERRABLE INITIALLY DEFERRED, "
        "CONSTRAINT pair_fk FOREIGN KEY (x, y) REFERENCES parent (a, b) ON DELETE SET DEFAULT, "
        "CONSTRAINT small CHECK (x < 10 AND y <> 0), "
        "CONSTRAINT named UNIQUE (y, x))",
        "ALTER TABLE child ADD CONSTRAINT old CHECK (z > 0) NOT VALID, "
        "ADD CONSTRAINT older FOREIGN KEY (y) REFERENCES parent (a) NOT VALID",
    )
    parent, child = table(schema, "parent"), table(schema, "child")
    assert parent.primary_key == Key(("b", "a"), "parent_pkey")
    assert parent.uniques == (Key(("a",), "parent_a_key"),)
    assert parent.indexes == child.indexes == ()
    assert child.uniques == (Key(("y", "x"), "named"),)
    assert child.foreign_keys == (
        ForeignKey(("z",), parent.name, ("a",), "CASCADE", "RESTRICT", True, name="child_z_fkey"),
        ForeignKey(("y",), parent.name, ("a",), name="older"),
        ForeignKey(("x", "y"), parent.name, ("a", "b"), "SET DEFAULT", name="pair_fk"),
    )
    assert [key.valid for key in child.foreign_keys] == [True, False, True]
    assert child.checks == (Check("(z > 0)", "old"), Check("((x < 10) AND (y <> 0))", "small"))
    assert [check.valid for check in child.checks] == [False, True]
    assert not schema.left_behind


def test_a_key_to_a_partitioned_table_is_one_key(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE p (a int PRIMARY KEY) PARTITION BY RANGE (a)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO (10)",
        "CREATE TABLE p2 PARTITION OF p DEFAULT",
        "CREATE TABLE child (a int REFERENCES p) PARTITION BY LIST (a)",
        "CREATE TABLE child1 PARTITION OF child FOR VALUES IN (1)",
    )
    (key,) = table(schema, "child").foreign_keys
    assert key == ForeignKey(("a",), public("p"), ("a",), name="child_a_fkey")
    assert {item.what for item in schema.left_behind} == {"partitioning"}


def test_what_keys_lose(database: Server) -> None:
    distinct = "NULLS NOT DISTINCT "
    schema = inspected(
        database,
        "CREATE TABLE parent (a int PRIMARY KEY DEFERRABLE, b int, UNIQUE (a, b))",
        f"CREATE TABLE t (a int, b int, r int4range, UNIQUE {distinct}(a), "
        "CONSTRAINT with_b UNIQUE (a) INCLUDE (b), "
        "CONSTRAINT late UNIQUE (b) DEFERRABLE INITIALLY DEFERRED, "
        "CONSTRAINT full_fk FOREIGN KEY (a, b) REFERENCES parent (a, b) MATCH FULL, "
        "CONSTRAINT some_fk FOREIGN KEY (a, b) REFERENCES parent (a, b) "
        "ON DELETE SET NULL (b), "
        "CONSTRAINT now_fk FOREIGN KEY (a, b) REFERENCES parent (a, b) DEFERRABLE, "
        "CONSTRAINT apart EXCLUDE USING gist (r WITH &&))",
    )
    t = table(schema, "t")
    assert {key.name: key.columns for key in t.uniques} == {
        "t_a_key": ("a",),
        "with_b": ("a",),
        "late": ("b",),
    }
    assert {key.name for key in t.foreign_keys} == {"full_fk", "some_fk", "now_fk"}
    assert t.indexes == ()
    assert left(schema) == {
        ("DEFERRABLE", "parent_pkey", "parent"),
        ("NULLS NOT DISTINCT", "t_a_key", "t"),
        ("INCLUDE", "with_b", "t"),
        ("DEFERRABLE", "late", "t"),
        ("MATCH FULL", "full_fk", "t"),
        ("SET NULL or SET DEFAULT", "some_fk", "t"),
        ("DEFERRABLE", "now_fk", "t"),
        ("exclusion constraint", "apart", "t"),
    }


def test_what_is_new_in_18(database: Server) -> None:
    if database.version < 18:
        # Its catalogs do not know these columns: everything else here is read without them.
        assert inspected(database, "CREATE TABLE t (a int NOT NULL)").left_behind == ()
        return
    schema = inspected(
        database,
        "CREATE TABLE parent (q int4range, r int4range, PRIMARY KEY (q, r WITHOUT OVERLAPS))",
        "CREATE TABLE t (q int4range, r int4range NOT NULL, "
        "a int CONSTRAINT free CHECK (a > 0) NOT ENFORCED, "
        "CONSTRAINT within FOREIGN KEY (q, PERIOD r) REFERENCES parent (q, PERIOD r))",
    )
    t = table(schema, "t")
    assert (t.checks, t.foreign_keys) == ((), ())
    assert [column.nullable for column in t.columns] == [True, False, True]
    assert table(schema, "parent").primary_key == Key(("q", "r"), "parent_pkey")
    assert left(schema) == {
        ("WITHOUT OVERLAPS", "parent_pkey", "parent"),
        ("check", "free", "t"),
        ("foreign key", "within", "t"),
    }


def test_indexes(database: Server) -> None:
    schema = inspected(
        database,
        'CREATE TABLE t (a int, b text, "the c" text)',
        'CREATE UNIQUE INDEX i1 ON t (a DESC, "the c" NULLS FIRST)',
        "CREATE INDEX i2 ON t (lower(b), (a + 1) DESC) WHERE a > 0 AND b IS NOT NULL",
        "CREATE INDEX i3 ON t USING hash (b)",
        # A foreign key to it makes it no constraint.
        "CREATE TABLE u (a int)",
        "CREATE UNIQUE INDEX u_a ON u (a)",
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (a)",
    )
    assert table(schema, "t").indexes == (
        Index("i1", (IndexColumn("a", True), IndexColumn("the c")), unique=True),
        Index(
            "i2",
            (IndexColumn(expression="lower(b)"), IndexColumn("", True, "((a + 1))")),
            where="((a > 0) AND (b IS NOT NULL))",
        ),
        Index("i3", (IndexColumn("b"),)),
    )
    assert [index.name for index in table(schema, "u").indexes] == ["u_a"]
    assert not schema.left_behind


def test_what_indexes_lose(database: Server) -> None:
    schema = inspected(
        database,
        'CREATE TABLE t (a int, b text, c text COLLATE "C", d int[], e int4range)',
        "CREATE INDEX with_b ON t (a) INCLUDE (b)",
        'CREATE INDEX other ON t (b COLLATE "C", c)',
        "CREATE INDEX pattern ON t (b text_pattern_ops)",
        "CREATE UNIQUE INDEX one_null ON t (a) NULLS NOT DISTINCT",
        "CREATE INDEX words ON t USING gin (d)",
        "CREATE INDEX spans ON t USING gist (e)",
        "CREATE INDEX pages ON t USING brin (a)",
        "CREATE INDEX broken ON t (a)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass",
    )
    t = table(schema, "t")
    assert [index.name for index in t.indexes] == ["one_null", "other", "pattern", "with_b"]
    assert t.indexes[-1].columns == (IndexColumn("a"),)
    assert left(schema) == {
        ("collation", "c", "t"),
        ("INCLUDE", "with_b", "t"),
        ("collation", "other", "t"),
        ("operator class", "pattern", "t"),
        ("NULLS NOT DISTINCT", "one_null", "t"),
        ("index", "words", "t"),
        ("index", "spans", "t"),
        ("index", "pages", "t"),
        ("index", "broken", "t"),
    }
    with closing(opened(database)) as session:
        (there,) = session.inspect_target().tables
    # An application's own: none of them may be forgotten.
    assert len(there.indexes) == 8


# ---- columns that number themselves -------------------------------------------------------------


def test_identities(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE fresh (id int GENERATED BY DEFAULT AS IDENTITY (START 7) PRIMARY KEY)",
        "CREATE TABLE used (id bigserial PRIMARY KEY, a int)",
        "INSERT INTO used (a) VALUES (1), (2)",
        "CREATE TABLE always (id smallint GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE put (id serial)",
        "SELECT setval('put_id_seq', 40, false)",
        "CREATE SEQUENCE plain",
        "CREATE TABLE by_plain (id int DEFAULT nextval('plain'))",
        "SELECT nextval('plain')",
        "CREATE TABLE two (a serial, id serial PRIMARY KEY)",
        "CREATE TABLE words (id text DEFAULT 'n' || nextval('plain'))",
        "CREATE SEQUENCE lonely",
    )
    assert {each.name.name: each.identity for each in schema.tables} == {
        "always": Identity("id", 1),
        "by_plain": Identity("id", 2),
        "fresh": Identity("id", 7),
        "put": Identity("id", 40),
        "two": Identity("id", 1),
        "used": Identity("id", 3),
        "words": None,
    }
    defaults = {
        f"{each.name}.{column.name}": column.default
        for each in schema.tables
        for column in each.columns
        if column.default is not None
    }
    assert defaults == {"words.id": "('n'::text || nextval('public.plain'::regclass))"}
    assert left(schema) == {
        ("GENERATED ALWAYS", "id", "always"),
        ("identity", "a", "two"),
        ("sequence", "lonely", ""),
        ("sequence", "plain", "by_plain"),
    }
    # In a target, a default that takes the next value is an application's own.
    with closing(opened(database)) as session:
        there = session.inspect_target()
    assert table(there, "used").identity is None
    assert table(there, "used").column("id").default == "nextval('public.used_id_seq'::regclass)"
    assert table(there, "fresh").identity == Identity("id", 0)


def test_what_sequences_lose(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE a (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT 5 CYCLE))",
        "INSERT INTO a DEFAULT VALUES",
        "CREATE TABLE b (id int GENERATED BY DEFAULT AS IDENTITY (MAXVALUE 99))",
        "CREATE TABLE down (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT -1))",
        "CREATE SEQUENCE shared",
        "CREATE TABLE c (id int DEFAULT nextval('shared'))",
        "CREATE TABLE d (id int DEFAULT nextval('shared'))",
    )
    assert table(schema, "a").identity == Identity("id", 6)
    assert table(schema, "down").identity == Identity("id", -1)
    assert left(schema) == {
        ("INCREMENT", "a_id_seq", "a"),
        ("CYCLE", "a_id_seq", "a"),
        ("MAXVALUE", "b_id_seq", "b"),
        ("INCREMENT", "down_id_seq", "down"),
        ("sequence", "shared", "c"),
    }


def test_a_role_that_may_read_tables_alone(server: Server) -> None:
    with for_an_ordinary_role(server) as owned:
        Server(server.version, server.host, server.port, server.password, owned.name).run(
            "CREATE TABLE t (id serial PRIMARY KEY)",
            "INSERT INTO t SELECT FROM generate_series(1, 5)",
            "CREATE TABLE p (id serial) PARTITION BY LIST (id)",
            "CREATE TABLE p1 PARTITION OF p DEFAULT",
            "INSERT INTO p VALUES (3)",
            "CREATE TABLE shut (id serial)",
            "INSERT INTO shut SELECT FROM generate_series(1, 5)",
            "GRANT SELECT ON t, p TO teller",
            "CREATE SCHEMA far",
            "CREATE TABLE far.t (id serial)",
            "GRANT SELECT ON far.t TO teller",
        )
        with closing(opened(owned)) as session:
            schema = session.inspect()
        assert {str(each.name): each.identity for each in schema.tables} == {
            "far.t": Identity("id", 1),
            "p": Identity("id", 4),
            "shut": Identity("id", 1),
            "t": Identity("id", 6),
        }
        assert ("sequence", "t_id_seq", "t") in left(schema)


# ---- views --------------------------------------------------------------------------------------


def test_views(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE SCHEMA more",
        "CREATE TYPE mood AS ENUM ('sad')",
        "CREATE TABLE more.t (a int, m mood)",
        "CREATE VIEW v (x, y) AS SELECT a, m FROM more.t WHERE a > 1",
        "CREATE VIEW w AS SELECT x FROM v WHERE x < 9 WITH CHECK OPTION",
    )
    v, w = schema.views
    assert (v.name, v.columns, v.types) == (public("v"), ("x", "y"), ("integer", "public.mood"))
    # Which names carry their table's is a matter of the version.
    plain = [re.sub(r"\b[tv]\.\b(?!v\b)", "", " ".join(each.select.split())) for each in (v, w)]
    assert plain == [
        "SELECT a AS x, m AS y FROM more.t WHERE (a > 1)",
        "SELECT x FROM public.v WHERE (x < 9)",
    ]
    assert left(schema) == {("CHECK OPTION", "w", "w")}
