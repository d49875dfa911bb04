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
use super::message::{Challenge, Credentials, Version};
use super::offer::{Asked, Keys, Offer, Offers, Proof, TlsDsk};
use super::verifier::{Identity, Refusal};
use crate::io::ConnId;
use crate::name::Aor;
use crate::recent::{Limits, Recent};
use crate::register::endpoint::InstanceId;
use crate::reply::Diagnostics;
use crate::service::network_of;
use mechanism::ntlm::{Acceptor, Mode, TargetNames};
use mechanism::tls_dsk::ServerHandshake;
use sip::{Draft, Message, Name};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

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

/// The far end of the connection that a request came over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The connection.
    pub conn: ConnId,
    /// Its address.
    pub address: IpAddr,
}

impl Peer {
    fn network(&self) -> IpAddr {
        network_of(self.address)
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

/// A handshake under way.
struct Handshake {
    peer: Peer,
    claim: Claim,
    awaits: Awaits,
    until: Duration,
}

/// What a handshake waits for.
enum Awaits {
    /// NTLM: the AUTHENTICATE to this CHALLENGE.
    Answer(Box<Acceptor>),
    /// TLS-DSK: the next flight.
    Flight(Box<ServerHandshake>),
    /// TLS-DSK: a message signed with these keys.
    Signature { keys: Box<Keys>, version: Option<Version> },
}

/// An association in use, and whose it is.
struct Established {
    association: Association,
    claim: Claim,
    identity: Identity,
    /// The identity owns the claimed address. Proving who one is does not prove that.
    owner: bool,
    until: Duration,
}

/// The latest association of each endpoint, and the one before it. The identity is part of the key, for an endpoint is
/// only claimed: who logs on as himself and claims somebody else's address must not end that other one's association.
type Current = HashMap<(Aor, InstanceId, Identity), Latest>;

struct Latest {
    opaque: String,
    before: Option<String>,
}

/// Every handshake and association of one server.
pub struct Associations {
    settings: Settings,
    handshakes: HashMap<String, Handshake>,
    handshakes_of: HashMap<ConnId, Vec<String>>,
    handshakes_from: HashMap<IpAddr, usize>,
    /// Tokens refused since the last one that was right.
    refusals: HashMap<ConnId, u32>,
    established: HashMap<String, Established>,
    current: Current,
    /// When handshakes and associations end, soonest first: one time of each.
    due: BTreeSet<(Duration, String)>,
    /// Associations without a registration.
    resting: Recent<Aor, String>,
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
        Associations {
            settings,
            handshakes: HashMap::new(),
            handshakes_of: HashMap::new(),
            handshakes_from: HashMap::new(),
            refusals: HashMap::new(),
            established: HashMap::new(),
            current: HashMap::new(),
            due: BTreeSet::new(),
            resting: Recent::new(resting),
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

    fn is_full(&self, peer: Peer) -> bool {
        let here = self.handshakes_of.get(&peer.conn).map_or(0, Vec::len);
        let from_there = self.handshakes_from.get(&peer.network()).copied().unwrap_or(0);
        here >= self.settings.handshakes_per_connection
            || from_there >= self.settings.handshakes_per_address
            || self.handshakes.len() >= self.settings.handshakes
    }

    /// First leg of NTLM: sends the CHALLENGE. `[MS-SIPAE]` §3.3.5.1.
    fn begin_ntlm(&mut self, moment: &Moment<'_>, peer: Peer, claim: Claim, credentials: &Credentials) -> Examined {
        if self.is_full(peer) {
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
        self.keep_handshake(opaque.clone(), Handshake { peer, claim, awaits, until });
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
        if self.is_full(peer) {
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
            if !self.handshakes.contains_key(&opaque) && !self.established.contains_key(&opaque) {
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
        let Some(handshake) = self.take_handshake(peer, opaque) else {
            return self.challenge(None, Some("an answer to no challenge of ours".to_owned()));
        };
        if handshake.until <= moment.now
            || handshake.claim.aor != claim.aor
            || handshake.claim.instance != claim.instance
        {
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

    fn keep_handshake(&mut self, opaque: String, handshake: Handshake) {
        self.handshakes_of.entry(handshake.peer.conn).or_default().push(opaque.clone());
        *self.handshakes_from.entry(handshake.peer.network()).or_default() += 1;
        self.due.insert((handshake.until, opaque.clone()));
        self.handshakes.insert(opaque, handshake);
    }

    fn take_handshake(&mut self, peer: Peer, opaque: &str) -> Option<Handshake> {
        self.handshakes.get(opaque).filter(|handshake| handshake.peer.conn == peer.conn)?;
        self.forget_handshake(opaque)
    }

    fn forget_handshake(&mut self, opaque: &str) -> Option<Handshake> {
        let handshake = self.handshakes.remove(opaque)?;
        self.due.remove(&(handshake.until, opaque.to_owned()));
        let Peer { conn, .. } = handshake.peer;
        if let Some(list) = self.handshakes_of.get_mut(&conn) {
            list.retain(|other| other != opaque);
            if list.is_empty() {
                self.handshakes_of.remove(&conn);
            }
        }
        let network = handshake.peer.network();
        if let Some(count) = self.handshakes_from.get_mut(&network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.handshakes_from.remove(&network);
            }
        }
        Some(handshake)
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
        if self.is_full(handshake.peer) {
            return self.challenge(None, Some("too many handshakes under way".to_owned()));
        }
        let opaque = credentials.opaque.clone().unwrap_or_else(|| self.new_opaque(moment));
        self.keep_handshake(opaque.clone(), handshake);
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
        let endpoint = (claim.aor.clone(), claim.instance, identity.clone());
        let before = self.current.remove(&endpoint);
        // Two of one endpoint are enough for messages under way, however often it authenticates.
        if let Some(oldest) = before.as_ref().and_then(|before| before.before.as_ref()) {
            self.forget(oldest);
        }
        let before = before.map(|before| before.opaque);
        if let Some(before) = &before {
            self.shorten(before, moment.now + self.settings.replaced_lifetime);
        }
        self.current.insert(endpoint, Latest { opaque: opaque.clone(), before });
        let left = ends.map_or(u64::MAX, |ends| u64::try_from(ends.saturating_sub(moment.unix_seconds)).unwrap_or(0));
        let until = moment.now + self.settings.association_lifetime.min(Duration::from_secs(left));
        let (owned_claim, owned_identity) = (claim.clone(), identity.clone());
        let established =
            Established { association, claim: owned_claim, identity: owned_identity, owner: false, until };
        self.due.insert((until, opaque.clone()));
        self.established.insert(opaque.clone(), established);
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
        if self.awaits_signature(opaque) {
            return self.complete(moment, peer, claim, credentials, opaque, message);
        }
        let error = match (self.established.get_mut(opaque), &credentials.signature) {
            (None, _) => return self.challenge(None, Some("an association that is not known".to_owned())),
            (Some(known), _) if known.until <= moment.now => {
                self.forget(opaque);
                return self.challenge(None, Some("the association has expired".to_owned()));
            }
            (Some(known), Some(signature))
                if known.association.scheme == credentials.scheme
                    && known.claim.aor == claim.aor
                    && known.claim.instance == claim.instance =>
            {
                match known.association.check_client(signature, message) {
                    Ok(()) => {
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

    fn awaits_signature(&self, opaque: &str) -> bool {
        self.handshakes.get(opaque).is_some_and(|handshake| matches!(handshake.awaits, Awaits::Signature { .. }))
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
        match self.take_handshake(peer, opaque) {
            Some(Handshake { claim: begun, awaits: Awaits::Signature { keys, version }, until, .. })
                if until > moment.now && begun.aor == claim.aor && begun.instance == claim.instance =>
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
        let known = credentials.opaque.and_then(|opaque| self.established.get_mut(&opaque));
        let own = known.filter(|known| known.claim.aor == *aor && known.claim.instance == instance);
        own.ok_or(SignatureError::OtherAssociation)?.association.check_client(&signature, response)
    }

    /// Signs what goes to the endpoint of this association. `None`: there is no such association (any more).
    pub fn sign(&mut self, moment: &Moment<'_>, opaque: &str, mut draft: Draft) -> Option<Vec<u8>> {
        let known = self.established.get_mut(opaque)?;
        known.association.sign_as_server(&mut draft, u32::from_be_bytes(moment.bytes())).ok()?;
        Some(draft.finish())
    }

    /// Notes that the identity of this association owns the address it claims.
    pub fn found_owner(&mut self, opaque: &str) {
        if let Some(known) = self.established.get_mut(opaque) {
            known.owner = true;
        }
    }

    /// The latest association of the endpoint and the identity that this one belongs to.
    pub fn latest<'a>(&'a self, opaque: &'a str) -> &'a str {
        let known = self.established.get(opaque);
        let endpoint = known.map(|known| (known.claim.aor.clone(), known.claim.instance, known.identity.clone()));
        endpoint.and_then(|endpoint| self.current.get(&endpoint)).map_or(opaque, |latest| &latest.opaque)
    }

    /// An association ends at this time, if not before.
    fn shorten(&mut self, opaque: &str, until: Duration) {
        let Some(known) = self.established.get_mut(opaque).filter(|known| known.until > until) else { return };
        self.due.remove(&(known.until, opaque.to_owned()));
        self.due.insert((until, opaque.to_owned()));
        known.until = until;
    }

    /// The registration is over that this association belonged to. It is kept for a while, for the endpoint may come
    /// back; but whoever comes and goes under ever new names has no more than a few of them.
    pub fn rest(&mut self, opaque: &str, now: Duration) {
        let Some(known) = self.established.get(opaque) else { return };
        let endpoint = (known.claim.aor.clone(), known.claim.instance, known.identity.clone());
        let before = match self.current.get_mut(&endpoint) {
            Some(latest) if latest.opaque == opaque => latest.before.take(),
            // It was replaced: it ends soon, and with its endpoint.
            Some(latest) if latest.before.as_deref() == Some(opaque) => return,
            _ => None,
        };
        let (aor, ..) = &endpoint;
        let superfluous = self.resting.put(aor, opaque.to_owned(), now).into_iter().map(|(_, oldest)| oldest);
        for opaque in superfluous.chain(before) {
            self.forget(&opaque);
        }
    }

    /// There is a registration again that this association belongs to.
    pub fn serve(&mut self, opaque: &str) {
        if let Some(known) = self.established.get(opaque) {
            self.resting.take(&known.claim.aor, &opaque.to_owned());
        }
    }

    /// Ends an association (un-REGISTER, deregistration, a claim that is not the identity's).
    pub fn forget(&mut self, opaque: &str) {
        if let Some(gone) = self.established.remove(opaque) {
            self.due.remove(&(gone.until, opaque.to_owned()));
            self.resting.take(&gone.claim.aor, &opaque.to_owned());
            let endpoint = (gone.claim.aor, gone.claim.instance, gone.identity);
            if self.current.get(&endpoint).is_some_and(|latest| latest.opaque == opaque) {
                self.current.remove(&endpoint);
            }
        }
    }

    /// Ends what belongs to a closed connection: its handshakes.
    pub fn closed(&mut self, conn: ConnId) {
        self.refusals.remove(&conn);
        for opaque in self.handshakes_of.get(&conn).cloned().unwrap_or_default() {
            self.forget_handshake(&opaque);
        }
    }

    /// Drops what has expired.
    pub fn sweep(&mut self, now: Duration) {
        while self.due.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, opaque)) = self.due.pop_first() else { break };
            self.forget_handshake(&opaque);
            self.forget(&opaque);
        }
        for (_, opaque) in self.resting.expire(now) {
            self.forget(&opaque);
        }
    }

    /// Handshakes under way and associations, for metrics.
    pub fn counts(&self) -> (usize, usize) {
        (self.handshakes.len(), self.established.len())
    }
}

#[cfg(test)]
mod tests;
