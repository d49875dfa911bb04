//! The table of settings against itself, and values against the table.
