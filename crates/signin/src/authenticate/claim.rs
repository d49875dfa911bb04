//! What a request says of its sender, before anything is proven. `[MS-SIPRE]` §3.3.5.2, `[MS-SIPREGE]` §3.1.2.5.1.

use super::signing;
use crate::name::Aor;
use crate::register::endpoint::{EndpointError, Epid, InstanceId};
use crate::reply::Diagnostics;
use sip::{Message, Name, NameAddr, Via};

/// Who sent a request, as far as its own headers say: nothing here is proven yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Address of record in From.
    pub aor: Aor,
    /// Endpoint id in From.
    pub epid: Option<Epid>,
    /// The device: from `+sip.instance` in Contact, else from the epid.
    pub instance: InstanceId,
}

impl Claim {
    /// Reads it; contradictions are refused. `[MS-SIPRE]` §3.3.5.2, `[MS-SIPREGE]` §3.1.2.5.1.
    pub(super) fn of(message: &Message<'_>) -> Result<Claim, Diagnostics> {
        let bad = |why: &str| Diagnostics::public(17001, format!("Invalid request: {why}"));
        // A signature covers the first of several; another reader, to whom the message is passed on, may believe the last.
        // RFC 3261 §8.1.1 wants each, and nobody could answer without.
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
            let mut values = message.all(name);
            match (values.next(), values.next()) {
                (Some(_), None) => {}
                (None, _) => return Err(bad(&format!("no {}", name.as_str()))),
                (Some(_), Some(_)) => return Err(bad(&format!("more than one {}", name.as_str()))),
            }
        }
        message.header(Name::To).and_then(|to| NameAddr::parse(to).ok()?.uri().ok()).ok_or_else(|| bad("To"))?;
        // The first is the client's, and names who is answered; those behind it are for whoever put them there.
        let via = message.all(Name::Via).flat_map(sip::header::split_list).next().ok_or_else(|| bad("no Via"))?;
        Via::parse(via).map_err(|_| bad("Via"))?;
        signing::cseq(message).map_err(|error| bad(&error.to_string()))?;
        let from = message.header(Name::From).and_then(|v| NameAddr::parse(v).ok()).ok_or_else(|| bad("From"))?;
        let aor = Aor::from_uri(from.uri).map_err(|_| bad("From"))?;
        let epid = match from.params.get("epid") {
            None => None,
            Some(text) => Some(text.parse::<Epid>().map_err(|error| match error {
                EndpointError::EpidTooLong => Diagnostics::public(4012, "Epid too long"),
                _ => bad("epid"),
            })?),
        };
        let instance = message
            .all(Name::Contact)
            .flat_map(sip::header::split_list)
            .filter_map(|value| NameAddr::parse(value).ok())
            .find_map(|contact| contact.params.get("+sip.instance"))
            .map(InstanceId::from_parameter)
            .transpose()
            .map_err(|_| bad("+sip.instance"))?;
        let instance = match (&epid, instance) {
            (Some(epid), Some(instance)) if InstanceId::of_epid(epid) != instance => {
                return Err(bad("epid and +sip.instance name different endpoints"));
            }
            (_, Some(instance)) => instance,
            (Some(epid), None) => InstanceId::of_epid(epid),
            (None, None) => return Err(Diagnostics::public(4010, "Missing endpoint identifier")),
        };
        Ok(Claim { aor, epid, instance })
    }

    /// Whether it names this endpoint: the same device of the same user.
    pub(super) fn is_of(&self, aor: &Aor, instance: InstanceId) -> bool {
        self.aor == *aor && self.instance == instance
    }

    /// What the endpoint is called: its epid, or its instance id when it has none.
    pub fn endpoint(&self) -> String {
        self.epid.as_ref().map_or_else(|| self.instance.to_string(), |epid| epid.as_str().to_owned())
    }
}
