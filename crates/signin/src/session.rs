//! A signed-in endpoint as step 5 and everything after it use it: requests out, answers in, all signed.

use crate::converse::client::{Conversations, Event, Moment, Myself, Outcome, TextId};
use crate::converse::content::Text;
use crate::io::Pending;
use crate::link::{Key, Link, LinkError};
use crate::name::Aor;
use crate::provision::client::{Request, Response, SessionError};
use crate::register::client::{Accepted, Registration};
use sip::{Draft, Message};
use std::time::Duration;

/// An open registration.
pub struct Session<'a> {
    link: Link<'a>,
    registration: Registration,
    contact: String,
    register_cseq: u32,
    response_limit: Duration,
}

impl<'a> Session<'a> {
    /// Takes over the connection that was just registered.
    pub fn new(
        link: Link<'a>,
        registration: Registration,
        accepted: &Accepted,
        register_cseq: u32,
        response_limit: Duration,
    ) -> Session<'a> {
        let contact = match &accepted.gruu {
            Some(gruu) => format!("<{gruu}>"),
            None => format!("<sip:{};transport=tls>;proxy=replace", link.local()),
        };
        Session { link, registration, contact, register_cseq, response_limit }
    }

    /// Who is signed in.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Contact of every request from now on: the GRUU, when there is one.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// Writes a request outside a dialog; To is the Request-URI. Gives the key of its answer too.
    fn draft(&self, request: &Request) -> (Draft, Key) {
        let mut random = [0; 24];
        self.link.io().fill_random(&mut random);
        let (call_id, rest) = random.split_at(16);
        let (tag, branch) = rest.split_at(4);
        let key = Key { call_id: hex::encode(call_id), cseq: format!("1 {}", request.method) };
        let Registration { aor, epid, user_agent, .. } = &self.registration;
        let mut draft = Draft::request(request.method, &request.uri);
        draft
            .header("Via", format_args!("SIP/2.0/TLS {};branch=z9hG4bK{}", self.link.local(), hex::encode(branch)))
            .header("Max-Forwards", 70)
            .header("From", format_args!("<{}>;tag={};epid={}", aor.to_uri(), hex::encode(tag), epid.as_str()))
            .header("To", format_args!("<{}>", request.uri))
            .header("Call-ID", &key.call_id)
            .header("CSeq", &key.cseq)
            .header("Contact", &self.contact)
            .header("User-Agent", user_agent);
        for (name, value) in &request.headers {
            draft.header(name, value);
        }
        if let Some((content_type, body)) = &request.body {
            draft.body(content_type, body.as_bytes());
        }
        (draft, key)
    }

    async fn response(&mut self, key: &Key) -> Result<Response, LinkError> {
        let bytes = self.link.response(key, self.response_limit).await?;
        let message = Message::parse(&bytes)?;
        Ok(Response::of(&message).unwrap_or(Response {
            code: 0,
            reason: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
        }))
    }

    /// The next request of the server.
    pub async fn next_request(&mut self, limit: Duration) -> Result<Vec<u8>, LinkError> {
        self.link.next_request(limit).await
    }

    /// The next message of the server, request or response, that nobody else waits for.
    pub async fn next_message(&mut self, limit: Duration) -> Result<Vec<u8>, LinkError> {
        self.link.next_message(limit).await
    }

    /// Who converses here, for [`Conversations::new`].
    pub fn myself(&self) -> Myself {
        let Registration { aor, epid, user_agent, .. } = &self.registration;
        Myself {
            aor: aor.clone(),
            epid: epid.as_str().to_owned(),
            user_agent: user_agent.clone(),
            contact: self.contact.clone(),
            local: self.link.local(),
        }
    }

    /// Says something to somebody. What becomes of it is told by [`Session::converse`], later.
    pub async fn say(
        &mut self,
        conversations: &mut Conversations,
        peer: &Aor,
        text: Text,
    ) -> Result<(TextId, Vec<Event>), LinkError> {
        let (id, outcome) = self.at(|moment| conversations.say(moment, peer, text));
        Ok((id, self.carry_out(outcome).await?))
    }

    /// Ends every conversation with somebody.
    pub async fn end_conversation(
        &mut self,
        conversations: &mut Conversations,
        peer: &Aor,
    ) -> Result<Vec<Event>, LinkError> {
        let outcome = self.at(|moment| conversations.end(moment, peer));
        self.carry_out(outcome).await
    }

    /// Shows a message of the server to the conversations, and answers it when it is theirs. `None`: it is not.
    pub async fn converse(
        &mut self,
        conversations: &mut Conversations,
        message: &[u8],
    ) -> Result<Option<Vec<Event>>, LinkError> {
        let message = Message::parse(message)?;
        let outcome = self.at(|moment| match message.method() {
            Some(_) => conversations.request(moment, &message),
            None => conversations.response(moment, &message),
        });
        match outcome {
            Some(outcome) => Ok(Some(self.carry_out(outcome).await?)),
            None => Ok(None),
        }
    }

    /// Gives up what has waited too long: to be called now and then.
    pub async fn expire(&mut self, conversations: &mut Conversations) -> Result<Vec<Event>, LinkError> {
        let outcome = conversations.expire(self.link.io().now().since_start);
        self.carry_out(outcome).await
    }

    /// A step of the conversations, with time and randomness.
    fn at<T>(&self, step: impl FnOnce(&Moment<'_>) -> T) -> T {
        let io = self.link.io();
        let random = |bytes: &mut [u8]| io.fill_random(bytes);
        step(&Moment { now: io.now().since_start, random: &random })
    }

    /// Signs and sends what a step of the conversations leads to; gives what is to be shown.
    pub async fn carry_out(&mut self, outcome: Outcome) -> Result<Vec<Event>, LinkError> {
        for draft in outcome.send {
            self.link.send_signed(draft, None).await?;
        }
        Ok(outcome.events)
    }

    /// Renews the registration; gives the answer.
    pub async fn refresh(&mut self) -> Result<Response, LinkError> {
        self.register(None).await
    }

    /// Ends the registration and closes the connection. The answer is waited for, but not long.
    pub async fn sign_out(mut self) {
        self.response_limit = Duration::from_secs(2);
        let _ = self.register(Some(0)).await;
        self.link.close().await;
    }

    async fn register(&mut self, expires: Option<u32>) -> Result<Response, LinkError> {
        self.register_cseq += 1;
        let draft = self.registration.request(self.register_cseq, self.link.local(), expires);
        self.link.send_signed(draft, None).await?;
        let call_id = self.registration.call_id.clone();
        self.response(&Key { call_id, cseq: format!("{} REGISTER", self.register_cseq) }).await
    }
}

impl crate::provision::client::Session for Session<'_> {
    fn exchange(&mut self, requests: Vec<Request>) -> Pending<'_, Vec<Result<Response, SessionError>>> {
        Box::pin(async move {
            let mut sent = Vec::with_capacity(requests.len());
            for request in &requests {
                let (draft, key) = self.draft(request);
                sent.push(self.link.send_signed(draft, None).await.map(|()| key));
            }
            let mut answers = Vec::with_capacity(sent.len());
            for key in sent {
                let answer = match key {
                    Ok(key) => self.response(&key).await,
                    Err(error) => Err(error),
                };
                answers.push(answer.map_err(|error| SessionError(error.to_string())));
            }
            answers
        })
    }
}
