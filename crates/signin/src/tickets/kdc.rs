//! The KDCs of a realm: which there are, and one question to the first that answers. RFC 4120 §7.2.
//!
//! The KDC is the one that was set, else what `_kerberos._tcp.<realm>` names. It is asked over TCP only: every KDC of the
//! last twenty years answers there, and tickets of Active Directory do not fit into datagrams anyway.

use super::{TicketFailure, Tickets};
use crate::io::{ConnId, DnsAnswer, Io, RecordKind, StreamError, Target};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// TCP port of a KDC. RFC 4120 §7.2.3.
const KDC_PORT: u16 = 88;

/// Longest answer of a KDC that is read, in bytes. Tickets of users with very many groups have some 48 KiB.
const MAX_ANSWER: usize = 128 * 1024;

/// First byte of an answer: AS-REP, TGS-REP, KRB-ERROR, each by the number of its application tag. RFC 4120 §5.10.
const ANSWERS: [u8; 3] = [0x60 | 11, 0x60 | 13, 0x60 | 30];

/// A KDC that was set: host name or address, and TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kdc {
    /// Host name or address.
    pub host: String,
    /// Port; 88 when none is given.
    pub port: u16,
}

impl std::str::FromStr for Kdc {
    type Err = String;

    /// `host`, `host:port` or `[address]:port`.
    fn from_str(text: &str) -> Result<Kdc, String> {
        let wrong =
            || format!("{text}: write a host name or an address, with or without a port, like dc1.contoso.com:88");
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (text, KDC_PORT),
        };
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        if host.is_empty() { Err(wrong()) } else { Ok(Kdc { host, port }) }
    }
}

impl Tickets {
    /// One request to the first KDC that answers.
    pub(super) async fn exchange(&self, io: &dyn Io, realm: &str, request: &[u8]) -> Result<Vec<u8>, TicketFailure> {
        let mut tried = Vec::new();
        let deadline = io.now().since_start + self.source.limits.kdcs;
        let known = self.state().kdc;
        if let Some(address) = known {
            match self.ask(io, address, request, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(why) => tried.push(format!("{address} {why}")),
            }
        }
        for kdc in self.kdcs(io, realm).await? {
            for address in self.addresses(io, &kdc.host).await {
                let address = SocketAddr::new(address, kdc.port);
                if io.now().since_start >= deadline {
                    tried.push("no time was left for others".to_owned());
                    return Err(TicketFailure::Unreachable { realm: realm.to_owned(), tried: tried.join("; ") });
                }
                match self.ask(io, address, request, deadline).await {
                    Ok(answer) => {
                        self.state().kdc = Some(address);
                        return Ok(answer);
                    }
                    Err(why) => tried.push(format!("{address} {why}")),
                }
            }
            if tried.is_empty() {
                tried.push(format!("{} has no address here", kdc.host));
            }
        }
        Err(TicketFailure::Unreachable { realm: realm.to_owned(), tried: tried.join("; ") })
    }

    /// Those that were set, else those that the DNS names, in order.
    async fn kdcs(&self, io: &dyn Io, realm: &str) -> Result<Vec<Kdc>, TicketFailure> {
        if !self.source.kdcs.is_empty() {
            return Ok(self.source.kdcs.clone());
        }
        let name = format!("_kerberos._tcp.{}", realm.to_ascii_lowercase());
        match io.resolve(&name, RecordKind::Srv, self.source.limits.dns).await {
            DnsAnswer::Services(mut records) if !records.is_empty() => {
                records.sort_by_key(|srv| (srv.priority, std::cmp::Reverse(srv.weight)));
                Ok(records.into_iter().map(|srv| Kdc { host: srv.target, port: srv.port }).collect())
            }
            answer => Err(TicketFailure::NoKdc {
                realm: realm.to_owned(),
                how: format!("{name}: {}", crate::http::dns_words(&answer)),
            }),
        }
    }

    async fn addresses(&self, io: &dyn Io, host: &str) -> Vec<IpAddr> {
        if let Ok(address) = host.parse() {
            return vec![address];
        }
        match io.resolve(host, RecordKind::Address, self.source.limits.dns).await {
            DnsAnswer::Addresses { addresses, .. } => addresses,
            _ => Vec::new(),
        }
    }

    /// One question to one address.
    async fn ask(
        &self,
        io: &dyn Io,
        address: SocketAddr,
        request: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, String> {
        let left = || deadline.saturating_sub(io.now().since_start);
        let opened = io.connect(Target::Direct(address), self.source.limits.tcp.min(left())).await;
        let conn = opened.map_err(|error| error.to_string())?.conn;
        let deadline = io.now().since_start + self.source.limits.answer.min(left());
        let answer = self.converse(io, conn, request, deadline).await;
        io.close(conn).await;
        match answer {
            Ok(answer) if !answer.first().is_some_and(|first| ANSWERS.contains(first)) => {
                Err("answers with something that is not Kerberos".to_owned())
            }
            answer => answer,
        }
    }

    /// A message over TCP has its length before it, 4 bytes, big-endian. RFC 4120 §7.2.2.
    async fn converse(&self, io: &dyn Io, conn: ConnId, request: &[u8], deadline: Duration) -> Result<Vec<u8>, String> {
        let words = |error: StreamError| error.to_string();
        let length = u32::try_from(request.len()).map_err(|_| "the request is too long".to_owned())?;
        io.send(conn, [&length.to_be_bytes(), request].concat()).await.map_err(words)?;
        let mut answer = Vec::new();
        loop {
            if let Some((head, body)) = answer.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if length > MAX_ANSWER {
                    return Err(format!("it announces an answer of {length} bytes; that is not a KDC"));
                }
                if let Some(whole) = body.get(..length) {
                    return Ok(whole.to_vec());
                }
            }
            let left = deadline.saturating_sub(io.now().since_start);
            answer.extend(io.receive(conn, left).await.map_err(words)?);
        }
    }
}
