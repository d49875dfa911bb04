//! Secrets: wiped when dropped, and they print nothing.

use std::fmt;
use zeroize::Zeroizing;

/// A password. There is no way to print it; [`Password::reveal`] is where it is used.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes the text over.
    pub fn new(text: String) -> Password {
        Password(Zeroizing::new(text))
    }

    /// The text itself, for the mechanism that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
