//! Tickets over HTTP that are taken, and each kind that is not; NTLM beside them.

use super::{Accepts, Admission, Gate};
use crate::authenticate::verifier::KerberosVerifier;
use crate::discover::tests::deployment::{PASSWORD, People};
use crate::io::{Io, Operation};
use crate::testing::realm::{Realm, sealed_part};
use crate::testing::{EPOCH, World};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::channel_bindings::ChannelBindings;
use mechanism::kerberos::ReplayCache;
use mechanism::ntlm::{self, Entropy, Mode, NtHash, Purpose, TargetNames};
use mechanism::user_certificate::{UserCertificateAuthority, new_key};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const WEB: &str = "pool1.contoso.test";
const HTTP: &str = "http/pool1.contoso.test";
const SIP: &str = "sip/pool1.contoso.test";

/// A web site that takes tickets and passwords.
struct Site {
    world: World,
    realm: Realm,
    accepts: Accepts,
}

impl Site {
    fn new() -> Site {
        let world = World::new();
        let realm = Realm::new(1, &["alice"], &[HTTP, SIP]);
        let replays = Arc::new(Mutex::new(ReplayCache::new(100)));
        let verifier = KerberosVerifier::new(realm.acceptor(), replays, Arc::new(world.clone()));
        let names = TargetNames {
            netbios_domain: "CONTOSO".to_owned(),
            netbios_computer: "POOL1".to_owned(),
            dns_domain: "contoso.test".to_owned(),
            dns_computer: WEB.to_owned(),
        };
        let kerberos = Some(Arc::new(verifier));
        let accepts =
            Accepts { ntlm: Some(Arc::new(People)), kerberos, hosts: vec![WEB.to_owned()], names, channel: None };
        Site { world, realm, accepts }
    }

    fn gate(&self) -> Gate {
        Gate::new(self.accepts.clone())
    }

    fn admit(&self, gate: &mut Gate, authorization: &str) -> Admission {
        let value = Some(authorization).filter(|value| !value.is_empty());
        self.world.run(gate.admit(value, &self.world))
    }

    fn now(&self) -> i64 {
        Io::now(&self.world).unix_seconds
    }

    /// A token for that service, made now.
    fn token(&self, service: &str) -> Vec<u8> {
        let ticket = self.realm.ticket("alice", service, self.now());
        self.realm.show(&ticket, self.now(), true).token().to_vec()
    }

    /// What a new connection says to a token.
    fn cause(&self, token: &[u8]) -> Option<&'static str> {
        match self.admit(&mut self.gate(), &negotiate(token)) {
            Admission::Refused { cause, why, last: false } => {
                assert!(!why.is_empty());
                cause
            }
            other => panic!("{other:?}"),
        }
    }
}

fn negotiate(token: &[u8]) -> String {
    format!("Negotiate {}", STANDARD.encode(token))
}

fn bare() -> Admission {
    Admission::Challenge(vec!["Negotiate".to_owned(), "NTLM".to_owned()])
}

#[test]
fn a_ticket_opens_the_connection_for_good() {
    let site = Site::new();
    let mut gate = site.gate();
    assert_eq!(site.admit(&mut gate, ""), bare());
    let Admission::Granted { account, proof } = site.admit(&mut gate, &negotiate(&site.token(HTTP))) else {
        panic!("refused");
    };
    assert_eq!(account.user, "alice@CONTOSO.TEST");
    assert!(proof.is_some_and(|value| value.starts_with("Negotiate ")), "SPNEGO wants an answer");
    assert_eq!(site.admit(&mut gate, ""), Admission::Granted { account, proof: None });
    assert_eq!(site.admit(&mut site.gate(), ""), bare(), "another connection has proven nothing");
}

#[test]
fn each_wrong_ticket_has_its_cause() {
    let site = Site::new();
    let good = site.token(HTTP);
    let sealed = sealed_part(&good, WEB);
    let altered = |at: usize| {
        let mut token = good.clone();
        token[at] ^= 1;
        token
    };
    let stranger = Realm::new(2, &["alice"], &[HTTP]);
    let of_stranger = stranger.show(&stranger.ticket("alice", HTTP, EPOCH), EPOCH, true).token().to_vec();
    let early = site.realm.show(&site.realm.ticket("alice", HTTP, EPOCH), EPOCH - 600, true).token().to_vec();
    assert_eq!(site.cause(&altered(sealed)), Some("krb-ap-modified"), "the ticket");
    assert_eq!(site.cause(&altered(good.len() - 1)), Some("krb-altered"), "the authenticator");
    assert_eq!(site.cause(&of_stranger), Some("krb-ap-modified"), "of a KDC with other keys");
    assert_eq!(site.cause(&site.token(SIP)), Some("auth-target-mismatch"), "for another service of ours");
    assert_eq!(site.cause(&early), Some("auth-clock-skew"));
    assert_eq!(site.cause(b"no token"), Some("krb-token-refused"));
    assert!(matches!(site.admit(&mut site.gate(), &negotiate(&good)), Admission::Granted { .. }), "it was never used");
}

#[test]
fn a_token_is_taken_once_and_not_on_another_connection_either() {
    let site = Site::new();
    let token = site.token(HTTP);
    let mut gate = site.gate();
    assert!(matches!(site.admit(&mut gate, &negotiate(&token)), Admission::Granted { .. }));
    assert_eq!(site.cause(&token), Some("krb-replayed"));
    let again = site.admit(&mut gate, &negotiate(&token));
    assert!(matches!(again, Admission::Refused { cause: Some("krb-replayed"), .. }), "{again:?}");
    assert_eq!(site.admit(&mut gate, ""), bare(), "whoever shows something wrong has proven nothing any more");
}

#[test]
fn a_ticket_that_is_over_is_over() {
    let site = Site::new();
    let ticket = site.realm.ticket("alice", HTTP, EPOCH);
    let over = Duration::from_secs(u64::try_from(ticket.ends() - EPOCH).expect("later") + 301);
    site.world.run(site.world.perform(Operation::Wait { time: over }));
    let token = site.realm.show(&ticket, site.now(), true).token().to_vec();
    assert_eq!(site.cause(&token), Some("krb-ticket-expired"));
}

#[test]
fn four_wrong_answers_end_the_connection_whatever_they_are() {
    let site = Site::new();
    let mut gate = site.gate();
    let mut last = Vec::new();
    for value in ["Negotiate AAAA", "NTLM AAAA", "Negotiate AAAA", "NTLM AAAA"] {
        match site.admit(&mut gate, value) {
            Admission::Refused { last: ends, .. } => last.push(ends),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(last, [false, false, false, true]);
    assert!(matches!(site.admit(&mut gate, &negotiate(&site.token(HTTP))), Admission::Granted { .. }));
    assert!(matches!(site.admit(&mut gate, "NTLM AAAA"), Admission::Refused { last: false, .. }), "counted anew");
}

#[test]
fn of_passwords_no_cause_is_told() {
    let site = Site::new();
    let log_on = |user: &str, password: &str| {
        let mut gate = site.gate();
        let first = ntlm::negotiate();
        let asked = site.admit(&mut gate, &format!("NTLM {}", STANDARD.encode(&first)));
        let Admission::Challenge(challenges) = asked else { panic!("{asked:?}") };
        let challenge = challenges[0].strip_prefix("NTLM ").expect("of NTLM");
        let challenge = STANDARD.decode(challenge).expect("base64");
        let credentials = ntlm::Credentials {
            user: user.to_owned(),
            domain: "CONTOSO".to_owned(),
            workstation: String::new(),
            nt_hash: NtHash::of_password(password),
        };
        let entropy = Entropy { client_challenge: [1; 8], session_key: [2; 16] };
        let answer = ntlm::answer(Mode::Connection, Some(&first), &challenge, &credentials, &entropy, 0);
        site.admit(&mut gate, &format!("NTLM {}", STANDARD.encode(answer.expect("an answer").message)))
    };
    assert!(matches!(log_on("alice", PASSWORD), Admission::Granted { proof: None, .. }));
    for (user, password) in [("alice", "wrong"), ("nobody", PASSWORD)] {
        let refused = log_on(user, password);
        assert!(matches!(refused, Admission::Refused { cause: None, last: false, .. }), "{refused:?}");
    }
}

#[test]
fn an_answer_made_for_another_server_or_connection_is_refused() {
    let (certificate, other) = (certificate(1), certificate(2));
    let channel = ChannelBindings::of_certificate(&certificate);
    let behind_tls = |channel| {
        let mut site = Site::new();
        site.accepts.channel = channel;
        site
    };
    let log_on = |site: &Site, purpose: Option<&Purpose>| {
        let mut gate = site.gate();
        let first = ntlm::negotiate();
        let asked = site.admit(&mut gate, &format!("NTLM {}", STANDARD.encode(&first)));
        let Admission::Challenge(challenges) = asked else { panic!("{asked:?}") };
        let challenge = STANDARD.decode(challenges[0].strip_prefix("NTLM ").expect("of NTLM")).expect("base64");
        let credentials = ntlm::Credentials {
            user: "alice".to_owned(),
            domain: "CONTOSO".to_owned(),
            workstation: String::new(),
            nt_hash: NtHash::of_password(PASSWORD),
        };
        let (entropy, mode) = (Entropy { client_challenge: [1; 8], session_key: [2; 16] }, Mode::Connection);
        let answer = ntlm::answer_for(purpose, mode, Some(&first), &challenge, &credentials, &entropy, 0);
        match site.admit(&mut gate, &format!("NTLM {}", STANDARD.encode(answer.expect("an answer").message))) {
            Admission::Granted { .. } => Ok(()),
            Admission::Refused { why, cause: None, last: false } => Err(why),
            other => panic!("{other:?}"),
        }
    };
    let for_it = |target_name: &str, channel| Purpose { target_name: target_name.to_owned(), channel };
    let elsewhere = ChannelBindings::of_certificate(&other);
    let ours = behind_tls(channel);
    assert_eq!(log_on(&ours, None), Ok(()), "pidgin-sipe and curl say nothing");
    for good in ["HTTP/pool1.contoso.test", "http/POOL1.contoso.test", "HTTP/pool1.contoso.test:443"] {
        for channel in [channel, None] {
            assert_eq!(log_on(&ours, Some(&for_it(good, channel))), Ok(()), "{good}");
        }
    }
    let connection = "the answer was made for another TLS connection".to_owned();
    assert_eq!(log_on(&ours, Some(&for_it("HTTP/pool1.contoso.test", elsewhere))), Err(connection));
    for name in ["HTTP/files.contoso.test", "cifs/pool1.contoso.test", "pool1.contoso.test"] {
        let why = format!("the answer was made for another service: {name}");
        assert_eq!(log_on(&ours, Some(&for_it(name, channel))), Err(why));
    }
    let proxied = behind_tls(None);
    assert_eq!(log_on(&proxied, Some(&for_it("HTTP/pool1.contoso.test", elsewhere))), Ok(()), "TLS ends before it");
}

#[test]
fn a_token_made_for_another_connection_is_refused() {
    let [ours, other] = [1, 2].map(|serial| ChannelBindings::of_certificate(&certificate(serial)));
    let mut site = Site::new();
    let mut shown = |site_is: Option<ChannelBindings>, channel| {
        site.accepts.channel = site_is;
        let ticket = site.realm.ticket("alice", HTTP, site.now());
        let token = site.realm.show_over(channel, &ticket, site.now(), true);
        match site.admit(&mut site.gate(), &negotiate(token.token())) {
            Admission::Granted { .. } => Ok(()),
            Admission::Refused { why, cause: None, last: false } => Err(why),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(shown(ours, ours), Ok(()));
    assert_eq!(shown(ours, None), Ok(()), "clients that say nothing are taken as before");
    assert_eq!(shown(ours, other), Err("the token was made for another TLS connection".to_owned()));
    assert_eq!(shown(None, other), Ok(()), "TLS ends before it");
}

fn certificate(serial: u8) -> Vec<u8> {
    let key = new_key(1024).expect("a key");
    UserCertificateAuthority::certify(&key, [serial; 16], 0, Duration::from_secs(60)).expect("DER")
}

#[test]
fn what_is_not_accepted_is_neither_offered_nor_taken() {
    let site = Site::new();
    let without = |change: fn(&mut Accepts)| {
        let mut accepts = site.accepts.clone();
        change(&mut accepts);
        Gate::new(accepts)
    };
    let mut no_tickets = without(|accepts| accepts.kerberos = None);
    assert_eq!(no_tickets.challenges(), ["NTLM"]);
    let refused = site.admit(&mut no_tickets, &negotiate(&site.token(HTTP)));
    assert!(matches!(refused, Admission::Refused { cause: None, .. }), "{refused:?}");
    let mut no_passwords = without(|accepts| accepts.ntlm = None);
    assert_eq!(no_passwords.challenges(), ["Negotiate"]);
    let first = format!("NTLM {}", STANDARD.encode(ntlm::negotiate()));
    let refused = site.admit(&mut no_passwords, &first);
    assert!(matches!(refused, Admission::Refused { cause: None, .. }), "{refused:?}");
}
