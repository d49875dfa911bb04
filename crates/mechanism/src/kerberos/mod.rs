//! Kerberos 5, both halves.
