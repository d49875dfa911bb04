//! The server's half: challenges, handshakes, and the check of every request. `[MS-SIPAE]` §3.3.
//!
//! ```text
//!  no credentials ──────────► 401, one challenge for each offer of this side
//!  NTLM, empty token ───────► 401, CHALLENGE, opaque            (half-open, 60 s, few per connection)
//!  NTLM, AUTHENTICATE ──────► asked of the offer ─► right: association, the signature is checked too
//!                                              └──► wrong: 401, all challenges again, 1000
//!  Kerberos, AP-REQ ────────► asked of the offer ─► as above, at once
//!  TLS-DSK, flight ─────────► asked of the offer ─► 401, our flight, opaque; after the last one a signature is due
//!  signature ───────────────► association by opaque, endpoint the same, signature right, number new
//! ```
//!
//! What takes long (a directory far away, RSA) is not done here: it is handed out as a future, [`Examined::Ask`], and what
//! came of it is handed back in.
//!
//! An association is found by its opaque and belongs to one endpoint (address and epid), never to a From tag, a CSeq
//! or a connection: open clients change all of those while they go on using it.

use super::association::{Association, SignatureError};
use super::claim::Claim;
use super::handshakes::{Awaits, Handshake, HandshakeLimits, Handshakes};
use super::in_use::{AssociationsInUse, InUse};
use super::message::{Challenge, Credentials, Version};
use super::offer::{Asked, Keys, Offer, Offers, Proof, TlsDsk};
use super::verifier::{Identity, Refusal};
use crate::io::ConnId;
use crate::name::Aor;
use crate::recent::Limits;
use crate::register::endpoint::InstanceId;
use crate::reply::Diagnostics;
use mechanism::ntlm::{Acceptor, Mode, TargetNames};
use sip::{Draft, Message, Name};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use super::handshakes::Peer;

/// How a server authenticates. Times are from the last handshake message.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Realm of every challenge.
    pub realm: String,
    /// FQDN of this server; target name of every scheme, with `sip/` before it for Kerberos.
    pub fqdn: String,
    /// NetBIOS name of the domain, for the target information of NTLM.
    pub netbios_domain: String,
    /// DNS name of the domain, likewise.
    pub dns_domain: String,
    /// What is offered, and whether to clients from outside.
    pub offers: Offers,
    /// How long an association lives: the client's 8 hours and some slack.
    pub association_lifetime: Duration,
    /// How long a handshake may take.
    pub handshake_lifetime: Duration,
    /// How long an association lives on after its endpoint made a new one, for messages under way.
    pub replaced_lifetime: Duration,
    /// How long an association lives on without a registration, so that an endpoint whose connection broke comes back
    /// without proving itself anew.
    pub resting_lifetime: Duration,
    /// How many associations of one address may rest so; with one more the oldest goes.
    pub resting_per_address: usize,
    /// How many may rest in all.
    pub resting: usize,
    /// Handshakes under way on one connection.
    pub handshakes_per_connection: usize,
    /// Handshakes under way from one address; of IPv6, from one network of 64 bits. Less than all, so that nobody alone
    /// keeps everybody else from beginning one.
    pub handshakes_per_address: usize,
    /// Handshakes under way in all.
    pub handshakes: usize,
    /// Tokens that may be refused on one connection, one after the other, before it is closed: looking at one costs RSA
    /// or a question to a domain controller.
    pub refusals_per_connection: u32,
    /// How far a client's clock may be off in an NTLM answer.
    pub clock_skew: Duration,
}

impl Settings {
    /// The defaults for a server of this name that offers this.
    pub fn new(fqdn: &str, dns_domain: &str, offers: impl Into<Offers>) -> Settings {
        Settings {
            realm: "SIP Communications Service".to_owned(),
            fqdn: fqdn.to_owned(),
            netbios_domain: dns_domain.split('.').next().unwrap_or_default().to_ascii_uppercase(),
            dns_domain: dns_domain.to_owned(),
            offers: offers.into(),
            association_lifetime: Duration::from_secs(8 * 3600 + 900),
            handshake_lifetime: Duration::from_secs(60),
            replaced_lifetime: Duration::from_secs(60),
            resting_lifetime: Duration::from_secs(3600),
            resting_per_address: 8,
            resting: 100_000,
            handshakes_per_connection: 4,
            handshakes_per_address: 5_000,
            handshakes: 20_000,
            refusals_per_connection: 10,
            clock_skew: Duration::from_secs(30 * 60),
        }
    }
}

/// A request whose sender is proven. Only this file makes one, and only from a right signature; the registrar takes nothing
/// else.
#[derive(Debug, Clone)]
pub struct Verified {
    claim: Claim,
    identity: Identity,
    opaque: String,
    fresh: bool,
    owner: bool,
}

impl Verified {
    /// Address, epid and device of the sender.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Who proved himself. Whether the claimed address is his is the registrar's question: see [`Verified::is_owner`].
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Names the association that signs the answer.
    pub fn opaque(&self) -> &str {
        &self.opaque
    }

    /// Whether the identity is known to own the claimed address: [`Associations::found_owner`] was told so earlier in
    /// this association. `false` says only that nobody asked yet.
    pub fn is_owner(&self) -> bool {
        self.owner
    }

    /// Whether this very request completed the handshake.
    pub fn completes_handshake(&self) -> bool {
        self.fresh
    }
}

/// What is to be done with a request.
pub enum Examined {
    /// Its sender is proven.
    Verified(Verified),
    /// Answer 401 with these `WWW-Authenticate` values; unsigned, as there is no association.
    Challenge {
        /// Header values.
        challenges: Vec<String>,
        /// Why, when credentials were refused.
        diagnostics: Option<Diagnostics>,
        /// For the server's log, never for the peer.
        log: Option<String>,
        /// Too many tokens of this connection were refused: close it after the answer.
        last: bool,
    },
    /// Await the future, without any lock held, and hand its outcome to [`Associations::asked`].
    Ask(Asked, Box<Completing>),
    /// Answer 400: the request contradicts itself.
    Refuse(Diagnostics),
    /// No answer at all (ACK and CANCEL are never challenged).
    Drop,
}

/// A handshake message whose token is being looked at.
pub struct Completing {
    peer: Peer,
    claim: Claim,
    credentials: Credentials,
    /// Until when the handshake has to be over.
    until: Duration,
}

/// Every handshake and association of one server.
pub struct Associations {
    settings: Settings,
    handshakes: Handshakes,
    in_use: AssociationsInUse,
    /// Tokens refused since the last one that was right.
    refusals: HashMap<ConnId, u32>,
}

/// Time and randomness of one step, handed in.
pub struct Moment<'a> {
    /// Since the server started.
    pub now: Duration,
    /// Seconds since 1970.
    pub unix_seconds: i64,
    /// Fills bytes with randomness.
    pub random: &'a dyn Fn(&mut [u8]),
}

impl Moment<'_> {
    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.random)(&mut bytes);
        bytes
    }
}

impl Associations {
    /// A server without associations.
    pub fn new(settings: Settings) -> Associations {
        let resting =
            Limits { of_one: settings.resting_per_address, of_all: settings.resting, time: settings.resting_lifetime };
        let handshakes = HandshakeLimits {
            of_connection: settings.handshakes_per_connection,
            of_network: settings.handshakes_per_address,
            of_all: settings.handshakes,
        };
        Associations {
            handshakes: Handshakes::new(handshakes),
            in_use: AssociationsInUse::new(resting, settings.replaced_lifetime),
            refusals: HashMap::new(),
            settings,
        }
    }

    /// Looks at a request: proven, to be challenged, or to be asked about. `[MS-SIPAE]` §3.3.5.
    pub fn examine(&mut self, moment: &Moment<'_>, peer: Peer, message: &Message<'_>) -> Examined {
        let unanswerable = matches!(message.method(), Some("ACK" | "CANCEL"));
        let claim = match Claim::of(message) {
            Ok(claim) => claim,
            Err(_) if unanswerable => return Examined::Drop,
            Err(diagnostics) => return Examined::Refuse(diagnostics),
        };
        let examined = match self.credentials_for_us(message) {
            None => self.challenge(None, None),
            Some((offer, credentials)) => {
                let opaque = credentials.opaque.clone();
                match (&credentials.gssapi_data, opaque.as_deref()) {
                    (Some(token), None) => match offer {
                        Offer::Ntlm(_) if token.is_empty() => self.begin_ntlm(moment, peer, claim, &credentials),
                        Offer::Kerberos(verifier) if !token.is_empty() => {
                            let asked = super::offer::ask_kerberos(verifier, token.clone(), &self.settings.fqdn);
                            self.ask(moment, peer, claim, credentials, asked)
                        }
                        Offer::TlsDsk(offer) if !token.is_empty() => {
                            self.begin_tls(moment, peer, claim, credentials, offer)
                        }
                        _ => self.challenge(None, Some("a first token that is not one of its scheme".to_owned())),
                    },
                    (Some(token), Some(opaque)) if !token.is_empty() => {
                        self.go_on(moment, peer, claim, credentials, &offer, opaque)
                    }
                    (None, Some(opaque)) => self.check(moment, peer, claim, &credentials, opaque, message),
                    _ => self.challenge(None, Some("credentials without a token or an opaque".to_owned())),
                }
            }
        };
        match examined {
            Examined::Challenge { .. } | Examined::Ask(..) if unanswerable => Examined::Drop,
            examined => examined,
        }
    }

    /// Credentials for an offer of ours, with our realm and target, from either header.
    fn credentials_for_us(&self, message: &Message<'_>) -> Option<(Offer, Credentials)> {
        let settings = &self.settings;
        message
            .all(Name::Authorization)
            .chain(message.all(Name::ProxyAuthorization))
            .filter_map(|value| Credentials::parse(value).ok())
            .filter(|credentials| credentials.realm == settings.realm)
            .find_map(|credentials| {
                let offer = settings.offers.iter().find(|offer| offer.scheme() == credentials.scheme)?;
                let ours = credentials.target_name == offer.target_name(&settings.fqdn);
                ours.then(|| (offer.clone(), credentials))
            })
    }

    /// The challenge of every offer.
    fn challenge(&self, diagnostics: Option<Diagnostics>, log: Option<String>) -> Examined {
        let challenge = |offer: &Offer| {
            Challenge {
                scheme: offer.scheme(),
                realm: self.settings.realm.clone(),
                target_name: offer.target_name(&self.settings.fqdn),
                version: Some(Version::V4),
                opaque: None,
                gssapi_data: None,
                sts_uri: offer.sts_uri().map(str::to_owned),
            }
            .to_string()
        };
        Examined::Challenge {
            challenges: self.settings.offers.iter().map(challenge).collect(),
            diagnostics,
            log,
            last: false,
        }
    }

    fn refused(&mut self, peer: Peer, log: impl Into<String>) -> Examined {
        self.refuse(peer, Diagnostics::public(1000, "Final handshake failed"), log.into())
    }

    /// A token was looked at, and was not right.
    fn refuse(&mut self, peer: Peer, diagnostics: Diagnostics, log: String) -> Examined {
        let refusals = self.refusals.entry(peer.conn).or_default();
        *refusals = refusals.saturating_add(1);
        let is_last = *refusals >= self.settings.refusals_per_connection;
        let mut examined = self.challenge(Some(diagnostics), Some(log));
        if let Examined::Challenge { last, .. } = &mut examined {
            *last = is_last;
        }
        examined
    }

    /// The next leg of one handshake: a token of ours, and the opaque that names the handshake.
    fn leg(&self, credentials: &Credentials, opaque: String, token: Vec<u8>) -> Examined {
        let challenge = Challenge {
            scheme: credentials.scheme.clone(),
            realm: self.settings.realm.clone(),
            target_name: credentials.target_name.clone(),
            version: Some(credentials.version.unwrap_or(Version::V4)),
            opaque: Some(opaque),
            gssapi_data: Some(token),
            sts_uri: None,
        };
        Examined::Challenge { challenges: vec![challenge.to_string()], diagnostics: None, log: None, last: false }
    }

    /// First leg of NTLM: sends the CHALLENGE. `[MS-SIPAE]` §3.3.5.1.
    fn begin_ntlm(&mut self, moment: &Moment<'_>, peer: Peer, claim: Claim, credentials: &Credentials) -> Examined {
        if self.handshakes.is_full(peer) {
            return self.challenge(None, Some("too many handshakes under way".to_owned()));
        }
        let names = TargetNames {
            netbios_domain: self.settings.netbios_domain.clone(),
            netbios_computer: self.settings.fqdn.split('.').next().unwrap_or_default().to_ascii_uppercase(),
            dns_domain: self.settings.dns_domain.clone(),
            dns_computer: self.settings.fqdn.clone(),
        };
        let mut acceptor = Acceptor::new(Mode::Datagram, moment.bytes(), names);
        let token = match acceptor.challenge_message(None) {
            Ok(token) => token,
            Err(error) => return self.refused(peer, error.to_string()),
        };
        let opaque = self.new_opaque(moment);
        let until = moment.now + self.settings.handshake_lifetime;
        let awaits = Awaits::Answer(Box::new(acceptor));
        self.handshakes.keep(opaque.clone(), Handshake { peer, claim, awaits, until });
        self.leg(credentials, opaque, token)
    }

    fn ask(&self, moment: &Moment<'_>, peer: Peer, claim: Claim, credentials: Credentials, asked: Asked) -> Examined {
        let until = moment.now + self.settings.handshake_lifetime;
        Examined::Ask(asked, Box::new(Completing { peer, claim, credentials, until }))
    }

    /// First flight of TLS-DSK. The handshake counts among those under way from its first answer on.
    fn begin_tls(
        &mut self,
        moment: &Moment<'_>,
        peer: Peer,
        claim: Claim,
        credentials: Credentials,
        offer: TlsDsk,
    ) -> Examined {
        if self.handshakes.is_full(peer) {
            return self.challenge(None, Some("too many handshakes under way".to_owned()));
        }
        let handshake = match offer.handshakes.begin() {
            Ok(handshake) => Box::new(handshake),
            Err(error) => return self.refused(peer, error.to_string()),
        };
        let flight = credentials.gssapi_data.clone().unwrap_or_default();
        let asked = super::offer::ask_tls(offer, handshake, flight);
        self.ask(moment, peer, claim, credentials, asked)
    }

    fn new_opaque(&self, moment: &Moment<'_>) -> String {
        loop {
            let opaque = hex::encode_upper(moment.bytes::<4>());
            if !self.handshakes.contains(&opaque) && !self.in_use.contains(&opaque) {
                return opaque;
            }
        }
    }

    /// A further leg. What a handshake waits for is good for one token, over the connection it was begun on: nobody else can
    /// go on with it, or end it.
    fn go_on(
        &mut self,
        moment: &Moment<'_>,
        peer: Peer,
        claim: Claim,
        credentials: Credentials,
        offer: &Offer,
        opaque: &str,
    ) -> Examined {
        let Some(handshake) = self.handshakes.take(peer, opaque) else {
            return self.challenge(None, Some("an answer to no challenge of ours".to_owned()));
        };
        if handshake.until <= moment.now || !handshake.claim.is_of(&claim.aor, claim.instance) {
            return self.challenge(None, Some("an answer too late or from another endpoint".to_owned()));
        }
        let token = credentials.gssapi_data.as_deref().unwrap_or_default();
        let asked = match (handshake.awaits, offer) {
            (Awaits::Answer(acceptor), Offer::Ntlm(verifier)) => {
                let skew = self.settings.clock_skew;
                super::offer::ask_ntlm(Arc::clone(verifier), *acceptor, token, moment.unix_seconds, skew)
            }
            (Awaits::Flight(handshake), Offer::TlsDsk(offer)) => {
                super::offer::ask_tls(offer.clone(), handshake, token.to_vec())
            }
            _ => return self.challenge(None, Some("a token that the handshake does not wait for".to_owned())),
        };
        let completing = Completing { peer, claim, credentials, until: handshake.until };
        Examined::Ask(asked, Box::new(completing))
    }

    /// What came of [`Examined::Ask`]; `message` is the one that was examined. A directory that did not answer is the
    /// caller's to report.
    pub fn asked(
        &mut self,
        moment: &Moment<'_>,
        completing: Completing,
        outcome: Result<Proof, Refusal>,
        message: &Message<'_>,
    ) -> Examined {
        let Completing { peer, claim, credentials, until } = completing;
        match outcome {
            Err(refusal) => self.refuse(peer, refusal.diagnostics(), refusal.log()),
            Ok(Proof::Keys(keys)) => self.establish(moment, peer, claim, &credentials, keys, message),
            Ok(Proof::Flight { handshake, flight }) => {
                let awaits = Awaits::Flight(handshake);
                self.wait(moment, Handshake { peer, claim, awaits, until }, &credentials, flight)
            }
            Ok(Proof::LastFlight { keys, flight }) => {
                let awaits = Awaits::Signature { keys: Box::new(keys), version: credentials.version };
                self.wait(moment, Handshake { peer, claim, awaits, until }, &credentials, flight)
            }
        }
    }

    /// Sends a flight, and waits for what comes next. Others may have begun handshakes while it was made.
    fn wait(
        &mut self,
        moment: &Moment<'_>,
        handshake: Handshake,
        credentials: &Credentials,
        flight: Vec<u8>,
    ) -> Examined {
        if self.handshakes.is_full(handshake.peer) {
            return self.challenge(None, Some("too many handshakes under way".to_owned()));
        }
        let opaque = credentials.opaque.clone().unwrap_or_else(|| self.new_opaque(moment));
        self.handshakes.keep(opaque.clone(), handshake);
        self.leg(credentials, opaque, flight)
    }

    /// The keys are there: checks the signature of the message that brought the last token, and begins the association.
    ///
    /// It has to be signed, as version 4 has it, which is all we offer. In version 3 it is not: whoever passes on somebody
    /// else's tokens, without knowing a key, would be signed in with the one message he wants.
    fn establish(
        &mut self,
        moment: &Moment<'_>,
        peer: Peer,
        claim: Claim,
        credentials: &Credentials,
        keys: Keys,
        message: &Message<'_>,
    ) -> Examined {
        let opaque = credentials.opaque.clone().unwrap_or_else(|| self.new_opaque(moment));
        let version = credentials.version.unwrap_or(Version::V4);
        let Keys { identity, keys, ends, token } = keys;
        let mut association = Association::new(
            Some(opaque.clone()),
            credentials.scheme.clone(),
            version,
            credentials.realm.clone(),
            credentials.target_name.clone(),
            keys,
        );
        let Some(signature) = &credentials.signature else {
            return self.refused(peer, format!("the last leg is not signed, in version {}", version.number()));
        };
        if let Err(error) = association.check_client(signature, message) {
            return self.refused(peer, format!("signature of the last leg: {error}"));
        }
        self.refusals.remove(&peer.conn);
        if let Some(token) = token {
            association.send_token(token);
        }
        let left = ends.map_or(u64::MAX, |ends| u64::try_from(ends.saturating_sub(moment.unix_seconds)).unwrap_or(0));
        let until = moment.now + self.settings.association_lifetime.min(Duration::from_secs(left));
        let (claimed, proven, conn) = (claim.clone(), identity.clone(), peer.conn);
        let in_use = InUse { association, claim: claimed, identity: proven, owner: false, conn, until };
        self.in_use.begin(opaque.clone(), in_use, moment.now);
        Examined::Verified(Verified { claim, identity, opaque, fresh: true, owner: false })
    }

    /// A signed request within an association. `[MS-SIPAE]` §3.3.5.2.
    fn check(
        &mut self,
        moment: &Moment<'_>,
        peer: Peer,
        claim: Claim,
        credentials: &Credentials,
        opaque: &str,
        message: &Message<'_>,
    ) -> Examined {
        if self.handshakes.awaits_signature(opaque) {
            return self.complete(moment, peer, claim, credentials, opaque, message);
        }
        let error = match (self.in_use.get_mut(opaque), &credentials.signature) {
            (None, _) => return self.challenge(None, Some("an association that is not known".to_owned())),
            (Some(known), _) if known.until <= moment.now => {
                self.in_use.forget(opaque);
                return self.challenge(None, Some("the association has expired".to_owned()));
            }
            (Some(known), Some(signature))
                if known.association.scheme == credentials.scheme && known.claim.is_of(&claim.aor, claim.instance) =>
            {
                match known.association.check_client(signature, message) {
                    Ok(()) => {
                        known.conn = peer.conn;
                        let identity = known.identity.clone();
                        return Examined::Verified(Verified {
                            claim,
                            identity,
                            opaque: opaque.to_owned(),
                            fresh: false,
                            owner: known.owner,
                        });
                    }
                    Err(error) => error,
                }
            }
            (Some(_), Some(_)) => SignatureError::OtherAssociation,
            (Some(_), None) => SignatureError::Missing,
        };
        self.challenge(Some(Diagnostics::public(1000, "Final handshake failed")), Some(error.to_string()))
    }

    /// The signed message that ends a TLS-DSK handshake. `[MS-SIPAE]` §3.3.5.3.
    fn complete(
        &mut self,
        moment: &Moment<'_>,
        peer: Peer,
        claim: Claim,
        credentials: &Credentials,
        opaque: &str,
        message: &Message<'_>,
    ) -> Examined {
        match self.handshakes.take(peer, opaque) {
            Some(Handshake { claim: begun, awaits: Awaits::Signature { keys, version }, until, .. })
                if until > moment.now && begun.is_of(&claim.aor, claim.instance) =>
            {
                let credentials = Credentials { version: credentials.version.or(version), ..credentials.clone() };
                self.establish(moment, peer, claim, &credentials, *keys, message)
            }
            _ => self.challenge(None, Some("a signature too late or from another endpoint".to_owned())),
        }
    }

    /// Checks a response of that endpoint, if it is signed. `[MS-SIPAE]` §3.3.5 has requests alone; clients sign both.
    pub fn check_response(
        &mut self,
        aor: &Aor,
        instance: InstanceId,
        response: &Message<'_>,
    ) -> Result<(), SignatureError> {
        let Some((_, credentials)) = self.credentials_for_us(response) else { return Ok(()) };
        let signature = credentials.signature.ok_or(SignatureError::Missing)?;
        let known = credentials.opaque.and_then(|opaque| self.in_use.get_mut(&opaque));
        let own = known.filter(|known| known.claim.is_of(aor, instance));
        own.ok_or(SignatureError::OtherAssociation)?.association.check_client(&signature, response)
    }

    /// Signs what goes to the endpoint of this association. `None`: there is no such association (any more).
    pub fn sign(&mut self, moment: &Moment<'_>, opaque: &str, mut draft: Draft) -> Option<Vec<u8>> {
        let known = self.in_use.get_mut(opaque)?;
        known.association.sign_as_server(&mut draft, u32::from_be_bytes(moment.bytes())).ok()?;
        Some(draft.finish())
    }

    /// Notes that the identity of this association owns the address it claims.
    pub fn found_owner(&mut self, opaque: &str) {
        if let Some(known) = self.in_use.get_mut(opaque) {
            known.owner = true;
        }
    }

    /// The latest association of the endpoint and the identity that this one belongs to, over the same connection.
    pub fn latest<'a>(&'a self, opaque: &'a str) -> &'a str {
        self.in_use.latest(opaque)
    }

    /// The registration is over that this association belonged to. It is kept for a while, for the endpoint may come
    /// back; but whoever comes and goes under ever new names has no more than a few of them.
    pub fn rest(&mut self, opaque: &str, now: Duration) {
        self.in_use.rest(opaque, now);
    }

    /// There is a registration again that this association belongs to.
    pub fn serve(&mut self, opaque: &str) {
        self.in_use.serve(opaque);
    }

    /// Ends an association (un-REGISTER, deregistration, a claim that is not the identity's).
    pub fn forget(&mut self, opaque: &str) {
        self.in_use.forget(opaque);
    }

    /// Ends what belongs to a closed connection: its handshakes.
    pub fn closed(&mut self, conn: ConnId) {
        self.refusals.remove(&conn);
        self.handshakes.closed(conn);
    }

    /// Drops what has expired.
    pub fn sweep(&mut self, now: Duration) {
        self.handshakes.sweep(now);
        self.in_use.sweep(now);
    }

    /// Handshakes under way and associations, for metrics.
    pub fn counts(&self) -> (usize, usize) {
        (self.handshakes.len(), self.in_use.len())
    }
}

#[cfg(test)]
mod tests;
