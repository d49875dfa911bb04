//! The call flow of a sign-in: who said what to whom, and when. A pure function of the record.
//!
//! [`Ladder`] is the flow as data, one [`Row`] for each thing that crosses the wire; how it is drawn is another matter
//! ([`text()`]). A question and its answer share a row where nothing of the sign-in can come between them (DNS, TCP, TLS,
//! HTTP); SIP messages have a row each, cut from the byte stream of their connection.

mod caption;
mod lifelines;
mod text;

pub use text::text;

use crate::record::{Record, What};
use lifelines::Lifelines;
use signin::io::{ConnId, Operation, Outcome, StreamError};
use signin::report::{Event, Step, Verdict};
use sip::framing::{Cut, Limits, cut};
use std::collections::HashMap;
use std::time::Duration;

/// A call flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    /// Whose sign-in it is.
    pub address: String,
    /// Seconds since 1970, UTC.
    pub started: i64,
    /// Who takes part; the first one is the client.
    pub lifelines: Vec<Lifeline>,
    /// What happened, in order.
    pub rows: Vec<Row>,
}

/// One who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifeline {
    /// `client`, `DNS`, or a host name.
    pub name: String,
    /// In which role.
    pub kind: Kind,
}

/// In which role somebody takes part. The order is that of the lifelines, left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Who signs in.
    Client,
    /// All DNS servers together.
    Dns,
    /// A host that is asked over HTTP.
    Web,
    /// A host that is spoken to in SIP.
    Sip,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A step begins.
    Step {
        /// Since the start.
        at: Duration,
        /// Which.
        step: Step,
    },
    /// Something crosses the wire, between the client and another.
    Arrow(Arrow),
    /// A remark on what was seen so far.
    Note {
        /// Since the start.
        at: Duration,
        /// What.
        text: String,
    },
    /// Why the sign-in failed.
    Verdict {
        /// Since the start.
        at: Duration,
        /// Why.
        verdict: Verdict,
    },
    /// The record has no more, although the sign-in went on.
    Cut,
}

/// Something that crosses the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrow {
    /// Since the start; of the question, when both share the row.
    pub at: Duration,
    /// From question to answer, when both share the row and there was an answer.
    pub took: Option<Duration>,
    /// Index in [`Ladder::lifelines`] of the one who is not the client.
    pub with: usize,
    /// Which way.
    pub way: Way,
    /// What.
    pub caption: String,
    /// It did not work.
    pub failed: bool,
    /// It began while the arrow in the row above was still under way.
    pub beside: bool,
}

/// Which way something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    Out,
    /// To the client.
    In,
    /// Question and answer.
    Both,
}

impl Ladder {
    /// Reads the call flow out of a record.
    pub fn of(record: &Record) -> Ladder {
        let lifelines = Lifelines::of(record);
        let mut walk = Walk { endings: endings(record), lifelines: &lifelines, streams: HashMap::new(), rows: vec![] };
        for entry in &record.entries {
            match &entry.what {
                What::Asked { id, operation } => walk.asked(entry.at(), *id, operation),
                What::Ended { id, outcome } => walk.ended(entry.at(), *id, outcome),
                What::Told(event) => walk.told(entry.at(), event),
                What::Full {} => walk.rows.push(Row::Cut),
                What::GaveUp { .. } | What::Random { .. } => {}
            }
        }
        if record.truncated {
            walk.rows.push(Row::Cut);
        }
        let Walk { rows, .. } = walk;
        Ladder {
            address: record.header.address.clone(),
            started: record.header.started,
            lifelines: lifelines.into_list(),
            rows,
        }
    }
}

/// How a question ended: when, and with what outcome unless it was given up.
type Ending<'a> = (Duration, Option<&'a Outcome>);

fn endings(record: &Record) -> HashMap<u64, Ending<'_>> {
    let mut endings = HashMap::new();
    for entry in &record.entries {
        match &entry.what {
            What::Ended { id, outcome } => endings.insert(*id, (entry.at(), Some(outcome))),
            What::GaveUp { id } => endings.insert(*id, (entry.at(), None)),
            _ => None,
        };
    }
    endings
}

struct Walk<'a> {
    endings: HashMap<u64, Ending<'a>>,
    lifelines: &'a Lifelines,
    streams: HashMap<ConnId, Stream>,
    rows: Vec<Row>,
}

/// What a connection has carried in each direction and was not cut into messages yet.
#[derive(Default)]
struct Stream {
    out: Direction,
    inn: Direction,
}

#[derive(Default)]
struct Direction {
    buffer: Vec<u8>,
    /// It carried something that is not SIP; told once.
    broken: bool,
}

impl Walk<'_> {
    fn asked(&mut self, at: Duration, id: u64, operation: &Operation) {
        let ending = self.endings.get(&id).copied();
        let took = ending.filter(|(_, outcome)| outcome.is_some()).map(|(end, _)| end.saturating_sub(at));
        let outcome = ending.and_then(|(_, outcome)| outcome);
        let given_up = matches!(ending, Some((_, None)));
        let (with, caption) = match operation {
            Operation::Resolve { name, kind, .. } => (self.lifelines.dns(), caption::dns(name, *kind, outcome)),
            Operation::Connect { target, .. } => (self.lifelines.of_question(id), caption::tcp(target, outcome)),
            Operation::StartTls { conn, .. } => (self.lifelines.of_conn(*conn), caption::tls(outcome)),
            Operation::Exchange { conn, request, .. } => {
                (self.lifelines.of_conn(*conn), caption::http(request, outcome))
            }
            Operation::Send { conn, bytes } => return self.carried(at, *conn, Way::Out, bytes),
            Operation::Close { conn } => return self.closed(at, *conn),
            // What the system's Kerberos library says to KDCs does not pass here.
            Operation::Receive { .. }
            | Operation::NewKey { .. }
            | Operation::InitSecContext { .. }
            | Operation::Wait { .. } => return,
        };
        let Some(with) = with else { return };
        let mut text = caption.text;
        if given_up {
            text.push_str(" (no longer needed)");
        }
        let beside = self.under_way(at);
        let failed = caption.failed;
        self.rows.push(Row::Arrow(Arrow { at, took, with, way: Way::Both, caption: text, failed, beside }));
    }

    /// Whether the arrow in the last row, a question, had no answer yet at that time.
    fn under_way(&self, at: Duration) -> bool {
        match self.rows.last() {
            Some(Row::Arrow(above)) => {
                above.way == Way::Both && above.took.is_none_or(|took| above.at + took > at || above.at == at)
            }
            _ => false,
        }
    }

    fn ended(&mut self, at: Duration, id: u64, outcome: &Outcome) {
        let Some(conn) = self.lifelines.conn_of_question(id) else { return };
        match outcome {
            Outcome::Received(Ok(bytes)) => self.carried(at, conn, Way::In, &bytes.0),
            Outcome::Received(Err(error @ (StreamError::Closed | StreamError::Reset))) => {
                self.arrow(at, conn, Way::In, error.to_string(), true);
            }
            Outcome::Sent(Err(error)) => self.arrow(at, conn, Way::Out, format!("not sent: {error}"), true),
            _ => {}
        }
    }

    /// Bytes of a SIP connection: a row for each message that is whole by now.
    fn carried(&mut self, at: Duration, conn: ConnId, way: Way, bytes: &[u8]) {
        let stream = self.streams.entry(conn).or_default();
        let direction = if way == Way::Out { &mut stream.out } else { &mut stream.inn };
        if direction.broken {
            return;
        }
        direction.buffer.extend_from_slice(bytes);
        let (captions, broken) = captions(&mut direction.buffer);
        direction.broken = broken;
        for caption in captions {
            self.arrow(at, conn, way, caption.text, caption.failed);
        }
    }

    fn closed(&mut self, at: Duration, conn: ConnId) {
        if self.streams.remove(&conn).is_some() {
            self.arrow(at, conn, Way::Out, "close".to_owned(), false);
        }
    }

    fn arrow(&mut self, at: Duration, conn: ConnId, way: Way, caption: String, failed: bool) {
        if let Some(with) = self.lifelines.of_conn(conn) {
            self.rows.push(Row::Arrow(Arrow { at, took: None, with, way, caption, failed, beside: false }));
        }
    }

    fn told(&mut self, at: Duration, event: &Event) {
        match event {
            Event::Began(step) => self.rows.push(Row::Step { at, step: *step }),
            Event::Registered(registers) => {
                let (n, server, mechanism) = (registers.requests, &registers.server, &registers.mechanism);
                let plural = if n == 1 { "" } else { "s" };
                let text = format!("{n} REGISTER{plural} with {server} ({mechanism}): {}", registers.status);
                self.rows.push(Row::Note { at, text });
            }
            Event::Failed(verdict) => self.rows.push(Row::Verdict { at, verdict: verdict.clone() }),
            Event::Evidence(..) | Event::Remark(..) | Event::Ended(..) | Event::Redirected { .. } => {}
        }
    }
}

/// The captions of all whole messages at the beginning of `buffer`, which are removed from it; and whether what follows
/// is not SIP.
fn captions(buffer: &mut Vec<u8>) -> (Vec<caption::Caption>, bool) {
    // No SIP message begins with a zero byte, and no message to a KDC without one: its length comes first.
    if buffer.first() == Some(&0) {
        return (kerberos_captions(buffer), false);
    }
    let limits = Limits::default();
    let (mut captions, mut at) = (Vec::new(), 0);
    let broken = loop {
        match cut(&buffer[at..], &limits) {
            _ if at == buffer.len() => break false,
            Ok(Cut::Message { length }) => {
                captions.push(caption::sip(&buffer[at..at + length]));
                at += length;
            }
            Ok(Cut::KeepAlive { length }) => {
                // Two line ends in one piece are a ping; others are stray ends between messages.
                if buffer[at..at + length] == *signin::connect::keep_alive::PING {
                    captions.push(caption::keep_alive());
                }
                at += length;
            }
            Ok(Cut::Incomplete) => break false,
            Err(error) => {
                captions.push(caption::not_sip(buffer.len() - at, &error));
                break true;
            }
        }
    };
    buffer.drain(..at);
    if broken {
        buffer.clear();
    }
    (captions, broken)
}

/// The same for a connection to a KDC: each message has its length before it. RFC 4120 §7.2.2.
fn kerberos_captions(buffer: &mut Vec<u8>) -> Vec<caption::Caption> {
    let mut captions = Vec::new();
    while let Some((head, body)) = buffer.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        let Some(message) = body.get(..length) else { break };
        captions.push(caption::kerberos(message));
        buffer.drain(..4 + length);
    }
    captions
}
