//! A client taken apart: each leg of a sign-in by itself, with any account behind any address, and its associations in
//! the open.

#![allow(dead_code)] // each test program uses its own part

pub(crate) mod dialog;

use crate::world::{World, aor, password};
use mechanism::kerberos;
use mechanism::ntlm::Entropy;
use signin::authenticate::association::{Association, MessageKeys};
use signin::authenticate::client::{Choice, challenges, first_leg, last_leg};
use signin::authenticate::message::{Challenge, Credentials, Scheme, Version};
use signin::client::SignIn;
use signin::connect::client::Limits as ConnectLimits;
use signin::discover::AccessLocation;
use signin::discover::client::{Ask, Manual};
use signin::io::{ConnId, Io};
use signin::log_on::LogOn;
use signin::name::AccountName;
use signin::provision::client::Appearance;
use signin::register::client::Registration;
use signin::register::endpoint::Gruu;
use signin::secret::Password;
use sip::framing::{Cut, Limits, cut};
use sip::{Draft, Message};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

const EPID: &str = "a0ae9e6cb0";

/// A whole sign-in at a server known by hand.
pub(crate) fn sign_in(name: &str, host: &str) -> SignIn {
    let manual = Manual { host: format!("{host}.contoso.test"), port: None, view: AccessLocation::Internal };
    SignIn {
        aor: aor(name),
        log_on: Some(log_on(name)),
        choice: Choice::Auto,
        keyring: None,
        epid: EPID.parse().expect("an epid"),
        user_agent: "UCCAPI/16.0.0 Signpost".to_owned(),
        discovery: Ask { manual: vec![manual], ..Ask::default() },
        connect: ConnectLimits::default(),
        proxy: None,
        appearance: Appearance::default(),
        response_limit: Duration::from_secs(10),
    }
}

fn log_on(name: &str) -> LogOn {
    LogOn {
        account: AccountName::parse(&format!("CONTOSO\\{name}")),
        password: Some(Password::new(password(name))),
        tickets: None,
        workstation: "TEST".to_owned(),
    }
}

/// An endpoint that does one thing at a time.
pub(crate) struct Phone {
    world: World,
    host: String,
    conn: ConnId,
    log_on: LogOn,
    registration: Registration,
    cseq: u32,
    association: Option<Association>,
    requests: VecDeque<String>,
}

impl Phone {
    /// An endpoint of that user, connected and silent.
    pub(crate) fn new(world: &World, name: &str, host: &str) -> Phone {
        let mut random = [0; 24];
        Io::fill_random(world, &mut random);
        let epid = EPID.parse().expect("an epid");
        Phone {
            world: world.clone(),
            host: host.to_owned(),
            conn: world.connect(host),
            log_on: log_on(name),
            registration: Registration::new(aor(name), epid, "UCCAPI/16.0.0 Signpost".to_owned(), random),
            cseq: 0,
            association: None,
            requests: VecDeque::new(),
        }
    }

    pub(crate) fn epid(mut self, epid: &str) -> Phone {
        let Registration { aor, user_agent, .. } = self.registration;
        let mut random = [0; 24];
        Io::fill_random(&self.world, &mut random);
        self.registration = Registration::new(aor, epid.parse().expect("an epid"), user_agent, random);
        self
    }

    /// Logs on as somebody else than the address says.
    pub(crate) fn account(mut self, name: &str) -> Phone {
        self.log_on = log_on(name);
        self
    }

    pub(crate) fn conn(&self) -> ConnId {
        self.conn
    }

    /// A new connection; the association stays.
    pub(crate) fn reconnect(&mut self) {
        self.conn = self.world.connect(&self.host);
    }

    /// Goes on over a connection it had.
    pub(crate) fn use_connection(&mut self, conn: ConnId) {
        self.conn = conn;
    }

    pub(crate) fn keep_alive(&self) {
        self.world.send(self.conn, b"\r\n\r\n").expect("open");
    }

    pub(crate) fn take_association(&mut self) -> Association {
        self.association.take().expect("authenticated")
    }

    /// Goes on with another association; gives the one so far.
    pub(crate) fn put_association(&mut self, association: Association) -> Association {
        self.association.replace(association).expect("authenticated")
    }

    /// Authenticates with three REGISTERs; gives the last status.
    pub(crate) fn register(&mut self) -> u16 {
        self.authenticate(|phone| phone.register_draft(None))
    }

    /// Authenticates with this token of Kerberos, and signs with these keys; gives the last answer.
    pub(crate) fn show_ticket(&mut self, token: Vec<u8>, keys: kerberos::MessageKeys) -> (u16, String) {
        let first = self.register_draft(None);
        let (_, text) = self.exchange(first);
        let offered = challenges(&Message::parse(text.as_bytes()).expect("a message"));
        let offer = offered.into_iter().find(|offer| offer.scheme == Scheme::Kerberos).expect("offered");
        let keys = MessageKeys::Kerberos(Box::new(keys));
        let mut association = Association::new(None, offer.scheme, Version::V4, offer.realm, offer.target_name, keys);
        let mut last = self.register_draft(None);
        association.sign_as_client(&mut last, 0x0a0b_0c0d, Some(token)).expect("signable");
        let (code, text) = self.exchange(last);
        if code != 401 {
            let message = Message::parse(text.as_bytes()).expect("a message");
            association.check_server(&message).expect("the server's signature is right");
            self.association = Some(association);
        }
        (code, text)
    }

    /// Begins TLS-DSK with this flight; gives the answer.
    pub(crate) fn show_flight(&mut self, flight: Vec<u8>) -> (u16, String) {
        let first = self.register_draft(None);
        let (_, text) = self.exchange(first);
        let offered = challenges(&Message::parse(text.as_bytes()).expect("a message"));
        let offer = offered.into_iter().find(|offer| offer.scheme == Scheme::TlsDsk).expect("offered");
        let mut draft = self.register_draft(None);
        draft.header("Authorization", Credentials { gssapi_data: Some(flight), ..first_leg(&offer) });
        self.exchange(draft)
    }

    /// A signed REGISTER.
    pub(crate) fn refresh(&mut self, expires: Option<u32>) -> u16 {
        let draft = self.register_draft(expires);
        self.signed(draft)
    }

    /// A signed SUBSCRIBE, after a handshake made of SUBSCRIBEs when there is no association.
    pub(crate) fn subscribe(&mut self, event: &str) -> u16 {
        if self.association.is_some() {
            let draft = self.subscribe_draft(event);
            return self.signed(draft);
        }
        self.authenticate(|phone| phone.subscribe_draft(event))
    }

    /// A REGISTER that proves nothing.
    pub(crate) fn without_credentials(&mut self) -> u16 {
        let draft = self.register_draft(None);
        self.exchange(draft).0
    }

    /// Stops after the CHALLENGE.
    pub(crate) fn first_two_legs(&mut self) -> u16 {
        self.challenge(&|phone| phone.register_draft(None)).map_or(401, |_| 401)
    }

    /// The next request of the server, when its signature is right.
    pub(crate) fn next_request(&mut self) -> Option<String> {
        self.read();
        let text = self.requests.pop_front()?;
        let message = Message::parse(text.as_bytes()).expect("a message");
        self.association.as_mut()?.check_server(&message).ok()?;
        Some(text)
    }

    /// Where others reach this very endpoint.
    pub(crate) fn gruu(&self) -> String {
        let Registration { aor, instance, .. } = &self.registration;
        Gruu { aor: aor.clone(), instance: *instance }.to_string()
    }

    /// Value of From or, without the tag, of To: the address with the endpoint id.
    pub(crate) fn address(&self, tag: &str) -> String {
        let Registration { aor, epid, .. } = &self.registration;
        format!("<{}>;tag={tag};epid={}", aor.to_uri(), epid.as_str())
    }

    /// Signs a message and sends it.
    pub(crate) fn send(&mut self, mut draft: Draft) {
        let association = self.association.as_mut().expect("authenticated");
        association.sign_as_client(&mut draft, 0x0102_0304, None).expect("signable");
        self.world.send(self.conn, &draft.finish()).expect("open");
    }

    /// A signed request of that method, from this endpoint to itself, that is not sent.
    pub(crate) fn signed_text(&mut self, method: &str) -> String {
        let mut draft = match method {
            "REGISTER" => self.register_draft(None),
            _ => self.outside_draft(method),
        };
        let association = self.association.as_mut().expect("authenticated");
        association.sign_as_client(&mut draft, 0x0102_0304, None).expect("signable");
        String::from_utf8(draft.finish()).expect("text")
    }

    /// Sends a message as it is.
    pub(crate) fn send_unsigned(&self, draft: Draft) {
        self.world.send(self.conn, &draft.finish()).expect("open");
    }

    /// Everything that has arrived, in order; each signature is right.
    pub(crate) fn received(&mut self) -> Vec<String> {
        let text = self.world.read(self.conn);
        let (mut rest, mut messages) = (text.as_str(), Vec::new());
        while let Ok(Cut::Message { length }) = cut(rest.as_bytes(), &Limits::default()) {
            let (message, after) = rest.split_at(length);
            let parsed = Message::parse(message.as_bytes()).expect("a message");
            self.association.as_mut().expect("authenticated").check_server(&parsed).expect("signed for this endpoint");
            messages.push(message.to_owned());
            rest = after;
        }
        messages
    }

    /// The CHALLENGE to a REGISTER.
    pub(crate) fn challenged(&mut self) -> Challenge {
        self.challenge(&|phone| phone.register_draft(None)).expect("a challenge")
    }

    /// The REGISTER that answers a CHALLENGE, in this version of the protocol.
    pub(crate) fn answer(&mut self, challenge: &Challenge, version: Version) -> u16 {
        let last = self.register_draft(None);
        self.answer_with(challenge, version, last)
    }

    /// Answers a CHALLENGE without waiting for what comes of it: [`Phone::late_answer`] tells.
    pub(crate) fn begin_answer(&mut self, challenge: &Challenge) {
        let entropy = Entropy { client_challenge: [1; 8], session_key: [2; 16] };
        let unix_seconds = Io::now(&self.world).unix_seconds;
        let password = self.log_on.password.as_ref().expect("phones have passwords");
        let (mut association, answer) =
            last_leg(&self.host, challenge, &self.log_on, password, &entropy, unix_seconds).expect("can be answered");
        let mut last = self.register_draft(None);
        association.sign_as_client(&mut last, 0x0a0b_0c0d, Some(answer)).expect("signable");
        self.world.send(self.conn, &last.finish()).expect("open");
        self.association = Some(association);
    }

    /// Sends a signed REGISTER and does not wait either.
    pub(crate) fn begin_refresh(&mut self) {
        let text = self.signed_text("REGISTER");
        self.world.send(self.conn, text.as_bytes()).expect("open");
    }

    /// Status of the response that has come meanwhile; it need not be signed.
    pub(crate) fn late_answer(&mut self) -> Option<u16> {
        let text = self.read()?;
        Message::parse(text.as_bytes()).expect("a message").status()
    }

    fn authenticate(&mut self, draft: impl Fn(&mut Phone) -> Draft) -> u16 {
        let Some(token) = self.challenge(&draft) else { return 0 };
        let last = draft(self);
        self.answer_with(&token, Version::V4, last)
    }

    /// The request that answers a CHALLENGE.
    pub(crate) fn answer_with(&mut self, token: &Challenge, version: Version, mut last: Draft) -> u16 {
        let entropy = Entropy { client_challenge: [1; 8], session_key: [2; 16] };
        let unix_seconds = Io::now(&self.world).unix_seconds;
        let password = self.log_on.password.as_ref().expect("phones have passwords");
        let (mut association, answer) =
            last_leg(&self.host, token, &self.log_on, password, &entropy, unix_seconds).expect("can be answered");
        association.version = version;
        association.sign_as_client(&mut last, 0x0a0b_0c0d, Some(answer)).expect("signable");
        let (code, text) = self.exchange(last);
        if code != 401 {
            let message = Message::parse(text.as_bytes()).expect("a message");
            association.check_server(&message).expect("the server's signature is right");
        }
        self.association = Some(association);
        code
    }

    fn challenge(&mut self, draft: &impl Fn(&mut Phone) -> Draft) -> Option<Challenge> {
        let first = draft(self);
        let offered = self.challenge_of(first)?;
        let mut second = draft(self);
        second.header("Authorization", first_leg(&offered));
        self.challenge_of(second)
    }

    fn challenge_of(&mut self, draft: Draft) -> Option<Challenge> {
        let (code, text) = self.exchange(draft);
        assert_eq!(code, 401, "{text}");
        challenges(&Message::parse(text.as_bytes()).expect("a message")).into_iter().next()
    }

    fn signed(&mut self, mut draft: Draft) -> u16 {
        let association = self.association.as_mut().expect("authenticated");
        association.sign_as_client(&mut draft, 0x0102_0304, None).expect("signable");
        let (code, text) = self.exchange(draft);
        if code != 401 {
            let message = Message::parse(text.as_bytes()).expect("a message");
            self.association.as_mut().expect("authenticated").check_server(&message).expect("signed by the server");
        }
        code
    }

    fn exchange(&mut self, draft: Draft) -> (u16, String) {
        self.world.send(self.conn, &draft.finish()).expect("open");
        let answer = self.read().expect("an answer");
        (Message::parse(answer.as_bytes()).expect("a message").status().expect("a response"), answer)
    }

    /// The response that has arrived; requests are kept.
    fn read(&mut self) -> Option<String> {
        let text = self.world.read(self.conn);
        let (mut rest, mut response) = (text.as_str(), None);
        while let Ok(Cut::Message { length }) = cut(rest.as_bytes(), &Limits::default()) {
            let (message, after) = rest.split_at(length);
            match message.starts_with("SIP/2.0") {
                true => response = Some(message.to_owned()),
                false => self.requests.push_back(message.to_owned()),
            }
            rest = after;
        }
        response
    }

    fn register_draft(&mut self, expires: Option<u32>) -> Draft {
        self.cseq += 1;
        self.registration.request(self.cseq, local(), expires)
    }

    fn subscribe_draft(&mut self, event: &str) -> Draft {
        let mut draft = self.outside_draft("SUBSCRIBE");
        draft.header("Event", event).header("Supported", "ms-piggyback-first-notify");
        draft
    }

    fn outside_draft(&mut self, method: &str) -> Draft {
        self.cseq += 1;
        let Registration { aor, epid, call_id, from_tag, instance, .. } = &self.registration;
        let uri = aor.to_uri();
        let mut draft = Draft::request(method, &uri);
        draft
            .header("Via", format_args!("SIP/2.0/TLS {}", local()))
            .header("Max-Forwards", 70)
            .header("From", format_args!("<{uri}>;tag={from_tag};epid={}", epid.as_str()))
            .header("To", format_args!("<{uri}>"))
            .header("Call-ID", format_args!("{call_id}-{}", self.cseq))
            .header("CSeq", format_args!("{} {method}", self.cseq))
            .header("Contact", format_args!("<sip:{}>;+sip.instance={}", local(), instance.to_parameter()));
        draft
    }
}

fn local() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 50_001))
}
