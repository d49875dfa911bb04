//! The client's SIP connection: messages out, messages in, signatures on both once there is an association.
//!
//! Responses are matched by Call-ID and CSeq; Microsoft servers and open clients do the same, since branches are not
//! always there. Whatever else arrives meanwhile is kept for [`Link::next_request`].

use crate::authenticate::association::{Association, SignatureError};
use crate::io::{ConnId, Io, StreamError};
use sip::framing::{Cut, Framer, FramingError, Limits};
use sip::{Draft, Message, Name};
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
}

/// Which response is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Call-ID of the request.
    pub call_id: String,
    /// Whole CSeq value, `3 REGISTER`.
    pub cseq: String,
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
    early: Vec<(Key, Vec<u8>)>,
    requests: VecDeque<Vec<u8>>,
    /// Bytes in `early` and `requests`.
    kept: usize,
}

/// Most bytes of messages kept until somebody asks for them. A contact list and the presence of all contacts, which
/// servers send unasked, stay well below.
const KEPT: usize = 8 * 1024 * 1024;

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
            early: Vec::new(),
            requests: VecDeque::new(),
            kept: 0,
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
        Ok(self.io.send(self.conn, bytes).await?)
    }

    /// Whether there is an association, so that every answer but a 401 was checked.
    pub fn is_secured(&self) -> bool {
        self.association.is_some()
    }

    /// Sends a message as it stands: before there is an association.
    pub async fn send_unsigned(&mut self, draft: Draft) -> Result<(), LinkError> {
        self.put(draft.finish()).await
    }

    /// Signs a message and sends it. `handshake` is the last token of a mechanism, when this message carries it.
    pub async fn send_signed(&mut self, mut draft: Draft, handshake: Option<Vec<u8>>) -> Result<(), LinkError> {
        if let Some(association) = &mut self.association {
            let mut rand = [0; 4];
            self.io.fill_random(&mut rand);
            association.sign_as_client(&mut draft, u32::from_be_bytes(rand), handshake)?;
        }
        self.put(draft.finish()).await
    }

    /// Waits for the final response to a request; provisional ones are passed over.
    pub async fn response(&mut self, key: &Key, limit: Duration) -> Result<Vec<u8>, LinkError> {
        if let Some(place) = self.early.iter().position(|(k, _)| k == key) {
            let (_, bytes) = self.early.remove(place);
            self.kept -= bytes.len();
            return Ok(bytes);
        }
        let deadline = self.io.now().since_start + limit;
        loop {
            let bytes = self.arrival(deadline).await?;
            let message = Message::parse(&bytes)?;
            let Some(status) = message.status() else {
                let bytes = self.checked_request(bytes)?;
                self.keep(bytes.len())?;
                self.requests.push_back(bytes);
                continue;
            };
            if status < 200 {
                continue;
            }
            let got = Key {
                call_id: message.header(Name::CallId).unwrap_or_default().to_owned(),
                cseq: message.header(Name::CSeq).unwrap_or_default().to_owned(),
            };
            self.check(&message)?;
            if got == *key {
                return Ok(bytes);
            }
            self.keep(bytes.len())?;
            self.early.push((got, bytes));
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
            match message.status() {
                None => return self.checked_request(bytes),
                Some(..200) => {}
                Some(_) => {
                    self.check(&message)?;
                    return Ok(bytes);
                }
            }
        }
    }

    fn checked_request(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, LinkError> {
        if let Some(association) = self.association.as_mut().or(self.retired.as_mut()) {
            association.check_server(&Message::parse(&bytes)?)?;
        }
        Ok(bytes)
    }

    /// Checks the signature of a response. A 401 cannot be signed: the server does not accept us (any more).
    fn check(&mut self, message: &Message<'_>) -> Result<(), LinkError> {
        match &mut self.association {
            Some(association) if message.status() != Some(401) => Ok(association.check_server(message)?),
            _ => Ok(()),
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
                    let bytes = self.io.receive(self.conn, left).await?;
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
