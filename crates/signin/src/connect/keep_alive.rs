//! Keeping a connection alive, as agreed in the REGISTER. `[MS-CONMGMT]` §2.2.1, §3.4, §3.5.
//!
//! The client offers in its REGISTER, the server answers in its 200:
//!
//! ```text
//! ms-keep-alive: UAC;hop-hop=yes
//! ms-keep-alive: UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300
//! ```
//!
//! With `hop-hop=yes` on both sides the client sends [`PING`] whenever it has sent nothing for `timeout` seconds. No
//! answer is needed.

use std::fmt;
use std::time::Duration;

/// Name of the header.
pub const HEADER: &str = "ms-keep-alive";

/// What a client sends between messages to keep the connection: CR LF CR LF.
pub const PING: &[u8] = b"\r\n\r\n";

/// The timeout of Microsoft's servers, and what holds when an answer names none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// The shortest pause between two pings that a server can make us keep; our own limit.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(10);

/// How much longer than the timeout a server waits before it closes a silent connection, so that a ping sent on the
/// second is not too late; our own choice.
pub const GRACE: Duration = Duration::from_secs(60);

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client.
    Uac,
    /// The server.
    Uas,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Role::Uac => "UAC",
            Role::Uas => "UAS",
        }
    }
}

/// One `ms-keep-alive` value. `None` for what it does not mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Who speaks.
    pub role: Role,
    /// Keep-alive of the operating system's TCP.
    pub tcp: Option<bool>,
    /// Pings between neighbours.
    pub hop_hop: Option<bool>,
    /// Keep-alive by SIP requests between the ends.
    pub end_end: Option<bool>,
    /// Longest silence.
    pub timeout: Option<Duration>,
}

impl KeepAlive {
    /// What a client offers.
    pub fn offer() -> KeepAlive {
        KeepAlive { role: Role::Uac, tcp: None, hop_hop: Some(true), end_end: None, timeout: None }
    }

    /// What a server answers to an offer; `None` when the client did not offer what we can do.
    pub fn answer(offer: &KeepAlive, timeout: Duration) -> Option<KeepAlive> {
        (offer.role == Role::Uac && offer.hop_hop == Some(true)).then_some(KeepAlive {
            role: Role::Uas,
            tcp: Some(false),
            hop_hop: Some(true),
            end_end: Some(false),
            timeout: Some(timeout),
        })
    }

    /// Reads a value, whatever the spacing and case. `None` when it does not begin with a role; a parameter that is not
    /// known or makes no sense is passed over.
    pub fn parse(value: &str) -> Option<KeepAlive> {
        let mut parts = value.split(';').map(str::trim);
        let role = parts.next()?;
        let role = [Role::Uac, Role::Uas].into_iter().find(|known| known.as_str().eq_ignore_ascii_case(role))?;
        let mut read = KeepAlive { role, tcp: None, hop_hop: None, end_end: None, timeout: None };
        for (name, text) in parts.filter_map(|part| part.split_once('=')) {
            let text = text.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "tcp" => read.tcp = yes_or_no(text),
                "hop-hop" => read.hop_hop = yes_or_no(text),
                "end-end" => read.end_end = yes_or_no(text),
                "timeout" => read.timeout = text.parse().ok().map(Duration::from_secs),
                _ => {}
            }
        }
        Some(read)
    }

    /// For the client that reads a server's answer: how long it may be silent before it has to ping. `None` when no
    /// pings were agreed.
    pub fn interval(&self) -> Option<Duration> {
        let agreed = self.role == Role::Uas && self.hop_hop == Some(true);
        agreed.then(|| self.timeout.unwrap_or(DEFAULT_TIMEOUT).max(SHORTEST_INTERVAL))
    }
}

impl fmt::Display for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Clients write no space after the semicolon, servers do; both as seen on the wire.
        let separator = if self.role == Role::Uac { ";" } else { "; " };
        f.write_str(self.role.as_str())?;
        for (name, value) in [("tcp", self.tcp), ("hop-hop", self.hop_hop), ("end-end", self.end_end)] {
            if let Some(value) = value {
                write!(f, "{separator}{name}={}", if value { "yes" } else { "no" })?;
            }
        }
        match self.timeout {
            Some(timeout) => write!(f, "{separator}timeout={}", timeout.as_secs()),
            None => Ok(()),
        }
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    [("yes", true), ("no", false)].into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &str = "UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300";

    #[test]
    fn both_forms_are_written_as_on_the_wire() {
        assert_eq!(KeepAlive::offer().to_string(), "UAC;hop-hop=yes");
        let answer = KeepAlive::answer(&KeepAlive::offer(), DEFAULT_TIMEOUT).unwrap();
        assert_eq!(answer.to_string(), ANSWER);
    }

    #[test]
    fn spacing_and_case_do_not_matter_and_unknown_parameters_are_passed_over() {
        let odd = "uas ;TCP=No;hop-hop = YES; end-end=no;colour=blue;flag; timeout = 300";
        assert_eq!(KeepAlive::parse(odd), KeepAlive::parse(ANSWER));
        assert_eq!(KeepAlive::parse(ANSWER).unwrap().interval(), Some(DEFAULT_TIMEOUT));
    }

    #[test]
    fn no_pings_unless_the_server_agrees() {
        for silent in ["UAS; hop-hop=no; timeout=300", "UAS; timeout=300", "UAC;hop-hop=yes", "UAS; hop-hop=maybe"] {
            assert_eq!(KeepAlive::parse(silent).unwrap().interval(), None, "{silent}");
        }
        for nonsense in ["", "hop-hop=yes", "UAX;hop-hop=yes"] {
            assert_eq!(KeepAlive::parse(nonsense), None, "{nonsense}");
        }
        assert_eq!(KeepAlive::answer(&KeepAlive::parse("UAC;end-end=yes").unwrap(), DEFAULT_TIMEOUT), None);
    }

    #[test]
    fn a_server_cannot_make_us_ping_without_pause() {
        assert_eq!(KeepAlive::parse("UAS;hop-hop=yes;timeout=0").unwrap().interval(), Some(SHORTEST_INTERVAL));
        assert_eq!(KeepAlive::parse("UAS;hop-hop=yes;timeout=x").unwrap().interval(), Some(DEFAULT_TIMEOUT));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_what_is_read_prints_and_reads_the_same(text in "\\PC{0,60}") {
            if let Some(read) = KeepAlive::parse(&text) {
                prop_assert_eq!(KeepAlive::parse(&read.to_string()), Some(read));
            }
        }
    }
}
