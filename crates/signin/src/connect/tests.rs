//! Chains made by a small authority, judged; and a scripted world in which connections open or do not.

use super::certificate::CertFacts;
use super::{ConnectFailure, Defect, Hop, Judgement, Limits, Open, Proxy, judge, open};
use crate::io::*;
use crate::report::{Certainty, Event};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_RSA_SHA256, RsaKeySize, SubjectPublicKeyInfo,
};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;
use time::OffsetDateTime;

/// The moment of judgement: 2026-06-01.
const TODAY: i64 = 1_780_272_000;
const DAY: i64 = 86_400;
const HOST: &str = "pool1.contoso.test";

fn at(unix_seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap()
}

/// Parameters that are valid around [`TODAY`].
fn named(common_name: &str, names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = at(TODAY - 30 * DAY);
    params.not_after = at(TODAY + 300 * DAY);
    params
}

fn server(names: &[&str]) -> CertificateParams {
    let mut params = named(HOST, names);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

struct Authority {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

fn root(name: &str) -> Authority {
    let (params, key) = (authority(name), KeyPair::generate().unwrap());
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Authority { der, issuer: Issuer::new(params, key) }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Authority {
    fn below(&self, params: CertificateParams) -> Authority {
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Authority { der, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, params: &CertificateParams) -> Vec<u8> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().to_vec()
    }
}

fn session(chain: Vec<Vec<u8>>, errors: &[(u32, i32)]) -> TlsSession {
    TlsSession {
        version: "TLSv1.3".to_owned(),
        cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
        bits: 256,
        chain,
        chain_errors: errors
            .iter()
            .map(|(depth, code)| ChainError { depth: *depth, code: *code, text: format!("error {code}") })
            .collect(),
        resumed: false,
    }
}

fn ids(judgement: &Judgement) -> Vec<&'static str> {
    judgement.defects.iter().map(Defect::id).collect()
}

#[test]
fn a_good_chain_has_no_defect_and_its_proof_says_all() {
    let root = root("Contoso Root CA");
    let good = session(vec![root.issue(&server(&[HOST, "sip.contoso.test"]))], &[]);
    for name in [HOST, "POOL1.contoso.test", "sip.contoso.test", "sip.contoso.test."] {
        let judgement = judge(&good, name, TODAY);
        assert_eq!(judgement.defects, [], "{name}");
        assert!(judgement.acceptable());
    }
    assert_eq!(
        judge(&good, HOST, TODAY).proof(),
        "certificate CN=pool1.contoso.test valid until 2027-03-28 00:00 UTC, issued by CN=Contoso Root CA, EC 256, \
         name ok, chain trusted"
    );
    let facts = CertFacts::read(&good.chain[0]).unwrap();
    assert_eq!(facts.usages.as_deref(), Some(&["serverAuth".to_owned()][..]));
    assert_eq!((facts.signature.as_str(), facts.weak_signature), ("ecdsa-with-SHA256", false));
    assert_eq!((facts.ca, facts.self_issued), (false, false));
}

#[test]
fn where_a_chain_ends_tells_an_untrusted_root_from_a_missing_intermediate() {
    let root = root("Contoso Root CA");
    let middle = root.below(authority("Contoso Issuing CA 2"));
    let below_root = root.issue(&server(&[HOST]));
    let below_middle = middle.issue(&server(&[HOST]));
    let alone = server(&[HOST]).self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    let (root, middle) = (root.der, middle.der);
    type Case<'a> = (&'a str, Vec<Vec<u8>>, &'a [(u32, i32)], &'a str, &'a str, Certainty);
    let table: [Case<'_>; 7] = [
        ("self-signed", vec![alone], &[(0, 18)], "tls-untrusted-root", "self-signed", Certainty::Certain),
        (
            "root sent",
            vec![below_root.clone(), root.clone()],
            &[(1, 19)],
            "tls-untrusted-root",
            "ends in CN=Contoso Root CA",
            Certainty::Certain,
        ),
        (
            "root not sent, above an intermediate",
            vec![below_middle.clone(), middle.clone()],
            &[(1, 20), (0, 21)],
            "tls-untrusted-root",
            "ends in CN=Contoso Root CA",
            Certainty::Consistent,
        ),
        (
            "root not sent, above the leaf, known by its name",
            vec![below_root],
            &[(0, 20), (0, 21)],
            "tls-untrusted-root",
            "ends in CN=Contoso Root CA",
            Certainty::Consistent,
        ),
        (
            "leaf only",
            vec![below_middle.clone()],
            &[(0, 20), (0, 21)],
            "tls-missing-intermediate",
            "certificate of CN=Contoso Issuing CA 2",
            Certainty::Consistent,
        ),
        (
            "leaf and root, the middle missing",
            vec![below_middle.clone(), root.clone()],
            &[(0, 20)],
            "tls-missing-intermediate",
            "certificate of CN=Contoso Issuing CA 2",
            Certainty::Consistent,
        ),
        (
            "all sent, in the wrong order",
            vec![below_middle, root, middle],
            &[(2, 19)],
            "tls-untrusted-root",
            "ends in CN=Contoso Root CA",
            Certainty::Certain,
        ),
    ];
    for (what, chain, errors, id, words, certainty) in table {
        let judgement = judge(&session(chain, errors), HOST, TODAY);
        assert_eq!(ids(&judgement), [id], "{what}");
        let verdict = judgement.verdict(HOST).unwrap();
        assert!(verdict.sentence.contains(words), "{what}: {}", verdict.sentence);
        assert_eq!(verdict.certainty, certainty, "{what}");
    }
}

#[test]
fn dates_name_the_certificate_and_by_how_much() {
    let root = root("Contoso Root CA");
    let leaf = session(vec![root.issue(&server(&[HOST]))], &[]);
    let judgement = judge(&leaf, HOST, TODAY + 303 * DAY);
    assert_eq!(ids(&judgement), ["tls-expired"]);
    assert_eq!(
        judgement.verdict(HOST).unwrap().sentence,
        "pool1.contoso.test cannot be trusted: the certificate CN=pool1.contoso.test expired on \
         2027-03-28 00:00 UTC, 3 days ago"
    );
    assert!(judgement.proof().contains("expired on 2027-03-28"));
    let judgement = judge(&leaf, HOST, TODAY - 30 * DAY - 600);
    assert_eq!(ids(&judgement), ["tls-not-yet-valid"]);
    assert!(judgement.defects[0].to_string().ends_with("in 10 minutes"), "{}", judgement.defects[0]);

    let mut old = authority("Contoso Issuing CA 2");
    old.not_after = at(TODAY - 3 * DAY);
    let middle = root.below(old);
    let chain = vec![middle.issue(&server(&[HOST])), middle.der];
    // An old certificate in the list that OpenSSL had no use for harms nobody.
    assert_eq!(ids(&judge(&session(chain.clone(), &[]), HOST, TODAY)), Vec::<&str>::new());
    let judgement = judge(&session(chain, &[(1, 10)]), HOST, TODAY);
    assert!(
        matches!(&judgement.defects[..], [Defect::Expired { depth: 1, subject, seconds, .. }]
            if subject == "CN=Contoso Issuing CA 2" && *seconds == 3 * DAY),
        "{judgement:?}"
    );
}

#[test]
fn names_match_as_rfc_6125_has_it() {
    let root = root("Contoso Root CA");
    let without_names = root.issue(&server(&[]));
    let table: [(&[&str], &str, bool); 14] = [
        (&["pool1.contoso.test"], "pool1.contoso.test", true),
        (&["pool1.contoso.test"], "pool2.contoso.test", false),
        (&["pool1.contoso.test"], "pool1", false),
        (&["*.contoso.test"], "pool1.contoso.test", true),
        (&["*.contoso.test"], "a.pool1.contoso.test", false),
        (&["*.contoso.test"], "contoso.test", false),
        (&["*.contoso.test"], ".contoso.test", false),
        (&["*.test"], "contoso.test", false),
        (&["pool*.contoso.test"], "pool1.contoso.test", false),
        (&["pool1.*.test"], "pool1.contoso.test", false),
        // The common name is pool1.contoso.test, but alternative names silence it.
        (&["sip.contoso.test"], "pool1.contoso.test", false),
        (&["192.0.2.7"], "192.0.2.7", true),
        (&["2001:db8::7"], "[2001:db8:0::7]", true),
        (&["pool1.contoso.test"], "192.0.2.7", false),
    ];
    for (names, asked, good) in table {
        let facts = CertFacts::read(&root.issue(&server(names))).unwrap();
        assert_eq!(facts.speaks_for(asked), good, "{names:?} for {asked}");
    }
    let facts = CertFacts::read(&without_names).unwrap();
    assert!(facts.speaks_for(HOST) && !facts.speaks_for("sip.contoso.test"));

    let wrong = judge(&session(vec![root.issue(&server(&["web.contoso.test", "192.0.2.7"]))], &[]), HOST, TODAY);
    assert_eq!(ids(&wrong), ["tls-name-mismatch"]);
    assert_eq!(
        wrong.defects[0].to_string(),
        "its certificate does not name pool1.contoso.test, only web.contoso.test, 192.0.2.7"
    );
    assert!(wrong.proof().ends_with("name differs, chain trusted"));
}

#[test]
fn usages_that_exclude_servers_are_a_defect_of_their_own() {
    let root = root("Contoso Root CA");
    let mut params = server(&[HOST]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let judgement = judge(&session(vec![root.issue(&params)], &[(0, 26)]), HOST, TODAY);
    assert_eq!(ids(&judgement), ["tls-eku-wrong"]);
    assert!(judgement.defects[0].to_string().contains("clientAuth"));
    for allowed in [vec![], vec![ExtendedKeyUsagePurpose::Any]] {
        params.extended_key_usages = allowed;
        assert_eq!(ids(&judge(&session(vec![root.issue(&params)], &[]), HOST, TODAY)), Vec::<&str>::new());
    }
}

#[test]
fn weak_signatures_and_keys_are_warnings_and_the_root_is_excused() {
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let params = authority("Contoso Root CA");
    let root = with_sha1(params.self_signed(&rsa).unwrap().der());
    let issuer = Issuer::new(params, rsa);
    let small = SubjectPublicKeyInfo::from_der(&rsa_1024()).unwrap();
    let leaf = with_sha1(server(&[HOST]).signed_by(&small, &issuer).unwrap().der());
    let judgement = judge(&session(vec![leaf, root], &[(0, 66), (0, 68), (0, 3)]), HOST, TODAY);
    assert_eq!(ids(&judgement), ["tls-weak-signature", "tls-weak-signature", "tls-revocation-offline"]);
    let words: Vec<String> = judgement.warnings().map(Defect::to_string).collect();
    assert!(words[0].contains("sha1WithRSAEncryption"), "{words:?}");
    assert!(words[1].contains("RSA 1024"), "{words:?}");
    assert!(judgement.acceptable() && judgement.verdict(HOST).is_none());
}

/// Says SHA-1 where the signature algorithm says SHA-256; nobody here checks the signature itself.
fn with_sha1(der: &[u8]) -> Vec<u8> {
    const SHA256: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    let mut der = der.to_vec();
    let places: Vec<usize> = (0..der.len() - 9).filter(|at| der[*at..at + 9] == SHA256).collect();
    assert_eq!(places.len(), 2, "once inside, once outside what is signed");
    places.iter().for_each(|at| der[at + 8] = 0x05);
    der
}

/// A public key of 1024 bits as SubjectPublicKeyInfo (RFC 3279 §2.3.1); its modulus is only a number of that size.
fn rsa_1024() -> Vec<u8> {
    let mut der = vec![0x30, 0x81, 0x9f, 0x30, 0x0d, 0x06, 0x09];
    der.extend([0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]);
    der.extend([0x03, 0x81, 0x8d, 0x00, 0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00]);
    der.extend([0xc3; 128]);
    der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    der
}

#[test]
fn several_defects_stand_in_order_of_gravity() {
    let root = root("Contoso Root CA");
    let leaf = root.issue(&server(&["web.contoso.test"]));
    let judgement = judge(&session(vec![leaf, root.der], &[(1, 19), (0, 10)]), HOST, TODAY + 301 * DAY);
    assert_eq!(ids(&judgement), ["tls-untrusted-root", "tls-expired", "tls-name-mismatch"]);
    let verdict = judgement.verdict(HOST).unwrap();
    assert_eq!(verdict.id, "tls-untrusted-root");
    assert!(verdict.sentence.contains("; also the certificate CN=pool1.contoso.test expired"), "{}", verdict.sentence);
}

#[test]
fn revoked_unreadable_and_missing_certificates_are_told() {
    let leaf = root("Contoso Root CA").issue(&server(&[HOST]));
    assert_eq!(ids(&judge(&session(vec![leaf.clone()], &[(0, 23)]), HOST, TODAY)), ["tls-revoked"]);
    assert_eq!(ids(&judge(&session(vec![leaf], &[(0, 7)]), HOST, TODAY)), ["tls-chain-broken"]);
    for chain in [vec![], vec![b"\x30\x03abc".to_vec()]] {
        let judgement = judge(&session(chain, &[]), HOST, TODAY);
        assert_eq!(ids(&judgement), ["tls-chain-broken"]);
        assert!(judgement.leaf().is_none() && !judgement.acceptable());
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_in_a_certificate_panic(at in 0usize..400, byte: u8, cut in 0usize..400) {
        static LEAF: std::sync::LazyLock<Vec<u8>> =
            std::sync::LazyLock::new(|| root("Contoso Root CA").issue(&server(&[HOST, "*.contoso.test", "192.0.2.7"])));
        let mut der = LEAF.clone();
        let at = at % der.len();
        der[at] = byte;
        let _ = judge(&session(vec![der.clone()], &[]), HOST, TODAY).proof();
        der.truncate(cut);
        let _ = judge(&session(vec![der], &[]), HOST, TODAY).proof();
    }
}

/// A world that answers from a list, operation by operation.
struct Script {
    outcomes: Mutex<VecDeque<Outcome>>,
    asked: Mutex<Vec<Operation>>,
    told: Mutex<Vec<Event>>,
}

impl Script {
    fn new(outcomes: impl IntoIterator<Item = Outcome>) -> Script {
        let outcomes = Mutex::new(outcomes.into_iter().collect());
        Script { outcomes, asked: Mutex::default(), told: Mutex::default() }
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .map(|operation| match operation {
                Operation::Connect { target: Target::Direct(peer), .. } => format!("connect {peer}"),
                Operation::Connect { target: Target::Proxied { host, port, proxy, .. }, .. } => {
                    format!("connect {host}:{port} through {proxy}")
                }
                Operation::StartTls { conn, server_name, .. } => format!("tls {} {server_name}", conn.0),
                Operation::Close { conn } => format!("close {}", conn.0),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn told(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter()
            .map(|event| match event {
                Event::Evidence(_, line) => line.clone(),
                Event::Remark(_, line) => format!("! {line}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    /// Everything here answers at once, so one poll finishes it.
    fn open(&self, hop: &Hop) -> Result<Open, ConnectFailure> {
        let limits = Limits::default();
        let mut future = std::pin::pin!(open(self, hop, &limits));
        match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => panic!("waits although everything was answered"),
        }
    }
}

impl Io for Script {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        let outcome = match operation {
            Operation::Close { .. } => Outcome::Done,
            _ => self.outcomes.lock().unwrap().pop_front().expect("one more outcome"),
        };
        self.asked.lock().unwrap().push(operation);
        Box::pin(std::future::ready(outcome))
    }

    fn now(&self) -> Now {
        Now { since_start: Duration::from_micros(400), unix_seconds: TODAY }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn note(&self, event: Event) {
        self.told.lock().unwrap().push(event);
    }
}

fn opens(conn: u64) -> Outcome {
    let (local, peer) = ("127.0.0.1:40000".parse().unwrap(), "127.0.0.11:5061".parse().unwrap());
    Outcome::Connected(Ok(Connected { conn: ConnId(conn), local, peer }))
}

fn tcp(error: ConnectError) -> Outcome {
    Outcome::Connected(Err(error))
}

fn good_session() -> TlsSession {
    session(vec![root("Contoso Root CA").issue(&server(&[HOST]))], &[])
}

fn hop(addresses: &[&str]) -> Hop {
    Hop::tls(HOST, addresses.iter().map(|a| a.parse::<IpAddr>().unwrap()).collect(), 5061)
}

#[test]
fn the_second_address_is_tried_when_the_first_refuses() {
    let script = Script::new([tcp(ConnectError::Refused), opens(2), Outcome::Secured(Ok(good_session()))]);
    let open = script.open(&hop(&["127.0.0.10", "127.0.0.11"])).unwrap();
    assert_eq!((open.conn, open.local.port()), (ConnId(2), 40000));
    assert!(open.judgement.unwrap().acceptable() && open.tls.is_some());
    assert_eq!(script.asked(), ["connect 127.0.0.10:5061", "connect 127.0.0.11:5061", "tls 2 pool1.contoso.test"]);
    assert_eq!(
        script.told(),
        [
            "pool1.contoso.test 127.0.0.10:5061 TCP: connection refused (after 0.0 ms)",
            "pool1.contoso.test 127.0.0.11:5061 TCP open in 0.0 ms",
            "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate CN=pool1.contoso.test valid until 2027-03-28 00:00 UTC, \
             issued by CN=Contoso Root CA, EC 256, name ok, chain trusted",
            "! pool1.contoso.test 127.0.0.10:5061 TCP: connection refused (after 0.0 ms), but 127.0.0.11:5061 is well: \
             one member of pool1.contoso.test needs attention",
        ]
    );
}

#[test]
fn an_address_without_a_route_is_no_dead_member() {
    let outcomes = [tcp(ConnectError::Unreachable), opens(2), Outcome::Secured(Ok(good_session()))];
    let script = Script::new(outcomes);
    script.open(&hop(&["2001:db8::1", "127.0.0.11"])).unwrap();
    assert!(!script.told().iter().any(|line| line.starts_with('!')), "{:?}", script.told());
}

#[test]
fn a_bad_certificate_on_one_member_is_passed_over_but_is_the_verdict_when_no_member_is_well() {
    let bad = || {
        let root = root("Contoso Root CA");
        Outcome::Secured(Ok(session(vec![root.issue(&server(&["web.contoso.test"]))], &[])))
    };
    let script = Script::new([opens(1), bad(), opens(2), Outcome::Secured(Ok(good_session()))]);
    assert_eq!(script.open(&hop(&["127.0.0.10", "127.0.0.11"])).unwrap().conn, ConnId(2));
    assert!(script.asked().contains(&"close 1".to_owned()), "{:?}", script.asked());

    let script = Script::new([opens(1), bad(), tcp(ConnectError::Timeout)]);
    let failure = script.open(&hop(&["127.0.0.10", "127.0.0.11"])).unwrap_err();
    assert_eq!(failure.id(), "tls-name-mismatch");
    let verdict = failure.verdict();
    assert_eq!((verdict.id.as_str(), verdict.certainty), ("tls-name-mismatch", Certainty::Certain));
    assert!(verdict.sentence.contains("only web.contoso.test"), "{}", verdict.sentence);
    assert!(verdict.fix.contains("pool1.contoso.test among its names"), "{}", verdict.fix);
}

#[test]
fn every_failure_has_its_id_and_names_the_host() {
    let alert = |number, name: &str| TlsError::Alert { number, name: name.to_owned() };
    let denied = |status| ConnectError::Proxy { status, reason: "No".to_owned(), challenges: vec![] };
    let table: [(Outcome, &str); 19] = [
        (tcp(ConnectError::Refused), "tcp-refused"),
        (tcp(ConnectError::Timeout), "tcp-filtered"),
        (tcp(ConnectError::Unreachable), "vpn-split-tunnel"),
        (tcp(ConnectError::Failed("permission denied".to_owned())), "tcp-local-firewall"),
        (tcp(denied(407)), "proxy-407"),
        (tcp(denied(403)), "proxy-connect-denied"),
        (tcp(denied(502)), "proxy-connect-denied"),
        (Outcome::Secured(Err(alert(70, "protocol version"))), "tls-version-mismatch"),
        (Outcome::Secured(Err(alert(40, "handshake failure"))), "tls-no-common-cipher"),
        (Outcome::Secured(Err(alert(112, "unrecognized name"))), "tls-wrong-cert-bound"),
        (Outcome::Secured(Err(alert(80, "internal error"))), "tls-private-key-unusable"),
        (Outcome::Secured(Err(alert(49, "access denied"))), "tls-handshake-failed"),
        (Outcome::Secured(Err(TlsError::NotTls("SSH-2.0-OpenSSH".to_owned()))), "tcp-wrong-service"),
        (Outcome::Secured(Err(TlsError::Closed)), "tcp-reset-after-accept"),
        (Outcome::Secured(Err(TlsError::Silent)), "tcp-silent"),
        (Outcome::Secured(Err(TlsError::Timeout)), "tls-handshake-timeout"),
        (Outcome::Secured(Err(TlsError::NothingInCommon("unsupported protocol".to_owned()))), "tls-version-mismatch"),
        (Outcome::Secured(Err(TlsError::NothingInCommon("no shared cipher".to_owned()))), "tls-no-common-cipher"),
        (Outcome::Secured(Err(TlsError::Failed("odd".to_owned()))), "tls-handshake-failed"),
    ];
    for (outcome, id) in table {
        let first = matches!(outcome, Outcome::Secured(_)).then(|| opens(1));
        let failure = Script::new(first.into_iter().chain([outcome])).open(&hop(&["127.0.0.10"])).unwrap_err();
        let verdict = failure.verdict();
        assert_eq!(verdict.id, id);
        assert!(verdict.sentence.contains(HOST), "{id}: {}", verdict.sentence);
        assert!(!verdict.fix.is_empty() && !verdict.fix.contains(['{', '}']), "{id}: {}", verdict.fix);
    }
    let nowhere = Script::new([]).open(&hop(&[])).unwrap_err();
    assert_eq!(nowhere.id(), "dns-home-name-unresolvable");
    let by_address = Hop { host: "127.0.0.10".to_owned(), ..hop(&["127.0.0.10"]) };
    let failure = Script::new([tcp(ConnectError::Unreachable)]).open(&by_address).unwrap_err();
    assert_eq!(failure.to_string(), "there is no route from this machine to 127.0.0.10", "the address is said once");
}

#[test]
fn the_proxy_comes_second_and_only_for_443() {
    let proxy = Proxy {
        address: "proxy.contoso.test:8080".to_owned(),
        authorization: Some("Basic c2VjcmV0".to_owned()),
        every_port: false,
    };
    assert!(!format!("{proxy:?}").contains("c2VjcmV0"));
    let mut outside = Hop { port: 443, proxy: Some(proxy), ..hop(&["192.0.2.7"]) };

    let script = Script::new([tcp(ConnectError::Timeout), opens(2), Outcome::Secured(Ok(good_session()))]);
    script.open(&outside).unwrap();
    assert_eq!(
        script.asked(),
        [
            "connect 192.0.2.7:443",
            "connect pool1.contoso.test:443 through proxy.contoso.test:8080",
            "tls 2 pool1.contoso.test"
        ]
    );

    let challenges = vec!["Negotiate".to_owned(), "Basic realm=\"proxy\"".to_owned()];
    let wants_logon = ConnectError::Proxy { status: 407, reason: "Authentication Required".to_owned(), challenges };
    let failure = Script::new([tcp(ConnectError::Timeout), tcp(wants_logon)]).open(&outside).unwrap_err();
    assert_eq!(failure.id(), "proxy-407");
    assert!(failure.to_string().contains("it offers Negotiate, Basic"), "{failure}");

    // Whoever answers, answers: a failed handshake is not taken to the proxy.
    let script = Script::new([opens(1), Outcome::Secured(Err(TlsError::Closed))]);
    assert_eq!(script.open(&outside).unwrap_err().attempts.len(), 1);

    outside.port = 5061;
    let script = Script::new([tcp(ConnectError::Timeout)]);
    assert_eq!(script.open(&outside).unwrap_err().attempts.len(), 1);
}

#[test]
fn plain_tcp_needs_no_certificate() {
    let hop = Hop { tls_name: None, ..hop(&["127.0.0.11"]) };
    let open = Script::new([opens(1)]).open(&hop).unwrap();
    assert_eq!((open.judgement, open.tls), (None, None));
}
