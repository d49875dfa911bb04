//! The only crate that opens a socket, reads a clock or draws randomness: TCP, TLS, DNS, HTTP.
