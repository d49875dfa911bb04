//! What a server may say itself of why it refused a ticket, a certificate or a registration: ids of the failure catalogue,
//! in the parameter `cause` of `ms-diagnostics` and its twin of the web services. Only servers like ours say it.
//!
//! Anything else in that place is text of a peer, and no id: an id is what programs act on, and an answer that refuses
//! credentials is not signed.

/// One of the causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// Id of the failure catalogue, or of ours beyond it.
    pub id: &'static str,
    /// What to do about it.
    pub fix: &'static str,
}

const NEW_CERTIFICATE: &str = "sign in with the password: that obtains a new certificate";
const LOG: &str = "look at the server's log, which has the whole cause";

/// Every cause there is; what [`super::verifier::Refusal`] tells is among them.
const CAUSES: [Cause; 23] = [
    Cause { id: "auth-clock-skew", fix: "set the clock of this machine (or of the server)" },
    Cause { id: "auth-final-401", fix: LOG },
    Cause { id: "auth-target-mismatch", fix: LOG },
    Cause { id: "dsk-ca-list-excludes", fix: LOG },
    Cause { id: "dsk-cert-expired", fix: NEW_CERTIFICATE },
    Cause { id: "dsk-cert-foreign", fix: NEW_CERTIFICATE },
    Cause { id: "dsk-cert-self-signed", fix: NEW_CERTIFICATE },
    Cause { id: "dsk-cert-revoked", fix: "ask the administrator why it was revoked; then sign in with the password" },
    Cause { id: "dsk-cert-unknown", fix: NEW_CERTIFICATE },
    Cause { id: "dsk-cert-unusable", fix: NEW_CERTIFICATE },
    Cause { id: "dsk-inner-server-cert", fix: LOG },
    Cause { id: "dsk-inner-version", fix: LOG },
    Cause { id: "krb-altered", fix: LOG },
    Cause { id: "krb-ap-modified", fix: LOG },
    Cause { id: "krb-etype", fix: LOG },
    Cause { id: "krb-no-spn", fix: LOG },
    Cause { id: "krb-replayed", fix: "try again; if it happens again, see who else uses this ticket" },
    Cause { id: "krb-ticket-expired", fix: LOG },
    Cause { id: "krb-token-refused", fix: LOG },
    Cause { id: "krb-token-too-large", fix: LOG },
    Cause { id: "krb-wrong-realm", fix: LOG },
    Cause {
        id: "ntlm-dc-unreachable",
        fix: "nothing is wrong here: the server that answered reaches no domain controller; its log says which it asked and why they did not answer",
    },
    Cause { id: "user-duplicate-sip", fix: "take the address away from one of the two accounts that have it" },
];

impl Cause {
    /// The cause that a server named, if it is one.
    pub fn named(text: &str) -> Option<Cause> {
        CAUSES.into_iter().find(|cause| cause.id == text)
    }
}
