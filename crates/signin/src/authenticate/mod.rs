//! Room 3: who is who?

pub mod verifier;
