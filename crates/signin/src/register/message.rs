//! What a REGISTER asks for, and what its answers say. `[MS-SIPREGE]` §2.2, §3.1.2.5.1; RFC 3261 §10.

use super::endpoint::InstanceId;
use crate::reply::{Diagnostics, Reply};
use sip::{Message, Name, NameAddr};
use std::net::SocketAddr;

/// A REGISTER that can be acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterRequest {
    /// Contact URI as the client wrote it.
    pub contact: String,
    /// Seconds asked for; 0 un-registers; `None` leaves it to the server.
    pub expires: Option<u32>,
    /// Wants batched subscriptions, enhanced presence, GRUUs: `Supported`.
    pub gruu: bool,
    /// Offers hop-by-hop keep-alives.
    pub keep_alive: bool,
    /// Wants the implicit registration-state subscription, so deregistration is told to it.
    pub registration_event: bool,
    /// Identifies the registration dialog, for a deregistration NOTIFY.
    pub dialog: RegistrationDialog,
}

/// The dialog a REGISTER makes implicitly. `[MS-SIPREGE]` §2.2.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationDialog {
    /// Call-ID of the REGISTER.
    pub call_id: String,
    /// The client's From, tag and epid included: To of what we send.
    pub from: String,
    /// The server's To tag.
    pub to_tag: String,
}

impl RegisterRequest {
    /// Reads a REGISTER whose sender is proven. What it lacks is refused as the specification says.
    pub fn read(message: &Message<'_>, to_tag: &str) -> Result<RegisterRequest, Reply> {
        let bad = |why: &str| {
            Reply::new(400, "Bad Request").because(Diagnostics::public(17001, format!("Invalid request: {why}")))
        };
        let event = message.header(Name::Event);
        if event.is_some_and(|event| !event.eq_ignore_ascii_case("registration")) {
            let why = Diagnostics::internal(4055, "The Event header of a REGISTER is not \"registration\"");
            return Err(Reply::new(489, "Bad Event").because(why));
        }
        let gruu = message.lists(Name::Supported, "gruu-10");
        if message.lists(Name::Supported, "msrtc-event-categories") && !gruu {
            let why = Diagnostics::internal(2057, "msrtc-event-categories needs gruu-10");
            return Err(Reply::new(421, "Extension Required").with("Require", "gruu-10").because(why));
        }
        let expires = match message.header(Name::Expires) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| bad("Expires"))?),
        };
        let contact = contact_of(message).map_err(bad)?;
        Ok(RegisterRequest {
            contact,
            expires,
            gruu,
            keep_alive: message
                .named("ms-keep-alive")
                .is_some_and(|offer| offer.to_ascii_lowercase().replace(' ', "").contains("hop-hop=yes")),
            registration_event: event.is_some(),
            dialog: RegistrationDialog {
                call_id: message.header(Name::CallId).ok_or_else(|| bad("Call-ID"))?.to_owned(),
                from: message.header(Name::From).ok_or_else(|| bad("From"))?.to_owned(),
                to_tag: to_tag.to_owned(),
            },
        })
    }
}

/// The URI of the one Contact. `proxy` may only say `replace`, and only on the first hop. `[MS-SIPRE]` §3.5.
fn contact_of(message: &Message<'_>) -> Result<String, &'static str> {
    let mut contacts = message.all(Name::Contact).flat_map(sip::header::split_list);
    let (Some(value), None) = (contacts.next(), contacts.next()) else {
        return Err("a REGISTER has exactly one Contact");
    };
    let contact = NameAddr::parse(value).map_err(|_| "Contact")?;
    if contact.params.get("proxy").is_some_and(|proxy| !proxy.eq_ignore_ascii_case("replace")) {
        return Err("the proxy parameter of Contact says something else than \"replace\"");
    }
    if message.all(Name::Via).flat_map(sip::header::split_list).count() > 1 {
        return Err("proxy=replace is for the first hop only");
    }
    let uri = contact.uri().map_err(|_| "Contact")?;
    if uri.params.get("transport").is_some_and(|t| !t.eq_ignore_ascii_case("tls")) {
        return Err("the transport of Contact is not that of the connection");
    }
    Ok(contact.uri.to_owned())
}

/// A Contact as the registrar keeps it: host and port are what the connection really comes from, and
/// `ms-received-cid` names the connection. `[MS-SIPRE]` §3.5 (`proxy=replace`).
pub fn received_contact(contact: &str, far_end: SocketAddr, cid: &str) -> String {
    let Ok(uri) = sip::Uri::parse(contact) else { return contact.to_owned() };
    let mut replaced = format!("{}:", uri.scheme);
    if let Some(user) = uri.user {
        replaced.push_str(user);
        replaced.push('@');
    }
    let literal = uri.host.starts_with('[') || uri.host.parse::<std::net::Ipv4Addr>().is_ok();
    let has_maddr = uri.params.get("maddr").is_some();
    let far_host = match far_end {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    if literal && !has_maddr {
        replaced.push_str(&format!("{far_host}:{}", far_end.port()));
    } else {
        replaced.push_str(uri.host);
        if let Some(port) = uri.port {
            replaced.push_str(&format!(":{port}"));
        }
    }
    for (name, value) in uri.params.iter() {
        match (name, value) {
            ("ms-received-cid", _) => {}
            ("maddr", _) => replaced.push_str(&format!(";maddr={far_host}")),
            (name, Some(value)) => replaced.push_str(&format!(";{name}={value}")),
            (name, None) => replaced.push_str(&format!(";{name}")),
        }
    }
    if !literal && !has_maddr {
        replaced.push_str(&format!(";maddr={far_host}"));
    }
    replaced.push_str(&format!(";ms-received-cid={cid}"));
    replaced
}

/// What a REGISTER did. `[MS-SIPREGE]` §2.2.1.4, `register-action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterAction {
    /// The endpoint is new.
    Added,
    /// Its binding was alive.
    Refreshed,
    /// It was known, but its binding had expired.
    Fixed,
}

impl RegisterAction {
    /// As in `presence-state`.
    pub fn as_str(self) -> &'static str {
        match self {
            RegisterAction::Added => "added",
            RegisterAction::Refreshed => "refreshed",
            RegisterAction::Fixed => "fixed",
        }
    }
}

/// Why a server ends a registration. `[MS-SIPREGE]` §2.2.1.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deregistration {
    /// Quota or policy; signed in elsewhere.
    Unregistered,
    /// The user was disabled.
    Rejected,
    /// The user is being moved; signing in again leads to the right place.
    Deactivated,
}

impl Deregistration {
    /// Body of the NOTIFY.
    pub fn body(self) -> &'static str {
        match self {
            Deregistration::Unregistered => "deregistered;event=unregistered",
            Deregistration::Rejected => "deregistered;event=rejected",
            Deregistration::Deactivated => "deregistered;event=deactivated",
        }
    }

    /// `ms-diagnostics-public` that goes with it.
    pub fn diagnostics(self) -> Diagnostics {
        match self {
            Deregistration::Unregistered => Diagnostics::public(4140, "The endpoint was unregistered by policy"),
            Deregistration::Rejected => Diagnostics::public(4141, "User disabled"),
            Deregistration::Deactivated => Diagnostics::public(4142, "The user is being moved; sign in again"),
        }
    }
}

/// One line of a 200's Contact list that concerns us, read by a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundContact {
    /// Our GRUU, when the server gives one.
    pub gruu: Option<String>,
    /// Seconds the binding lives.
    pub expires: Option<u32>,
}

/// The binding of this device in the Contacts of a 200.
pub fn own_binding(response: &Message<'_>, instance: InstanceId) -> Option<BoundContact> {
    response.all(Name::Contact).flat_map(sip::header::split_list).find_map(|value| {
        let contact = NameAddr::parse(value).ok()?;
        let id = InstanceId::from_parameter(contact.params.get("+sip.instance")?).ok()?;
        (id == instance).then(|| BoundContact {
            gruu: contact.params.get("gruu").filter(|g| !g.is_empty()).map(str::to_owned),
            expires: contact.params.get("expires").and_then(|e| e.parse().ok()),
        })
    })
}

/// A server to go to, from a 301: `[MS-SIPREGE]` §3.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectTarget {
    /// FQDN.
    pub host: String,
    /// TCP port; 5061 when not given.
    pub port: u16,
    /// Preference in thousandths, 0 to 1000.
    pub q: u16,
}

/// The Contacts of a 301, best first; equal ones in the order received. Targets without TLS are left out.
pub fn redirect_targets(response: &Message<'_>) -> Vec<RedirectTarget> {
    let mut targets: Vec<RedirectTarget> = response
        .all(Name::Contact)
        .flat_map(sip::header::split_list)
        .filter_map(|value| {
            let contact = NameAddr::parse(value).ok()?;
            let uri = contact.uri().ok()?;
            let tls = uri.params.get("transport").is_none_or(|t| t.eq_ignore_ascii_case("tls"));
            tls.then(|| RedirectTarget {
                host: uri.host.to_ascii_lowercase(),
                port: uri.port.unwrap_or(5061),
                q: contact.params.get("q").map_or(1000, thousandths),
            })
        })
        .collect();
    targets.sort_by_key(|target| std::cmp::Reverse(target.q));
    targets
}

/// `0.7` as 700. Anything unreadable counts as 0.
fn thousandths(q: &str) -> u16 {
    let (whole, fraction) = q.trim().split_once('.').unwrap_or((q.trim(), ""));
    if whole == "1" {
        return 1000;
    }
    if whole != "0" && !whole.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &str) -> Result<RegisterRequest, Reply> {
        let text = format!(
            "REGISTER sip:contoso.test SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.10:50230\r\nFrom: <sip:alice@contoso.test>;tag=1;epid=2ebb6f264f\r\nTo: <sip:alice@contoso.test>\r\nCall-ID: a\r\nCSeq: 1 REGISTER\r\n{extra}\r\n"
        );
        RegisterRequest::read(&Message::parse(text.as_bytes()).expect("parses"), "t")
    }

    const CONTACT: &str =
        "Contact: <sip:192.0.2.10:50230;transport=tls;ms-opaque=f1>;methods=\"INVITE, BYE\";proxy=replace\r\n";

    #[test]
    fn reads_what_a_client_sends() {
        let request = read(&format!(
            "{CONTACT}Supported: gruu-10, adhoclist\r\nEvent: registration\r\nms-keep-alive: UAC;hop-hop=yes\r\n"
        ))
        .expect("reads");
        assert_eq!(request.contact, "sip:192.0.2.10:50230;transport=tls;ms-opaque=f1");
        assert_eq!(
            (request.expires, request.gruu, request.keep_alive, request.registration_event),
            (None, true, true, true)
        );
        assert_eq!(read(&format!("{CONTACT}Expires: 0\r\n")).expect("reads").expires, Some(0));
    }

    #[test]
    fn refuses_as_the_specification_says() {
        let status = |extra: &str| read(extra).expect_err("refused").code;
        assert_eq!(status(&format!("{CONTACT}Event: presence\r\n")), 489);
        assert_eq!(status(&format!("{CONTACT}Supported: msrtc-event-categories\r\n")), 421);
        assert_eq!(status(""), 400);
        assert_eq!(status("Contact: <sip:a@b;transport=tcp>\r\n"), 400);
        assert_eq!(status("Contact: <sip:a@b>;proxy=other\r\n"), 400);
        assert_eq!(status(&format!("{CONTACT}Via: SIP/2.0/TLS x\r\n")), 400);
        assert_eq!(status(&format!("{CONTACT}Expires: soon\r\n")), 400);
    }

    #[test]
    fn contact_is_replaced_by_what_was_seen() {
        let far: SocketAddr = "127.0.0.1:4000".parse().expect("address");
        let cases = [
            (
                "sip:192.0.2.10:50230;transport=tls;ms-opaque=f1",
                "sip:127.0.0.1:4000;transport=tls;ms-opaque=f1;ms-received-cid=2A",
            ),
            (
                "sip:alice@host.example;transport=tls",
                "sip:alice@host.example;transport=tls;maddr=127.0.0.1;ms-received-cid=2A",
            ),
            (
                "sip:alice:50230;maddr=192.0.2.1;transport=tls",
                "sip:alice:50230;maddr=127.0.0.1;transport=tls;ms-received-cid=2A",
            ),
        ];
        for (contact, expected) in cases {
            assert_eq!(received_contact(contact, far, "2A"), expected);
        }
    }

    #[test]
    fn redirects_are_ordered_by_q() {
        let text = "SIP/2.0 301 Redirect request to Home Server\r\nContact: <sip:pool2.contoso.com:5061;transport=TLS>;q=0.3\r\nContact: <sip:Pool1.contoso.com;transport=TLS>;q=0.7\r\nContact: <sip:x;transport=tcp>;q=0.9\r\nContact: <mailto:x>\r\n\r\n";
        let targets = redirect_targets(&Message::parse(text.as_bytes()).expect("parses"));
        let names: Vec<_> = targets.iter().map(|t| (t.host.as_str(), t.port, t.q)).collect();
        assert_eq!(names, [("pool1.contoso.com", 5061, 700), ("pool2.contoso.com", 5061, 300)]);
        assert_eq!([thousandths("1"), thousandths("0"), thousandths("0.12345"), thousandths("x")], [1000, 0, 123, 0]);
    }
}
