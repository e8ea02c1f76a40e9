"""Carry a whole database between SQLite and PostgreSQL and prove that every value arrived."""

__version__ = "0.1.0"
