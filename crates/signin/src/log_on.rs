//! Who logs on. Rooms 1 and 3 both need it: web services ask for it over HTTP, registrars over SIP.

use crate::name::AccountName;
use crate::secret::Password;
use crate::tickets::Tickets;
use std::sync::Arc;

/// Who logs on, and the proof of it.
#[derive(Debug, Clone)]
pub struct LogOn {
    /// The account; often, but not always, spelt like the sign-in address.
    pub account: AccountName,
    /// Its password; not needed where there are tickets.
    pub password: Option<Password>,
    /// Kerberos tickets, and how to have more; `None`: no Kerberos.
    pub tickets: Option<Arc<Tickets>>,
    /// Name of this machine as NTLM tells it; administrators read it in their logs.
    pub workstation: String,
}
