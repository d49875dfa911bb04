//! Security mechanisms: tokens in, tokens and signatures out. Knows no SIP and no HTTP. Pure.
