//! What is wrong with a server's certificates, each defect told apart.
//!
//! Two sources are read together: the certificates as the server sent them, and what OpenSSL found while it built a
//! chain to its trust store ([`TlsSession::chain_errors`]). OpenSSL alone cannot say "the intermediate was not sent"
//! or "that name is not among these"; the certificates alone cannot say what this machine trusts.

use super::certificate::{CertFacts, date};
use crate::io::TlsSession;
use crate::report::{Certainty, Verdict};

/// All that was found out about a server's certificates. Build it with [`judge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The name the server was expected to have.
    pub name: String,
    /// The certificates as sent, leaf first. Ends before the first that cannot be read.
    pub chain: Vec<CertFacts>,
    /// What is wrong, the gravest first.
    pub defects: Vec<Defect>,
}

/// One thing that is wrong with a chain. Depth 0 is the server's own certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The certificate is its own issuer and not trusted here.
    #[error("its certificate {subject} is self-signed and not trusted on this machine")]
    SelfSigned {
        /// Who.
        subject: String,
    },
    /// The chain is complete, but this machine does not trust where it ends.
    #[error("its certificate chain ends in {root}, which is not trusted on this machine")]
    UntrustedRoot {
        /// Name of the root.
        root: String,
        /// Whether the server sent the root itself; if not, it is known only by name.
        sent: bool,
    },
    /// An issuer between the server and the root was not sent.
    #[error(
        "it does not send the certificate of {issuer}, the issuer of {subject}, and this machine does not know it either"
    )]
    MissingIntermediate {
        /// The last certificate that could be placed.
        subject: String,
        /// Its issuer, which is missing.
        issuer: String,
    },
    /// Past its last day.
    #[error("the certificate {subject} expired on {}, {} ago", date(*.not_after), span(*.seconds))]
    Expired {
        /// 0 for the server's own.
        depth: u32,
        /// Who.
        subject: String,
        /// Seconds since 1970.
        not_after: i64,
        /// How long ago.
        seconds: i64,
    },
    /// Before its first day.
    #[error("the certificate {subject} is valid only from {}, in {}", date(*.not_before), span(*.seconds))]
    NotYetValid {
        /// 0 for the server's own.
        depth: u32,
        /// Who.
        subject: String,
        /// Seconds since 1970.
        not_before: i64,
        /// How long to go.
        seconds: i64,
    },
    /// The certificate speaks for other names.
    #[error("its certificate does not name {asked}, only {}", list(.offered))]
    NameMismatch {
        /// The name it should have.
        asked: String,
        /// The names it has.
        offered: Vec<String>,
    },
    /// The certificate is not meant for servers.
    #[error("the certificate {subject} is not meant for servers (its uses: {})", list(.usages))]
    WrongUsage {
        /// Who.
        subject: String,
        /// What it may be used for.
        usages: Vec<String>,
    },
    /// Taken back by its issuer.
    #[error("the certificate {subject} has been revoked by its issuer")]
    Revoked {
        /// Who.
        subject: String,
    },
    /// Anything else that keeps the chain from being valid, in OpenSSL's words.
    #[error("its certificate chain is not valid at {subject}: {why}")]
    Broken {
        /// Who.
        subject: String,
        /// What is wrong.
        why: String,
    },
    /// Signed with a broken hash. Stops nothing here; newer clients refuse it.
    #[error("the certificate {subject} is signed with {signature}, which newer clients refuse")]
    WeakSignature {
        /// Who.
        subject: String,
        /// Which algorithm.
        signature: String,
    },
    /// A key that is too small. Stops nothing here; newer clients refuse it.
    #[error("the certificate {subject} has a small key ({key}), which newer clients refuse")]
    WeakKey {
        /// Who.
        subject: String,
        /// Kind and size.
        key: String,
    },
    /// The revocation list could not be read. Clients go on.
    #[error("whether {subject} has been revoked could not be found out")]
    RevocationUnknown {
        /// Who.
        subject: String,
    },
}

/// OpenSSL's X509_V_ERR numbers that mean something of their own here; the others are [`Defect::Broken`].
mod code {
    pub(super) const ISSUER_NOT_FOUND: i32 = 2;
    pub(super) const NO_CRL: i32 = 3;
    pub(super) const NOT_YET_VALID: i32 = 9;
    pub(super) const EXPIRED: i32 = 10;
    pub(super) const CRL_NOT_YET_VALID: i32 = 11;
    pub(super) const CRL_EXPIRED: i32 = 12;
    pub(super) const SELF_SIGNED_LEAF: i32 = 18;
    pub(super) const SELF_SIGNED_IN_CHAIN: i32 = 19;
    pub(super) const ISSUER_NOT_FOUND_LOCALLY: i32 = 20;
    pub(super) const LEAF_NOT_VERIFIED: i32 = 21;
    pub(super) const REVOKED: i32 = 23;
    pub(super) const INVALID_PURPOSE: i32 = 26;
    pub(super) const UNTRUSTED: i32 = 27;
    pub(super) const NAME_MISMATCH: i32 = 62;
    pub(super) const ADDRESS_MISMATCH: i32 = 64;
    pub(super) const LEAF_KEY_SMALL: i32 = 66;
    pub(super) const CA_KEY_SMALL: i32 = 67;
    pub(super) const CA_HASH_WEAK: i32 = 68;
}

/// Judges a finished handshake: is this the server called `name`, at `unix_seconds` by this machine's clock?
pub fn judge(session: &TlsSession, name: &str, unix_seconds: i64) -> Judgement {
    let mut chain = Vec::with_capacity(session.chain.len());
    let mut defects = Vec::new();
    for (depth, der) in session.chain.iter().enumerate() {
        match CertFacts::read(der) {
            Ok(facts) => chain.push(facts),
            Err(why) => {
                defects.push(Defect::Broken { subject: format!("certificate {depth}"), why: why.to_string() });
                break;
            }
        }
    }
    let bench = Bench { session, path: path(&chain), unix_seconds };
    match chain.first() {
        Some(leaf) => {
            defects.extend(bench.trust());
            bench.dates(&mut defects);
            bench.name(leaf, name, &mut defects);
            bench.usage(leaf, &mut defects);
        }
        None if defects.is_empty() => {
            defects.push(Defect::Broken { subject: name.to_owned(), why: "no certificate was sent".to_owned() });
        }
        None => {}
    }
    bench.others(&mut defects);
    bench.strength(&mut defects);
    defects.sort_by_key(Defect::rank);
    Judgement { name: name.to_owned(), chain, defects }
}

/// `TLSv1.3 TLS_AES_256_GCM_SHA384, certificate CN=… valid until …, issued by …, name ok, chain trusted`.
pub(super) fn session_proof(session: &TlsSession, judgement: &Judgement) -> String {
    let resumed = if session.resumed { " (resumed)" } else { "" };
    format!("{} {}{resumed}, {}", session.version, session.cipher, judgement.proof())
}

/// The certificates that really lead up from the leaf, each issued by the next. Servers also send needless ones, and
/// in any order.
fn path(chain: &[CertFacts]) -> Vec<&CertFacts> {
    let mut path: Vec<&CertFacts> = chain.first().into_iter().collect();
    while let Some(last) = path.last().copied() {
        let next = chain.iter().find(|c| c.subject == last.issuer && !path.iter().any(|seen| std::ptr::eq(*seen, *c)));
        match next {
            Some(issuer) if !last.self_issued => path.push(issuer),
            _ => break,
        }
    }
    path
}

struct Bench<'a> {
    session: &'a TlsSession,
    path: Vec<&'a CertFacts>,
    unix_seconds: i64,
}

impl Bench<'_> {
    fn found(&self, codes: &[i32]) -> bool {
        self.session.chain_errors.iter().any(|e| codes.contains(&e.code))
    }

    /// At most one defect: where does the chain end, and why is that no good?
    fn trust(&self) -> Option<Defect> {
        let last = *self.path.last()?;
        let no_issuer = [code::ISSUER_NOT_FOUND, code::ISSUER_NOT_FOUND_LOCALLY, code::LEAF_NOT_VERIFIED];
        if self.found(&[code::SELF_SIGNED_LEAF]) && self.path.len() == 1 {
            return Some(Defect::SelfSigned { subject: last.subject.clone() });
        }
        if self.found(&[code::SELF_SIGNED_LEAF, code::SELF_SIGNED_IN_CHAIN, code::UNTRUSTED]) {
            let root = if last.self_issued { &last.subject } else { &last.issuer };
            return Some(Defect::UntrustedRoot { root: root.clone(), sent: last.self_issued });
        }
        if !self.found(&no_issuer) {
            return None;
        }
        // The issuer of the last certificate is neither sent nor known. A server need not send its root, so above an
        // intermediate the missing one most likely is the root. Above the leaf it can be either; its name has to tell.
        let root_by_name = last.issuer.to_lowercase().contains("root");
        Some(if last.self_issued || self.path.len() > 1 || root_by_name {
            Defect::UntrustedRoot { root: last.issuer.clone(), sent: last.self_issued }
        } else {
            Defect::MissingIntermediate { subject: last.subject.clone(), issuer: last.issuer.clone() }
        })
    }

    /// The leaf is held against our clock; the others only where OpenSSL used and refused them, for a needless expired
    /// certificate in the list harms nobody.
    fn dates(&self, defects: &mut Vec<Defect>) {
        for (depth, facts) in self.path.iter().enumerate() {
            let refused = |code| self.session.chain_errors.iter().any(|e| e.code == code && e.depth as usize == depth);
            let (subject, depth32) = (facts.subject.clone(), u32::try_from(depth).unwrap_or(u32::MAX));
            let late = self.unix_seconds.saturating_sub(facts.not_after);
            let early = facts.not_before.saturating_sub(self.unix_seconds);
            if refused(code::EXPIRED) || (depth == 0 && late > 0) {
                let (not_after, seconds) = (facts.not_after, late.max(0));
                defects.push(Defect::Expired { depth: depth32, subject, not_after, seconds });
            } else if refused(code::NOT_YET_VALID) || (depth == 0 && early > 0) {
                let (not_before, seconds) = (facts.not_before, early.max(0));
                defects.push(Defect::NotYetValid { depth: depth32, subject, not_before, seconds });
            }
        }
        for error in &self.session.chain_errors {
            if matches!(error.code, code::EXPIRED | code::NOT_YET_VALID) && error.depth as usize >= self.path.len() {
                let subject = "a certificate of this machine's trust store".to_owned();
                defects.push(Defect::Broken { subject, why: error.text.clone() });
            }
        }
    }

    fn name(&self, leaf: &CertFacts, name: &str, defects: &mut Vec<Defect>) {
        if !leaf.speaks_for(name) {
            defects.push(Defect::NameMismatch { asked: name.to_owned(), offered: leaf.offered() });
        }
    }

    fn usage(&self, leaf: &CertFacts, defects: &mut Vec<Defect>) {
        let wrong = |facts: &CertFacts| Defect::WrongUsage {
            subject: facts.subject.clone(),
            usages: facts.usages.clone().unwrap_or_default(),
        };
        if !leaf.allows_servers() {
            defects.push(wrong(leaf));
            return;
        }
        for error in self.session.chain_errors.iter().filter(|e| e.code == code::INVALID_PURPOSE) {
            match self.path.get(error.depth as usize) {
                Some(facts) if !facts.allows_servers() => defects.push(wrong(facts)),
                _ => defects.push(self.broken(error.depth, &error.text)),
            }
        }
    }

    /// OpenSSL's findings that no rule above has read.
    fn others(&self, defects: &mut Vec<Defect>) {
        for error in &self.session.chain_errors {
            let subject = self.subject(error.depth);
            match error.code {
                code::REVOKED => defects.push(Defect::Revoked { subject }),
                code::NO_CRL | code::CRL_NOT_YET_VALID | code::CRL_EXPIRED => {
                    defects.push(Defect::RevocationUnknown { subject });
                }
                code::ISSUER_NOT_FOUND
                | code::NOT_YET_VALID
                | code::EXPIRED
                | code::SELF_SIGNED_LEAF
                | code::SELF_SIGNED_IN_CHAIN
                | code::ISSUER_NOT_FOUND_LOCALLY
                | code::LEAF_NOT_VERIFIED
                | code::INVALID_PURPOSE
                | code::UNTRUSTED
                | code::NAME_MISMATCH
                | code::ADDRESS_MISMATCH
                | code::LEAF_KEY_SMALL
                | code::CA_KEY_SMALL
                | code::CA_HASH_WEAK => {}
                _ => defects.push(self.broken(error.depth, &error.text)),
            }
        }
        defects.dedup();
    }

    /// A root's own signature protects nothing, so it may be weak.
    fn strength(&self, defects: &mut Vec<Defect>) {
        for facts in &self.path {
            let subject = facts.subject.clone();
            if facts.weak_signature && !facts.self_issued {
                defects.push(Defect::WeakSignature { subject: subject.clone(), signature: facts.signature.clone() });
            }
            if facts.key.weak() {
                defects.push(Defect::WeakKey { subject, key: facts.key.to_string() });
            }
        }
    }

    fn broken(&self, depth: u32, why: &str) -> Defect {
        Defect::Broken { subject: self.subject(depth), why: why.to_owned() }
    }

    fn subject(&self, depth: u32) -> String {
        self.path.get(depth as usize).map_or_else(|| format!("certificate {depth}"), |facts| facts.subject.clone())
    }
}

impl Judgement {
    /// The server's own certificate; `None` when it sent none that can be read.
    pub fn leaf(&self) -> Option<&CertFacts> {
        self.chain.first()
    }

    /// Whether nothing speaks against going on.
    pub fn acceptable(&self) -> bool {
        !self.defects.iter().any(Defect::fatal)
    }

    /// Defects that deserve attention but stop nothing.
    pub fn warnings(&self) -> impl Iterator<Item = &Defect> {
        self.defects.iter().filter(|defect| !defect.fatal())
    }

    /// The verdict over `host`, when there is a fatal defect: the gravest one, and the others named beside it.
    pub fn verdict(&self, host: &str) -> Option<Verdict> {
        let mut fatal = self.defects.iter().filter(|defect| defect.fatal());
        let first = fatal.next()?;
        let mut sentence = format!("{host} cannot be trusted: {first}");
        for other in fatal {
            sentence.push_str("; also ");
            sentence.push_str(&other.to_string());
        }
        Some(Verdict { id: first.id().to_owned(), certainty: first.certainty(), sentence, fix: first.fix() })
    }

    /// The proof in words: `certificate CN=… valid until …, issued by …, name ok, chain trusted`.
    pub fn proof(&self) -> String {
        let Some(leaf) = self.leaf() else { return "no readable certificate".to_owned() };
        let has = |wanted: fn(&Defect) -> bool| self.defects.iter().any(wanted);
        let dates = match () {
            () if has(|d| matches!(d, Defect::Expired { depth: 0, .. })) => "expired on ",
            () if has(|d| matches!(d, Defect::NotYetValid { depth: 0, .. })) => "NOT YET VALID, until ",
            () => "valid until ",
        };
        let name = if has(|d| matches!(d, Defect::NameMismatch { .. })) { "name differs" } else { "name ok" };
        let trusted = !self.defects.iter().any(|d| d.fatal() && !matches!(d, Defect::NameMismatch { .. }));
        let chain = if trusted { "chain trusted" } else { "chain not trusted" };
        format!(
            "certificate {} {dates}{}, issued by {}, {}, {name}, {chain}",
            leaf.subject,
            date(leaf.not_after),
            leaf.issuer,
            leaf.key
        )
    }
}

impl Defect {
    /// Id in the failure catalogue.
    pub fn id(&self) -> &'static str {
        match self {
            Defect::SelfSigned { .. } | Defect::UntrustedRoot { .. } => "tls-untrusted-root",
            Defect::MissingIntermediate { .. } => "tls-missing-intermediate",
            Defect::Expired { .. } => "tls-expired",
            Defect::NotYetValid { .. } => "tls-not-yet-valid",
            Defect::NameMismatch { .. } => "tls-name-mismatch",
            Defect::WrongUsage { .. } => "tls-eku-wrong",
            Defect::Revoked { .. } => "tls-revoked",
            Defect::Broken { .. } => "tls-chain-broken",
            Defect::WeakSignature { .. } | Defect::WeakKey { .. } => "tls-weak-signature",
            Defect::RevocationUnknown { .. } => "tls-revocation-offline",
        }
    }

    /// Whether a client must not go on.
    pub fn fatal(&self) -> bool {
        !matches!(self, Defect::WeakSignature { .. } | Defect::WeakKey { .. } | Defect::RevocationUnknown { .. })
    }

    /// Whether the evidence allows nothing else.
    pub fn certainty(&self) -> Certainty {
        match self {
            Defect::UntrustedRoot { sent: false, .. } | Defect::MissingIntermediate { .. } => Certainty::Consistent,
            _ => Certainty::Certain,
        }
    }

    /// What to do next.
    pub fn fix(&self) -> String {
        match self {
            Defect::SelfSigned { .. } => {
                "have the certificate issued by a certification authority that the clients trust, and assign it".to_owned()
            }
            Defect::UntrustedRoot { root, .. } => format!(
                "install the root {root} on this machine (--ca FILE here); for users outside, use a publicly trusted certificate"
            ),
            Defect::MissingIntermediate { issuer, .. } => format!(
                "install the certificate of {issuer} on the server and assign the server certificate again; if {issuer} is itself the root, install it on this machine (--ca FILE here)"
            ),
            Defect::Expired { depth: 0, .. } => {
                "renew the certificate, assign the new one and restart the service on every member of the pool".to_owned()
            }
            Defect::Expired { subject, .. } => format!("replace {subject} in the server's chain by its successor"),
            Defect::NotYetValid { .. } => {
                "compare the clock of this machine with the server's; if both are right, the issuing authority's is wrong"
                    .to_owned()
            }
            Defect::NameMismatch { asked, .. } => {
                format!("connect by one of the names it has, or reissue the certificate with {asked} among its names")
            }
            Defect::WrongUsage { .. } => {
                "issue the certificate again from a template with the server authentication usage".to_owned()
            }
            Defect::Revoked { .. } => "issue and assign a new certificate".to_owned(),
            Defect::Broken { .. } => "look at the chain the server sends and assign a correct certificate".to_owned(),
            Defect::WeakSignature { .. } | Defect::WeakKey { .. } => {
                "issue the chain again with SHA-256 signatures and keys of at least RSA 2048".to_owned()
            }
            Defect::RevocationUnknown { .. } => {
                "publish the revocation list where this machine can reach it".to_owned()
            }
        }
    }

    /// Gravest first: what makes the others meaningless stands before them.
    fn rank(&self) -> u8 {
        match self {
            Defect::Broken { .. } => 0,
            Defect::SelfSigned { .. } | Defect::UntrustedRoot { .. } => 1,
            Defect::MissingIntermediate { .. } => 2,
            Defect::Expired { .. } => 3,
            Defect::NotYetValid { .. } => 4,
            Defect::Revoked { .. } => 5,
            Defect::NameMismatch { .. } => 6,
            Defect::WrongUsage { .. } => 7,
            Defect::WeakSignature { .. } | Defect::WeakKey { .. } => 8,
            Defect::RevocationUnknown { .. } => 9,
        }
    }
}

/// A length of time for people: `3 days`, `2 hours`, `40 s`.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The first names of a list, and how many there are beyond.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len() {
        0 => "nothing".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}
