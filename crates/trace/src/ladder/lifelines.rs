//! Who takes part: which host stands behind each connection and each attempt at one.

use super::{Kind, Lifeline};
use crate::record::{Record, What};
use signin::io::{ConnId, DnsAnswer, Operation, Outcome, Target};
use std::collections::HashMap;
use std::net::IpAddr;

/// The lifelines, and who stands behind what. Hosts are known by the name they were looked for: that of the TLS
/// handshake, of the HTTP request, or the last name that was resolved to the address.
pub(super) struct Lifelines {
    list: Vec<Lifeline>,
    conns: HashMap<ConnId, usize>,
    /// Attempts to connect, by the number of the question.
    attempts: HashMap<u64, usize>,
    /// Questions that concern a connection.
    questions: HashMap<u64, ConnId>,
}

/// One attempt to connect, and what is known of whoever was at the other end.
struct Hop {
    question: u64,
    conn: Option<ConnId>,
    name: String,
    kind: Option<Kind>,
}

impl Lifelines {
    pub(super) fn of(record: &Record) -> Lifelines {
        let (hops, questions, asked_dns) = survey(record);
        let mut list = vec![Lifeline { name: "client".to_owned(), kind: Kind::Client }];
        if asked_dns {
            list.push(Lifeline { name: "DNS".to_owned(), kind: Kind::Dns });
        }
        for kind in [Kind::Web, Kind::Sip] {
            for hop in hops.iter().filter(|hop| role(hop, &hops) == kind) {
                let lifeline = Lifeline { name: hop.name.clone(), kind };
                if !list.contains(&lifeline) {
                    list.push(lifeline);
                }
            }
        }
        let mut lifelines = Lifelines { list, conns: HashMap::new(), attempts: HashMap::new(), questions };
        for hop in &hops {
            let lifeline = Lifeline { name: hop.name.clone(), kind: role(hop, &hops) };
            if let Some(index) = lifelines.list.iter().position(|known| *known == lifeline) {
                lifelines.attempts.insert(hop.question, index);
                lifelines.conns.extend(hop.conn.map(|conn| (conn, index)));
            }
        }
        lifelines
    }

    pub(super) fn into_list(self) -> Vec<Lifeline> {
        self.list
    }

    pub(super) fn dns(&self) -> Option<usize> {
        self.list.iter().position(|lifeline| lifeline.kind == Kind::Dns)
    }

    /// With whom an attempt to connect was made.
    pub(super) fn of_question(&self, id: u64) -> Option<usize> {
        self.attempts.get(&id).copied()
    }

    /// Who is at the other end of a connection.
    pub(super) fn of_conn(&self, conn: ConnId) -> Option<usize> {
        self.conns.get(&conn).copied()
    }

    /// Which connection a question was about.
    pub(super) fn conn_of_question(&self, id: u64) -> Option<ConnId> {
        self.questions.get(&id).copied()
    }
}

/// The role of a hop: what was spoken with it, or else with another hop of that name. Where nothing ever was spoken,
/// only the names of Autodiscover tell a web server.
fn role(hop: &Hop, hops: &[Hop]) -> Kind {
    let namesake = || hops.iter().filter(|other| other.name == hop.name).find_map(|other| other.kind);
    hop.kind.or_else(namesake).unwrap_or(if hop.name.starts_with("lyncdiscover") { Kind::Web } else { Kind::Sip })
}

/// One pass over the record: the hops in order, the connection each question is about, whether the DNS was asked.
fn survey(record: &Record) -> (Vec<Hop>, HashMap<u64, ConnId>, bool) {
    let mut hops: Vec<Hop> = Vec::new();
    let mut questions = HashMap::new();
    let mut names: HashMap<IpAddr, String> = HashMap::new();
    let mut resolving: HashMap<u64, &str> = HashMap::new();
    let mut asked_dns = false;
    for entry in &record.entries {
        match &entry.what {
            What::Asked { id, operation } => {
                match operation {
                    Operation::Resolve { name, .. } => {
                        asked_dns = true;
                        resolving.insert(*id, name);
                    }
                    Operation::Connect { target, .. } => {
                        hops.push(Hop { question: *id, conn: None, name: target_name(target, &names), kind: None });
                    }
                    Operation::StartTls { conn, server_name, .. } => {
                        if let Some(hop) = on(&mut hops, *conn) {
                            hop.name = server_name.to_ascii_lowercase();
                        }
                    }
                    Operation::Exchange { conn, request, .. } => {
                        if let Some(hop) = on(&mut hops, *conn) {
                            hop.kind = Some(Kind::Web);
                            hop.name = request.host.to_ascii_lowercase();
                        }
                    }
                    Operation::Send { conn, .. } => {
                        if let Some(hop) = on(&mut hops, *conn) {
                            hop.kind = Some(Kind::Sip);
                        }
                    }
                    Operation::Receive { .. }
                    | Operation::Close { .. }
                    | Operation::NewKey { .. }
                    | Operation::InitSecContext { .. }
                    | Operation::Wait { .. } => {}
                }
                questions.extend(conn_of(operation).map(|conn| (*id, conn)));
            }
            What::Ended { id, outcome: Outcome::Connected(Ok(connected)) } => {
                if let Some(hop) = hops.iter_mut().find(|hop| hop.question == *id) {
                    hop.conn = Some(connected.conn);
                }
            }
            What::Ended { id, outcome: Outcome::Resolved(DnsAnswer::Addresses { addresses, .. }) } => {
                if let Some(name) = resolving.get(id) {
                    names.extend(addresses.iter().map(|address| (*address, name.to_ascii_lowercase())));
                }
            }
            _ => {}
        }
    }
    (hops, questions, asked_dns)
}

fn target_name(target: &Target, names: &HashMap<IpAddr, String>) -> String {
    match target {
        Target::Direct(peer) => names.get(&peer.ip()).cloned().unwrap_or_else(|| peer.ip().to_string()),
        Target::Proxied { host, .. } => host.to_ascii_lowercase(),
    }
}

/// The latest hop with that connection: ids are not used again, but a record need not be honest.
fn on(hops: &mut [Hop], conn: ConnId) -> Option<&mut Hop> {
    hops.iter_mut().rev().find(|hop| hop.conn == Some(conn))
}

fn conn_of(operation: &Operation) -> Option<ConnId> {
    match operation {
        Operation::StartTls { conn, .. }
        | Operation::Send { conn, .. }
        | Operation::Receive { conn, .. }
        | Operation::Exchange { conn, .. }
        | Operation::Close { conn } => Some(*conn),
        Operation::Resolve { .. }
        | Operation::Connect { .. }
        | Operation::NewKey { .. }
        | Operation::InitSecContext { .. }
        | Operation::Wait { .. } => None,
    }
}
