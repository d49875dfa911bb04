//! User certificates.
