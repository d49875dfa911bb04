//! Who logs on. Rooms 1 and 3 both need it: web services ask for it over HTTP, registrars over SIP.

use crate::name::AccountName;
use crate::secret::Password;

/// Who logs on, and the proof of it.
#[derive(Debug, Clone)]
pub struct LogOn {
    /// The account; often, but not always, spelt like the sign-in address.
    pub account: AccountName,
    /// Its password.
    pub password: Password,
    /// Name of this machine as NTLM tells it; administrators read it in their logs.
    pub workstation: String,
}
