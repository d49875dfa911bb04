//! The embedded store: users, contacts and published categories in one SQLite file.
