"""Make a sample database: a small web shop of about a million rows, in SQLite as found in the wild.

Usage: make_sample.py FILE [--rows N] [--seed N]

The same seed and number of rows give the same values, byte for byte; the digest printed at the
end says so. The schema holds what makes databases hard to carry: lengths and scales that SQLite
does not enforce, a table WITHOUT ROWID, one without a key, names that need quotes, JSON in TEXT,
blobs, NULLs, partial and expression indexes, views, a trigger that has no counterpart elsewhere,
and an AUTOINCREMENT ahead of its rows.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

SEED = 20240229
ROWS = 1_000_000

SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email VARCHAR(120) NOT NULL UNIQUE,
    name VARCHAR(80) NOT NULL,
    country CHAR(2) NOT NULL DEFAULT 'DE',
    born DATE,
    newsletter BOOLEAN NOT NULL DEFAULT 0,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    invited_by INTEGER REFERENCES customers (id) ON DELETE SET NULL,
    CHECK (length(country) = 2)
);
CREATE TABLE categories (
    id INTEGER PRIMARY KEY,
    parent_id INTEGER REFERENCES categories (id),
    title TEXT NOT NULL COLLATE NOCASE UNIQUE
);
CREATE TABLE products (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sku VARCHAR(16) NOT NULL UNIQUE,
    title TEXT NOT NULL,
    category_id INTEGER NOT NULL REFERENCES categories (id),
    price DECIMAL(10,2) NOT NULL CHECK (price >= 0),
    weight_kg REAL,
    attributes TEXT NOT NULL DEFAULT '{}',
    thumbnail BLOB,
    discontinued BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE TABLE stock (
    product_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    warehouse VARCHAR(8) NOT NULL,
    quantity INTEGER NOT NULL DEFAULT 0,
    counted_on DATE NOT NULL,
    PRIMARY KEY (product_id, warehouse)
) WITHOUT ROWID;
CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    status VARCHAR(10) NOT NULL DEFAULT 'new'
        CHECK (status IN ('new', 'paid', 'shipped', 'returned')),
    placed_at DATETIME NOT NULL,
    shipping DECIMAL(8,2) NOT NULL DEFAULT 4.90,
    note TEXT
);
CREATE TABLE order_lines (
    order_id INTEGER NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    line_no SMALLINT NOT NULL,
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    unit_price DECIMAL(10,2) NOT NULL,
    discount FLOAT,
    PRIMARY KEY (order_id, line_no)
);
CREATE TABLE payments (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    method VARCHAR(12) NOT NULL,
    amount NUMERIC(12,2) NOT NULL,
    paid_at TIMESTAMP NOT NULL,
    receipt BLOB
);
CREATE TABLE reviews (
    product_id INTEGER NOT NULL REFERENCES products (id),
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    stars TINYINT NOT NULL CHECK (stars BETWEEN 1 AND 5),
    body TEXT,
    written_on DATE NOT NULL,
    UNIQUE (product_id, customer_id)
);
CREATE TABLE events (
    at DATETIME NOT NULL,
    kind TEXT NOT NULL,
    customer_id BIGINT,
    payload JSON
);
CREATE TABLE "Gift Cards" (
    "Code" TEXT PRIMARY KEY,
    "order" INTEGER REFERENCES orders (id),
    "Value (EUR)" DECIMAL(6,2) NOT NULL,
    "valid until" DATE
);
"""

# After the rows: building an index once is faster than keeping it, and the trigger is not to fire.
AFTERWARDS = """
CREATE INDEX customers_country ON customers (country, created_at DESC);
CREATE INDEX products_category ON products (category_id);
CREATE INDEX products_title ON products (lower(title));
CREATE INDEX orders_customer ON orders (customer_id);
CREATE INDEX orders_open ON orders (placed_at) WHERE status = 'new';
CREATE INDEX order_lines_product ON order_lines (product_id);
CREATE UNIQUE INDEX payments_order ON payments (order_id, method);
CREATE INDEX "gift cards by order" ON "Gift Cards" ("order");
CREATE VIEW order_totals AS
    SELECT order_id, count(*) AS lines, sum(quantity * unit_price) AS total
    FROM order_lines GROUP BY order_id;
CREATE VIEW daily_events AS
    SELECT strftime('%Y-%m-%d', at) AS day, kind, count(*) AS events
    FROM events GROUP BY 1, 2;
CREATE TRIGGER order_placed AFTER INSERT ON orders BEGIN
    INSERT INTO events (at, kind, customer_id) VALUES (NEW.placed_at, 'order', NEW.customer_id);
END;
"""

# Rows of each table in a thousand rows of the whole.
SHARES = {
    "customers": 40,
    "products": 10,
    "stock": 30,
    "orders": 120,
    "order_lines": 360,
    "payments": 110,
    "reviews": 60,
    "events": 260,
    "Gift Cards": 10,
}

Row = tuple[Any, ...]

_EPOCH = datetime.datetime(2019, 1, 1)
_SECONDS = 5 * 365 * 86_400
_COUNTRIES = ("DE", "AT", "CH", "FR", "NL", "PL", "SE", "JP")
_FIRST = ("Ada", "Björn", "Chloé", "Dmitri", "Eşref", "Fatima", "Grace", "Håkon", "Ines", "結衣")
_LAST = ("Nováková", "O'Brien", "Müller", "Łukasik", "García", "Smith", "van Dijk", "Søgaard")
_THINGS = ("teapot", "lamp", "notebook", "rucksack", "kettle", "blanket", "clock", "globe")
_QUALITIES = ("blue", "folding", "cast-iron", "tiny", "“classic”", "oak", "waterproof", "naïve")
_CATEGORIES = ("Kitchen", "Office", "Outdoor", "Toys", "Books", "Garden", "Music", "Other")
_REMARKS = (
    "Leave it with the neighbour, please.",
    "Ring twice.\nThe bell is broken.",
    "100% great; would buy again",
    "Très bien 👍",
    "",
    'He said: "never again".',
)
_STATUSES = ("shipped", "shipped", "shipped", "paid", "new", "returned")
_METHODS = ("card", "transfer", "invoice")
_KINDS = ("view", "search", "basket", "login", "logout")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS, help="about how many rows (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the values (%(default)s)")
    options = parser.parse_args(arguments)
    if options.rows < 1000:
        parser.error("--rows: 1000 is the least that fills every table")

    began = time.perf_counter()
    counts, digest = make(options.file, options.rows, options.seed)
    seconds = time.perf_counter() - began
    print(
        f"{options.file}: {sum(counts.values()):,} rows in {len(counts)} tables, "
        f"{options.file.stat().st_size / 1e6:.0f} MB, made in {seconds:.1f} s"
    )
    print("  " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    print(f"  seed {options.seed}, digest of the values {digest[:16]}")
    return 0


def make(file: Path, rows: int, seed: int) -> tuple[dict[str, int], str]:
    """Write the database and return the rows of each table and the SHA-256 of their values.

    It is written beside the file and renamed, so that a file of that name is always whole.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.unlink(missing_ok=True)
    connection = sqlite3.connect(unfinished)
    connection.execute("PRAGMA journal_mode = off")
    connection.execute("PRAGMA synchronous = off")
    connection.executescript(SCHEMA)
    hasher = hashlib.sha256()
    counts = {
        table: _fill(connection, table, values, hasher.update)
        for table, values in _tables(rows, seed)
    }
    connection.executescript(AFTERWARDS)
    # AUTOINCREMENT ahead of max(id): rows at the end were deleted, their ids are never given again.
    connection.execute("UPDATE sqlite_sequence SET seq = seq + 17 WHERE name = 'orders'")
    connection.commit()
    connection.close()
    unfinished.rename(file)
    return counts, hasher.hexdigest()


def _fill(
    connection: sqlite3.Connection,
    table: str,
    values: Iterable[Row],
    note: Callable[[bytes], None],
) -> int:
    rows = list(values)
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', rows)
    note(repr((table, rows)).encode())
    return len(rows)


def _tables(rows: int, seed: int) -> Iterator[tuple[str, Iterable[Row]]]:
    """Each table with its rows, in an order in which every foreign key finds its row."""
    count = {table: rows * share // 1000 for table, share in SHARES.items()}
    customers, products, orders = count["customers"], count["products"], count["orders"]

    def dice(table: str) -> random.Random:
        # By name, so that the number of rows of one table does not change the next one's values.
        return random.Random(f"{seed} {table}")

    yield "customers", _customers(dice("customers"), customers)
    yield "categories", _categories()
    yield "products", _products(dice("products"), products)
    yield "stock", _stock(dice("stock"), count["stock"])
    yield "orders", _orders(dice("orders"), orders, customers)
    yield "order_lines", _order_lines(dice("order_lines"), count["order_lines"], orders, products)
    yield "payments", _payments(dice("payments"), count["payments"])
    yield "reviews", _reviews(dice("reviews"), count["reviews"], products, customers)
    yield "events", _events(dice("events"), count["events"], customers)
    yield "Gift Cards", _gift_cards(dice("Gift Cards"), count["Gift Cards"], orders)


def _customers(dice: random.Random, count: int) -> Iterator[Row]:
    for number in range(1, count + 1):
        yield (
            number,
            f"customer.{number}@example.{dice.choice(('org', 'net', 'com'))}",
            f"{dice.choice(_FIRST)} {dice.choice(_LAST)}",
            dice.choice(_COUNTRIES),
            _date(dice, -25_000, -7_000) if dice.random() < 0.8 else None,
            dice.randrange(2),
            _moment(dice),
            dice.randrange(1, number) if number > 1 and dice.random() < 0.1 else None,
        )


def _categories() -> Iterator[Row]:
    for number, title in enumerate(_CATEGORIES, 1):
        yield number, None if number < 4 else number % 3 + 1, title


def _products(dice: random.Random, count: int) -> Iterator[Row]:
    for number in range(1, count + 1):
        attributes = {"colour": dice.choice(_QUALITIES), "sizes": dice.sample(range(10), 3)}
        yield (
            number,
            f"SKU-{number:08d}",
            f"{dice.choice(_QUALITIES)} {dice.choice(_THINGS)} {dice.randrange(100)}",
            dice.randrange(1, len(_CATEGORIES) + 1),
            _price(dice, 50_000),
            dice.uniform(0.01, 40) if dice.random() < 0.9 else None,
            json.dumps(attributes, ensure_ascii=False),
            dice.randbytes(dice.randrange(64, 512)) if dice.random() < 0.5 else None,
            int(dice.random() < 0.05),
        )


def _stock(dice: random.Random, count: int) -> Iterator[Row]:
    for number in range(count):
        product, place = divmod(number, 3)
        yield product + 1, ("north", "south", "öst")[place], dice.randrange(500), _date(dice, 0, 99)


def _orders(dice: random.Random, count: int, customers: int) -> Iterator[Row]:
    for number in range(1, count + 1):
        yield (
            number,
            dice.randrange(1, customers + 1),
            dice.choice(_STATUSES),
            _moment(dice),
            dice.choice((0, 4.9, 4.9, 12.5)),
            dice.choice(_REMARKS) if dice.random() < 0.2 else None,
        )


def _order_lines(dice: random.Random, count: int, orders: int, products: int) -> Iterator[Row]:
    for number in range(count):
        line, order = divmod(number, orders)
        yield (
            order + 1,
            line + 1,
            dice.randrange(1, products + 1),
            dice.randrange(1, 6),
            _price(dice, 50_000),
            dice.choice((0.05, 0.1, 1 / 3)) if dice.random() < 0.1 else None,
        )


def _payments(dice: random.Random, count: int) -> Iterator[Row]:
    for number in range(1, count + 1):
        yield (
            number,
            number,
            dice.choice(_METHODS),
            _price(dice, 200_000),
            _moment(dice),
            dice.randbytes(16) if dice.random() < 0.3 else None,
        )


def _reviews(dice: random.Random, count: int, products: int, customers: int) -> Iterator[Row]:
    for number in range(count):
        # Each pair comes once: a product meets a customer again only after all others.
        product, turn = number % products, number // products
        yield (
            product + 1,
            (product * 7 + turn) % customers + 1,
            dice.randrange(1, 6),
            dice.choice(_REMARKS) if dice.random() < 0.7 else None,
            _date(dice, 0, 1800),
        )


def _events(dice: random.Random, count: int, customers: int) -> Iterator[Row]:
    for _ in range(count):
        kind = dice.choice(_KINDS)
        yield (
            _moment(dice),
            kind,
            dice.randrange(1, customers + 1) if dice.random() < 0.6 else None,
            f'{{"page": {dice.randrange(9000)}, "ms": {dice.randrange(900)}}}'
            if kind == "view"
            else None,
        )


def _gift_cards(dice: random.Random, count: int, orders: int) -> Iterator[Row]:
    for number in range(count):
        yield (
            f"{number:05X}-{dice.randrange(16**6):06X}",
            dice.randrange(1, orders + 1) if dice.random() < 0.5 else None,
            dice.choice((10, 25, 50, 99.95)),
            _date(dice, 1000, 3000) if dice.random() < 0.9 else None,
        )


def _price(dice: random.Random, most: int) -> float:
    """Up to ``most`` cents; SQLite keeps a declared DECIMAL as a whole or binary number."""
    return dice.randrange(1, most) / 100


def _date(dice: random.Random, first: int, last: int) -> str:
    """A day between two counted from the start of 2019."""
    return str(_EPOCH.date() + datetime.timedelta(days=dice.randrange(first, last)))


def _moment(dice: random.Random) -> str:
    return str(_EPOCH + datetime.timedelta(seconds=dice.randrange(_SECONDS)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
