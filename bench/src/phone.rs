//! The clients of the benchmarks: an endpoint taken apart, without a socket. Whoever has one carries its bytes.

use crate::deployment::{FRONT_END, aor, login, password, told};
use mechanism::ntlm::Entropy;
use mechanism::tls_dsk::{self, ClientStep};
use net::server::SystemSurroundings;
use signin::authenticate::association::{Association, MessageKeys};
use signin::authenticate::client::{challenges, first_leg, last_leg};
use signin::authenticate::message::{Challenge, Credentials, Scheme, Version};
use signin::log_on::LogOn;
use signin::name::AccountName;
use signin::register::client::Registration;
use signin::service::Surroundings;
use sip::{Draft, Message};
use std::net::SocketAddr;

/// Carries a request to the server, and gives the response.
pub(crate) type Exchange<'a> = &'a mut dyn FnMut(Vec<u8>) -> Result<Vec<u8>, String>;

/// One endpoint of one user.
pub(crate) struct Phone {
    number: usize,
    registration: Registration,
    local: SocketAddr,
    cseq: u32,
    association: Option<Association>,
}

impl Phone {
    /// The only endpoint of the user of that number; `local` is its end of the connection.
    pub(crate) fn new(number: usize, local: SocketAddr) -> Phone {
        let epid = format!("{number:010x}").parse().expect("an epid");
        let mut random = [0; 24];
        random[..8].copy_from_slice(&number.to_be_bytes());
        random[16..].copy_from_slice(&number.to_le_bytes());
        let registration =
            Registration::new(aor(number), epid, "UCCAPI/16.0.4266 OC/16.0.4266 (Skype)".to_owned(), random);
        Phone { number, registration, local, cseq: 0, association: None }
    }

    /// A sign-in with TLS-DSK: four REGISTERs.
    pub(crate) fn sign_in_by_certificate(
        &mut self,
        client: &tls_dsk::Client,
        exchange: Exchange<'_>,
    ) -> Result<(), String> {
        let offer = self.offered(Scheme::TlsDsk, exchange)?;
        let (mut handshake, mut flight) = client.begin().map_err(told)?;
        let mut opaque = None;
        loop {
            let mut draft = self.register();
            let credentials = Credentials {
                scheme: offer.scheme.clone(),
                realm: offer.realm.clone(),
                target_name: offer.target_name.clone(),
                version: offer.version,
                opaque: opaque.clone(),
                gssapi_data: Some(flight),
                signature: None,
            };
            draft.header("Authorization", credentials);
            let leg = self.challenge(Scheme::TlsDsk, draft, exchange)?;
            opaque = leg.opaque.or(opaque);
            match handshake.step(leg.gssapi_data.as_deref().unwrap_or_default()).map_err(told)? {
                ClientStep::Continue(next) => flight = next,
                ClientStep::Finished { keys, .. } => {
                    let keys = MessageKeys::TlsDsk(*keys);
                    let association =
                        Association::new(opaque, offer.scheme, Version::V4, offer.realm, offer.target_name, keys);
                    return self.finish(association, None, exchange);
                }
            }
        }
    }

    /// A sign-in with NTLM: three REGISTERs.
    pub(crate) fn sign_in_by_password(&mut self, exchange: Exchange<'_>) -> Result<(), String> {
        let offer = self.offered(Scheme::Ntlm, exchange)?;
        let mut draft = self.register();
        draft.header("Authorization", first_leg(&offer));
        let challenge = self.challenge(Scheme::Ntlm, draft, exchange)?;
        let password = password(self.number);
        let log_on = LogOn {
            account: AccountName::parse(&login(self.number)),
            password: None,
            tickets: None,
            workstation: "BENCH".to_owned(),
        };
        let entropy = Entropy { client_challenge: [1; 8], session_key: [2; 16] };
        let unix_seconds = SystemSurroundings::new().now().unix_seconds;
        let (association, answer) = last_leg(FRONT_END, &challenge, &log_on, &password, &entropy, unix_seconds)
            .map_err(|error| error.verdict().sentence)?;
        self.finish(association, Some(answer), exchange)
    }

    /// A request to `uri`, ready for more headers, a body, and [`Phone::sign`].
    pub(crate) fn request(&mut self, method: &str, uri: &str, call_id: &str) -> Draft {
        self.cseq += 1;
        let Registration { aor, epid, from_tag, instance, .. } = &self.registration;
        let mut draft = Draft::request(method, uri);
        draft
            .header("Via", format_args!("SIP/2.0/TLS {}", self.local))
            .header("Max-Forwards", 70)
            .header("From", format_args!("<{}>;tag={from_tag};epid={}", aor.to_uri(), epid.as_str()))
            .header("To", format_args!("<{uri}>"))
            .header("Call-ID", call_id)
            .header("CSeq", format_args!("{} {method}", self.cseq))
            .header("Contact", format_args!("<sip:{}>;+sip.instance={}", self.local, instance.to_parameter()));
        draft
    }

    /// The URI of its user.
    pub(crate) fn uri(&self) -> String {
        self.registration.aor.to_uri()
    }

    /// The bytes of a message, signed.
    pub(crate) fn sign(&mut self, mut draft: Draft) -> Result<Vec<u8>, String> {
        let association = self.association.as_mut().ok_or("nobody is signed in")?;
        association.sign_as_client(&mut draft, 0x0102_0304, None).map_err(told)?;
        Ok(draft.finish())
    }

    /// Whether a message of the server is signed for this endpoint.
    pub(crate) fn check(&mut self, bytes: &[u8]) -> Result<(), String> {
        let message = Message::parse(bytes).map_err(told)?;
        self.association.as_mut().ok_or("nobody is signed in")?.check_server(&message).map_err(told)
    }

    /// Whether it is a signed 200.
    pub(crate) fn check_success(&mut self, answer: &[u8]) -> Result<(), String> {
        if !answer.starts_with(b"SIP/2.0 200 ") {
            return Err(format!("the server refused: {}", String::from_utf8_lossy(answer)));
        }
        self.check(answer)
    }

    fn register(&mut self) -> Draft {
        self.cseq += 1;
        self.registration.request(self.cseq, self.local, None)
    }

    /// The last REGISTER, which is answered with a signed 200.
    fn finish(
        &mut self,
        mut association: Association,
        token: Option<Vec<u8>>,
        exchange: Exchange<'_>,
    ) -> Result<(), String> {
        let mut draft = self.register();
        association.sign_as_client(&mut draft, 0x0a0b_0c0d, token).map_err(told)?;
        let answer = exchange(draft.finish())?;
        self.association = Some(association);
        self.check_success(&answer)
    }

    /// What the server offers to whoever shows nothing.
    fn offered(&mut self, scheme: Scheme, exchange: Exchange<'_>) -> Result<Challenge, String> {
        let draft = self.register();
        self.challenge(scheme, draft, exchange)
    }

    fn challenge(&mut self, scheme: Scheme, draft: Draft, exchange: Exchange<'_>) -> Result<Challenge, String> {
        let answer = exchange(draft.finish())?;
        let message = Message::parse(&answer).map_err(told)?;
        let found = challenges(&message).into_iter().find(|challenge| challenge.scheme == scheme);
        found.ok_or_else(|| format!("no challenge of {scheme} in {}", String::from_utf8_lossy(&answer)))
    }
}
