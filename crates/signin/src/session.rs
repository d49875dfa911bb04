//! A signed-in endpoint as step 5 and everything after it use it: requests out, answers in, all signed.

use crate::converse::client::{Conversations, Event, Moment, Myself, Outcome, TextId};
use crate::converse::content::Text;
use crate::io::{Io, Pending};
use crate::link::{Link, LinkError};
use crate::name::Aor;
use crate::provision::client::{Request, Response, SessionError};
use crate::provision::picture::Notification;
use crate::register::client::{Accepted, RegisterFailure, Registration};
use sip::dialog::{Dialog, DialogError};
use sip::transaction::ClientKey;
use sip::{Draft, Message, Name};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long to look for the server's last word on a connection that has ended.
const LAST_WORD: Duration = Duration::from_secs(1);

/// An open registration.
pub struct Session<'a> {
    link: Link<'a>,
    registration: Registration,
    contact: String,
    register_cseq: u32,
    response_limit: Duration,
    /// The subscriptions, by Call-ID.
    subscriptions: BTreeMap<String, Dialog>,
}

/// What a request of the server is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A notification, in order, of a subscription there is; or of the registration itself.
    Notification(Notification),
    /// A notification that comes too late, or of no subscription there is.
    Stale,
    /// Something else.
    Other,
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
        let subscriptions = BTreeMap::new();
        Session { link, registration, contact, register_cseq, response_limit, subscriptions }
    }

    /// Who is signed in.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Contact of every request from now on: the GRUU, when there is one.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// Writes a request, in its subscription or outside; there, To is the Request-URI. Gives the key of its answer too.
    fn draft(&mut self, request: &Request) -> Result<(Draft, ClientKey), DialogError> {
        let mut random = [0; 24];
        self.link.io().fill_random(&mut random);
        let (call_id, rest) = random.split_at(16);
        let (tag, branch) = rest.split_at(4);
        let via = format!("SIP/2.0/TLS {};branch=z9hG4bK{}", self.link.local(), hex::encode(branch));
        let subscription = request.within.as_ref().and_then(|call_id| self.subscriptions.get_mut(call_id));
        let mut draft = match subscription {
            Some(subscription) => subscription.request(request.method, &via)?,
            None => self.outside(request, &via, &hex::encode(call_id), &hex::encode(tag)),
        };
        draft.header("Contact", &self.contact).header("User-Agent", &self.registration.user_agent);
        for (name, value) in &request.headers {
            draft.header(name, value);
        }
        if let Some((content_type, body)) = &request.body {
            draft.body(content_type, body.as_bytes());
        }
        let missing = |_| sip::header::HeaderError { header: "Call-ID", why: "the request cannot be read back" };
        let key = draft.read_back(ClientKey::of).map_err(missing)??;
        Ok((draft, key))
    }

    fn outside(&self, request: &Request, via: &str, call_id: &str, tag: &str) -> Draft {
        let Registration { aor, epid, .. } = &self.registration;
        let mut draft = Draft::request(request.method, &request.uri);
        draft
            .header("Via", via)
            .header("Max-Forwards", 70)
            .header("From", format_args!("<{}>;tag={tag};epid={}", aor.to_uri(), epid.as_str()))
            .header("To", format_args!("<{}>", request.uri))
            .header("Call-ID", call_id)
            .header("CSeq", format_args!("1 {}", request.method));
        draft
    }

    /// Remembers the subscription that an answer begins, and forgets the one that it ends. RFC 6665 §4.1.2.
    fn subscribed(&mut self, request: &[u8], response: &Response, key: &ClientKey) {
        let ends = response.header("Expires").is_some_and(|value| value.trim().parse() == Ok(0));
        if response.code == 481 || response.is_success() && ends {
            self.subscriptions.remove(&key.call_id);
        } else if response.is_success() && !self.subscriptions.contains_key(&key.call_id) {
            let Ok(request) = Message::parse(request) else { return };
            let headers = [Name::From, Name::To, Name::CallId, Name::CSeq, Name::Contact, Name::RecordRoute];
            let mut answer = Draft::response(response.code, &response.reason);
            for (name, value) in response.headers.iter().filter(|(n, _)| headers.contains(&Name::from_spelling(n))) {
                answer.header(name, value);
            }
            if let Ok(Ok(dialog)) = answer.read_back(|answer| Dialog::of_client(&request, answer)) {
                self.subscriptions.insert(key.call_id.clone(), dialog);
            }
        }
    }

    /// Judges a request of the server that may be a notification, and answers it when it wants an answer.
    pub async fn told(&mut self, bytes: &[u8]) -> Result<Told, LinkError> {
        let request = Message::parse(bytes)?;
        let Some(notification) = Notification::of(&request) else { return Ok(Told::Other) };
        let call_id = request.header(Name::CallId).unwrap_or_default();
        let known = match self.subscriptions.get_mut(call_id) {
            Some(subscription) => Some(subscription.receive(&request)),
            // The registration has a subscription of its own, which nobody asked for in a SUBSCRIBE.
            None if call_id == self.registration.call_id => Some(Ok(())),
            None => None,
        };
        if request.method() == Some("NOTIFY") {
            let (code, reason) = match known {
                Some(Ok(())) => (200, "OK"),
                Some(Err(DialogError::OutOfOrder { .. })) => (500, "Server Internal Error"),
                _ => (481, "Call Leg/Transaction Does Not Exist"),
            };
            let mut draft = Draft::answer(&request, code, reason, &self.registration.from_tag);
            draft.header("User-Agent", &self.registration.user_agent);
            self.link.send_signed(draft, None).await?;
        }
        Ok(if let Some(Ok(())) = known { Told::Notification(notification) } else { Told::Stale })
    }

    async fn response(&mut self, key: &ClientKey) -> Result<Response, LinkError> {
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

    /// Shows the server that the connection is alive.
    pub async fn keep_alive(&mut self) -> Result<(), LinkError> {
        self.link.keep_alive().await
    }

    /// When something was last sent.
    pub fn last_sent(&self) -> Duration {
        self.link.last_sent()
    }

    /// The door the connection was opened through.
    pub fn io(&self) -> &'a dyn Io {
        self.link.io()
    }

    /// What another round of authentication needs: the connection, the registration, and its last CSeq.
    pub(crate) fn parts(&mut self) -> (&mut Link<'a>, &Registration, &mut u32) {
        (&mut self.link, &self.registration, &mut self.register_cseq)
    }

    /// Why the endpoint is signed in at this server no more: the server's own word, if it left one, else that the connection
    /// has ended. What arrived before that and was not read is read now.
    pub(crate) async fn ended(&mut self, server: &str) -> Option<RegisterFailure> {
        let own = self.registration.call_id.clone();
        let told = |bytes: &[u8]| {
            let request = Message::parse(bytes).ok()?;
            let is_own = request.header(Name::CallId) == Some(own.as_str());
            Notification::of(&request).filter(|_| is_own)?.end_of_registration()
        };
        let mut last_word = self.link.waiting().find_map(told);
        let lost = self.link.ended().map(ToString::to_string);
        let deadline = self.io().now().since_start + LAST_WORD;
        while let (Some(_), None) = (&lost, &last_word) {
            let left = deadline.saturating_sub(self.io().now().since_start);
            let Ok(bytes) = self.link.next_request(left).await else { break };
            last_word = told(&bytes);
        }
        let server = server.to_owned();
        match last_word {
            Some((event, why)) => Some(RegisterFailure::SignedOut { server, event, why }),
            None => lost.map(|why| RegisterFailure::ConnectionLost { server, why }),
        }
    }

    /// Gives the connection up, without a word: it is dead.
    pub async fn abandon(self) {
        self.link.close().await;
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
        self.response(&ClientKey { call_id, cseq: format!("{} REGISTER", self.register_cseq) }).await
    }
}

impl crate::provision::client::Session for Session<'_> {
    fn exchange(&mut self, requests: Vec<Request>) -> Pending<'_, Vec<Result<Response, SessionError>>> {
        Box::pin(async move {
            let mut sent = Vec::with_capacity(requests.len());
            for request in &requests {
                let (draft, key) = match self.draft(request) {
                    Ok(written) => written,
                    Err(error) => {
                        sent.push(Err(SessionError(error.to_string())));
                        continue;
                    }
                };
                let subscribes = (request.method == "SUBSCRIBE").then(|| draft.clone().finish());
                let gone = self.link.send_signed(draft, None).await;
                sent.push(gone.map(|()| (key, subscribes)).map_err(|error| SessionError(error.to_string())));
            }
            let mut answers = Vec::with_capacity(sent.len());
            for sent in sent {
                answers.push(match sent {
                    Ok((key, subscribes)) => {
                        let answer = self.response(&key).await;
                        if let (Ok(answer), Some(request)) = (&answer, subscribes) {
                            self.subscribed(&request, answer, &key);
                        }
                        answer.map_err(|error| SessionError(error.to_string()))
                    }
                    Err(error) => Err(error),
                });
            }
            answers
        })
    }
}
