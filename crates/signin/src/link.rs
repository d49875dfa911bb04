//! The client's SIP connection: messages out, messages in, signatures on both once there is an association.
//!
//! Responses are those of [`sip::transaction`]: of a request that was sent and still waits; any other is dropped. Requests
//! that arrive meanwhile are kept for [`Link::next_request`].

use crate::authenticate::association::{Association, SignatureError};
use crate::io::{ConnId, Io, StreamError};
use sip::framing::{Cut, Framer, FramingError, Limits};
use sip::transaction::{Answer, ClientKey, ClientTransactions, NotBegun};
use sip::{Draft, Message};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a connection gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The stream ended or stayed silent.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// What arrives is not SIP.
    #[error(transparent)]
    NotSip(#[from] FramingError),
    /// A message that cannot be read.
    #[error(transparent)]
    Unreadable(#[from] sip::ParseError),
    /// Messages nobody waits for, more than will be kept.
    #[error("it sends one message after another that nobody asked for")]
    Flooded,
    /// An answer whose signature is missing or wrong.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A request that cannot be signed: our own fault.
    #[error(transparent)]
    Unsignable(#[from] crate::authenticate::signing::Unsignable),
    /// A request whose response could not be told from others: our own fault.
    #[error(transparent)]
    NotBegun(#[from] NotBegun),
}

/// A SIP connection.
pub struct Link<'a> {
    io: &'a dyn Io,
    conn: ConnId,
    local: SocketAddr,
    buffer: Vec<u8>,
    framer: Framer,
    limits: Limits,
    association: Option<Association>,
    /// The association before, until there is another: what the server sent meanwhile is signed with it.
    retired: Option<Association>,
    /// When something was last sent.
    sent: Duration,
    /// Requests that wait for their final response.
    pending: ClientTransactions,
    early: Vec<(ClientKey, Vec<u8>)>,
    requests: VecDeque<Vec<u8>>,
    /// Bytes in `early` and `requests`.
    kept: usize,
    /// How the connection ended, once it has.
    ended: Option<StreamError>,
}

/// Most bytes of messages kept until somebody asks for them. A contact list and the presence of all contacts, which
/// servers send unasked, stay well below.
const KEPT: usize = 8 * 1024 * 1024;

/// Most requests that wait at a time.
const PENDING: usize = 1024;

/// How long a request is remembered. Whoever waits for its response has a shorter limit of his own.
const REMEMBERED: Duration = Duration::from_secs(600);

impl<'a> Link<'a> {
    /// Takes an open connection over.
    pub fn new(io: &'a dyn Io, conn: ConnId, local: SocketAddr) -> Link<'a> {
        Link {
            io,
            conn,
            local,
            buffer: Vec::new(),
            framer: Framer::default(),
            // The presence of a thousand contacts comes in one answer.
            limits: Limits { body: 8 * 1024 * 1024, ..Limits::default() },
            association: None,
            retired: None,
            sent: io.now().since_start,
            pending: ClientTransactions::new(PENDING),
            early: Vec::new(),
            requests: VecDeque::new(),
            kept: 0,
            ended: None,
        }
    }

    /// Our end of the connection.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The door this connection was opened through.
    pub fn io(&self) -> &'a dyn Io {
        self.io
    }

    /// From now on every message is signed and checked.
    pub fn secure(&mut self, association: Association) {
        self.association = Some(association);
    }

    /// The association was not accepted: messages are unsigned again, until there is another.
    pub fn unsecure(&mut self) {
        self.association = None;
    }

    /// The association has reached its age: the next messages negotiate another.
    pub fn retire(&mut self) {
        self.retired = self.association.take();
    }

    /// When something was last sent.
    pub fn last_sent(&self) -> Duration {
        self.sent
    }

    /// Shows the server that the connection is alive. `[MS-CONMGMT]` §3.4.
    pub async fn keep_alive(&mut self) -> Result<(), LinkError> {
        self.put(crate::connect::keep_alive::PING.to_vec()).await
    }

    async fn put(&mut self, bytes: Vec<u8>) -> Result<(), LinkError> {
        self.sent = self.io.now().since_start;
        let sent = self.io.send(self.conn, bytes).await;
        Ok(sent.inspect_err(|error| self.note_end(error))?)
    }

    fn note_end(&mut self, error: &StreamError) {
        if *error != StreamError::Timeout {
            self.ended.get_or_insert(*error);
        }
    }

    /// How the connection ended, if it has; what arrived before is still there to be taken.
    pub fn ended(&self) -> Option<&StreamError> {
        self.ended.as_ref()
    }

    /// The requests of the server that arrived and were not taken, in order. Their signatures are right.
    pub fn waiting(&self) -> impl Iterator<Item = &[u8]> {
        self.requests.iter().map(Vec::as_slice)
    }

    /// Whether there is an association, so that every answer but a 401 was checked.
    pub fn is_secured(&self) -> bool {
        self.association.is_some()
    }

    /// Sends a message as it stands: before there is an association.
    pub async fn send_unsigned(&mut self, draft: Draft) -> Result<(), LinkError> {
        self.send(draft).await
    }

    async fn send(&mut self, draft: Draft) -> Result<(), LinkError> {
        let bytes = draft.finish();
        let message = Message::parse(&bytes)?;
        // An ACK has no response.
        if message.method().is_some_and(|method| method != "ACK") {
            let now = self.io.now().since_start;
            self.pending.expire(now);
            self.pending.begin(&message, now + REMEMBERED)?;
        }
        self.put(bytes).await
    }

    /// Signs a message and sends it. `handshake` is the last token of a mechanism, when this message carries it.
    pub async fn send_signed(&mut self, mut draft: Draft, handshake: Option<Vec<u8>>) -> Result<(), LinkError> {
        if let Some(association) = &mut self.association {
            let mut rand = [0; 4];
            self.io.fill_random(&mut rand);
            association.sign_as_client(&mut draft, u32::from_be_bytes(rand), handshake)?;
        }
        self.send(draft).await
    }

    /// Waits for the final response to a request; provisional ones are passed over.
    pub async fn response(&mut self, key: &ClientKey, limit: Duration) -> Result<Vec<u8>, LinkError> {
        if let Some(place) = self.early.iter().position(|(k, _)| k == key) {
            let (_, bytes) = self.early.remove(place);
            self.kept -= bytes.len();
            return Ok(bytes);
        }
        let deadline = self.io.now().since_start + limit;
        loop {
            let bytes = self.arrival(deadline).await?;
            let message = Message::parse(&bytes)?;
            if message.method().is_some() {
                let bytes = self.checked_request(bytes)?;
                self.keep(bytes.len())?;
                self.requests.push_back(bytes);
                continue;
            }
            match self.answered(&message)? {
                Some(answered) if answered == *key => return Ok(bytes),
                Some(answered) => {
                    self.keep(bytes.len())?;
                    self.early.push((answered, bytes));
                }
                None => {}
            }
        }
    }

    fn keep(&mut self, length: usize) -> Result<(), LinkError> {
        self.kept += length;
        if self.kept > KEPT { Err(LinkError::Flooded) } else { Ok(()) }
    }

    /// A request of the server, one that arrived meanwhile or the next to arrive. Its signature is right.
    pub async fn next_request(&mut self, limit: Duration) -> Result<Vec<u8>, LinkError> {
        if let Some(bytes) = self.requests.pop_front() {
            self.kept -= bytes.len();
            return Ok(bytes);
        }
        let deadline = self.io.now().since_start + limit;
        loop {
            let bytes = self.arrival(deadline).await?;
            if Message::parse(&bytes)?.method().is_some() {
                return self.checked_request(bytes);
            }
        }
    }

    /// The next message nobody waits for: a request, or a final response to something that was sent without waiting. Its
    /// signature is right.
    pub async fn next_message(&mut self, limit: Duration) -> Result<Vec<u8>, LinkError> {
        if !self.early.is_empty() {
            let (_, bytes) = self.early.remove(0);
            self.kept -= bytes.len();
            return Ok(bytes);
        }
        if !self.requests.is_empty() {
            return self.next_request(limit).await;
        }
        let deadline = self.io.now().since_start + limit;
        loop {
            let bytes = self.arrival(deadline).await?;
            let message = Message::parse(&bytes)?;
            if message.method().is_some() {
                return self.checked_request(bytes);
            }
            if self.answered(&message)?.is_some() {
                return Ok(bytes);
            }
        }
    }

    /// Which request has its final response now. `None` for a provisional one, and for one of no request that waits.
    fn answered(&mut self, response: &Message<'_>) -> Result<Option<ClientKey>, LinkError> {
        if response.status().is_some_and(|status| status < 200) {
            return Ok(None);
        }
        self.check(response)?;
        match self.pending.answered(response) {
            Some(Answer::Final(key)) => Ok(Some(key)),
            Some(Answer::Provisional(_)) | None => Ok(None),
        }
    }

    fn checked_request(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, LinkError> {
        if let Some(association) = self.association.as_mut().or(self.retired.as_mut()) {
            association.check_server(&Message::parse(&bytes)?)?;
        }
        Ok(bytes)
    }

    /// Checks the signature of a response. A 401 cannot be signed: the server does not accept us (any more). Nor can a
    /// server that was not able to find out who we are: until it has signed something, it has no keys.
    fn check(&mut self, message: &Message<'_>) -> Result<(), LinkError> {
        match (&mut self.association, message.status()) {
            (None, _) | (Some(_), Some(401)) => Ok(()),
            (Some(association), Some(500..=599)) if association.has_nothing_signed(message) => Ok(()),
            (Some(association), _) => Ok(association.check_server(message)?),
        }
    }

    async fn arrival(&mut self, deadline: Duration) -> Result<Vec<u8>, LinkError> {
        loop {
            match self.framer.cut(&self.buffer, &self.limits)? {
                Cut::Message { length } => return Ok(self.buffer.drain(..length).collect()),
                Cut::KeepAlive { length } => {
                    self.buffer.drain(..length);
                }
                Cut::Incomplete => {
                    let left = deadline.saturating_sub(self.io.now().since_start);
                    if left.is_zero() {
                        return Err(StreamError::Timeout.into());
                    }
                    let received = self.io.receive(self.conn, left).await;
                    let bytes = received.inspect_err(|error| self.note_end(error))?;
                    self.buffer.extend_from_slice(&bytes);
                }
            }
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.io.close(self.conn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Bytes, Now, Operation, Outcome, Pending};
    use std::sync::Mutex;

    /// A server that says this, and takes whatever it is told.
    struct Script(Mutex<VecDeque<String>>);

    impl Io for Script {
        fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
            let outcome = match operation {
                Operation::Receive { .. } => match self.0.lock().expect("whole").pop_front() {
                    Some(text) => Outcome::Received(Ok(Bytes(text.into_bytes()))),
                    None => Outcome::Received(Err(StreamError::Closed)),
                },
                Operation::Send { .. } => Outcome::Sent(Ok(())),
                _ => Outcome::Done,
            };
            Box::pin(std::future::ready(outcome))
        }

        fn now(&self) -> Now {
            Now { since_start: Duration::ZERO, unix_seconds: 0 }
        }

        fn fill_random(&self, _bytes: &mut [u8]) {}

        fn note(&self, _event: crate::report::Event) {}
    }

    fn request(number: u32) -> Draft {
        let mut draft = Draft::request("SERVICE", "sip:alice@contoso.test");
        draft.header("Via", "SIP/2.0/TLS 192.0.2.10:50230;branch=z9hG4bKone").header("Call-ID", "call-1");
        draft.header("CSeq", format_args!("{number} SERVICE"));
        draft
    }

    fn response(code: u16, number: u32, branch: &str) -> String {
        format!(
            "SIP/2.0 {code} Whatever\r\nVia: SIP/2.0/TLS 192.0.2.10:50230{branch}\r\nCall-ID: call-1\r\n\
             CSeq: {number} SERVICE\r\nContent-Length: 0\r\n\r\n"
        )
    }

    #[test]
    fn responses_to_nothing_are_dropped_and_others_find_their_requests() {
        let own = ";branch=z9hG4bKone";
        let said = [
            response(200, 7, own),
            response(200, 1, ";branch=z9hG4bKtwo"),
            response(100, 1, own),
            response(202, 2, ""),
            response(200, 1, own),
            response(200, 1, own),
        ];
        let io = Script(Mutex::new(said.into()));
        let mut link = Link::new(&io, ConnId(1), ([192, 0, 2, 10], 50_230).into());
        let key = |number: u32| ClientKey { call_id: "call-1".to_owned(), cseq: format!("{number} SERVICE") };
        let limit = Duration::from_secs(1);
        let story = async {
            link.send_unsigned(request(1)).await.expect("sent");
            link.send_unsigned(request(2)).await.expect("sent");
            let twice = link.send_unsigned(request(2)).await;
            assert_eq!(twice, Err(LinkError::NotBegun(NotBegun::AlreadyPending)));
            let code = |bytes: Vec<u8>| Message::parse(&bytes).expect("a message").status();
            assert_eq!(code(link.response(&key(1), limit).await.expect("answered")), Some(200));
            assert_eq!(code(link.response(&key(2), limit).await.expect("kept until asked for")), Some(202));
            assert_eq!(link.next_message(limit).await, Err(LinkError::Stream(StreamError::Closed)), "nothing is left");
        };
        assert!(futures_util::FutureExt::now_or_never(story).is_some(), "the script never lets anybody wait");
    }
}
