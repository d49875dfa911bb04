//! TLS-DSK, both halves.
