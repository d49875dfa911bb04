//! MIT Kerberos against our KDC: `kinit`, `kvno` and `klist` over UDP and TCP, every refusal in their words, their ticket
//! caches and ours. RFC 4120.
#![allow(clippy::disallowed_methods)] // starting the counterpart, sockets, and the real clock, are what these tests are for

mod peer {
    pub(crate) mod mit;
    pub(crate) mod our_kdc;
}

use mechanism::kerberos::crypto::EncryptionType;
use mechanism::kerberos::keytab::Keytab;
use mechanism::kerberos::name::{NameType, Principal};
use mechanism::kerberos::{ApOptions, AsExchange, AsStep, Credential, ReplayCache, Service, TgsExchange, TicketCache};
use peer::mit::{PASSWORD, REALM};
use peer::our_kdc::{Nature, OurRealm, now, random};

const SIP: &str = "sip/fe1.contoso.test";

/// UDP first unless a request is longer than this; with 1, TCP first.
const TCP_FIRST: &str = " udp_preference_limit = 1";

fn sip() -> Principal {
    Principal::service("sip", "fe1.contoso.test", REALM).expect("a name")
}

fn cache(realm: &OurRealm) -> TicketCache {
    TicketCache::parse(&std::fs::read(realm.file("ccache")).expect("kinit wrote it")).expect("reads")
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn tickets_over_udp_and_tcp() {
    let realm = OurRealm::start(Nature::default());
    std::fs::write(realm.file("keytab"), realm.keytab()).expect("writes the keytab");
    let keytab = realm.file("keytab").display().to_string();
    for (defaults, over_tcp) in [("", false), (TCP_FIRST, true)] {
        realm.configure(defaults);
        realm.kinit(&["alice"], PASSWORD).yes();
        for service in [SIP, "http/fe1.contoso.test", "SIP/FE1.contoso.test"] {
            let said = realm.run("kvno", &["-k", &keytab, service]).yes();
            assert!(said.contains("kvno = 7, keytab entry valid"), "{said}");
        }
        let said = realm.run("klist", &["-e", "-f"]).yes();
        assert!(said.contains("Default principal: alice@CONTOSO.TEST"), "{said}");
        assert_eq!(said.matches("aes256-cts-hmac-sha1-96, aes256-cts-hmac-sha1-96").count(), 4, "{said}");
        assert!(said.contains("Flags: IA") && said.contains("Flags: A"), "{said}");
        let (udp, tcp) = realm.requests();
        // Without and with a proof, and one for each service.
        assert_eq!((udp, tcp), if over_tcp { (0, 5) } else { (5, 0) });
    }
}

/// What does not fit into a datagram is asked for again over TCP: the very same request.
#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn long_answers_go_over_tcp() {
    let realm = OurRealm::start(Nature { datagram: 250, ..Nature::default() });
    realm.kinit(&["alice"], PASSWORD).yes();
    realm.run("kvno", &[SIP]).yes();
    let (udp, tcp) = realm.requests();
    assert!(udp >= 2 && tcp >= 2, "{udp} over UDP, {tcp} over TCP");
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn refusals_in_their_words() {
    let realm = OurRealm::start(Nature::default());
    for defaults in ["", TCP_FIRST] {
        realm.configure(defaults);
        for (arguments, password, expected) in [
            (&["alice"][..], "wrong", "Password incorrect"),
            (&["nobody"], PASSWORD, "Client 'nobody@CONTOSO.TEST' not found in Kerberos database"),
            (&["dave"], PASSWORD, "Client's credentials have been revoked"),
            (&["-S", "kadmin/changepw", "alice"], PASSWORD, "Server not found in Kerberos database"),
            (&["-s", "1h", "alice"], PASSWORD, "KDC can't fulfill requested option"),
            (&["-E", "alice@other.test"], PASSWORD, "not found in Kerberos database"),
        ] {
            let said = realm.kinit(arguments, password).no();
            assert!(said.contains(expected), "{arguments:?}: {said}");
        }
        realm.kinit(&["alice"], PASSWORD).yes();
        let said = realm.run("kvno", &["sip/fe99.contoso.test"]).no();
        assert!(said.contains("Server sip/fe99.contoso.test@CONTOSO.TEST not found in Kerberos database"), "{said}");
    }
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn options_and_names() {
    let realm = OurRealm::start(Nature::default());
    for (arguments, principal) in [
        (&["-E", "Alice@mail.contoso.test"][..], "alice"),
        (&["-C", "ALICE"], "alice"),
        (&["ALICE"], "ALICE"),
        (&["-f", "-p", "-r", "7d", "alice"], "alice"),
        (&["-S", SIP, "alice"], "alice"),
        (&["-A", "-l", "5m", "alice"], "alice"),
    ] {
        realm.kinit(arguments, PASSWORD).yes();
        let cache = cache(&realm);
        assert_eq!(cache.default_principal().to_string(), format!("{principal}@{REALM}"), "{arguments:?}");
        let ticket = cache.credentials().first().expect("a ticket");
        let five_minutes = arguments.contains(&"-l");
        assert!(ticket.usable_at(now()), "{arguments:?}");
        assert_eq!(ticket.ends() < now().unix_seconds + 301, five_minutes, "{arguments:?}");
    }
    // What was asked for and not given.
    realm.kinit(&["-r", "7d", "alice"], PASSWORD).yes();
    let said = realm.kinit(&["-R"], "").no();
    assert!(said.contains("KDC can't fulfill requested option"), "{said}");
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn every_encryption_type() {
    let realm = OurRealm::start(Nature::default());
    for (permitted, shown) in [
        ("aes256-cts-hmac-sha1-96", "aes256-cts-hmac-sha1-96, aes256-cts-hmac-sha1-96"),
        ("aes128-cts-hmac-sha1-96 arcfour-hmac", "aes128-cts-hmac-sha1-96, aes256-cts-hmac-sha1-96"),
    ] {
        realm.configure(&format!(" permitted_enctypes = {permitted}"));
        realm.kinit(&["alice"], PASSWORD).yes();
        realm.run("kvno", &[SIP]).yes();
        let said = realm.run("klist", &["-e"]).yes();
        assert_eq!(said.matches(shown).count(), 2, "{said}");
        // A TGS-REQ of ours with their ticket, whose session key has that type.
        assert_eq!(token_is_taken(&realm, &tgt(&cache(&realm))), "alice@CONTOSO.TEST");
    }
    realm.configure(" permitted_enctypes = arcfour-hmac\n allow_weak_crypto = true\n allow_rc4 = true");
    let said = realm.kinit(&["alice"], PASSWORD).no();
    assert!(said.contains("KDC has no support for encryption type"), "{said}");
}

#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn clocks() {
    for ahead in [1000, -1000] {
        let realm = OurRealm::start(Nature { ahead, ..Nature::default() });
        // By default their client takes the time of the KDC's first answer for its proof.
        realm.configure(" kdc_timesync = 0");
        let said = realm.kinit(&["alice"], PASSWORD).no();
        assert!(said.contains("Clock skew too great"), "{said}");
    }
    let realm = OurRealm::start(Nature { ahead: 200, ..Nature::default() });
    realm.configure(" kdc_timesync = 0");
    realm.kinit(&["alice"], PASSWORD).yes();
    realm.run("kvno", &[SIP]).yes();
}

fn tgt(cache: &TicketCache) -> Credential {
    cache.tgt(REALM, now()).expect("a ticket-granting ticket").clone()
}

/// From a ticket-granting ticket to a service of ours, by our client; whose name arrives.
fn token_is_taken(realm: &OurRealm, granting: &Credential) -> String {
    let (exchange, request) =
        TgsExchange::begin(granting, sip(), &EncryptionType::KNOWN, now(), &random()).expect("begins");
    let ticket = exchange.answer(&realm.answer(&request)).expect("a ticket");
    let token = ticket.ap_request(now(), &random(), ApOptions::default()).expect("a token");
    let service = Service::new(Keytab::read(realm.keytab()).expect("reads"));
    let accepted = service.accept(token.token(), now(), &mut ReplayCache::default(), &random());
    accepted.expect("taken").client.to_string()
}

/// The cache that `kinit` wrote, in both versions of the format.
#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn their_cache_is_read() {
    let realm = OurRealm::start(Nature::default());
    for version in [3, 4] {
        realm.configure(&format!(" ccache_type = {version}"));
        realm.kinit(&["alice"], PASSWORD).yes();
        realm.run("kvno", &[SIP]).yes();
        let file = std::fs::read(realm.file("ccache")).expect("kinit wrote it");
        assert_eq!(file[..2], [5, version]);
        let cache = cache(&realm);
        assert_eq!(cache.default_principal().to_string(), "alice@CONTOSO.TEST");
        assert_eq!(cache.credentials().len(), 2, "and no settings: {:?}", cache.credentials());
        let ticket = cache.ticket_for(&sip(), now()).expect("kvno left it");
        assert!(ticket.ends() > now().unix_seconds + 35_000);
        assert_eq!(token_is_taken(&realm, &tgt(&cache)), "alice@CONTOSO.TEST");
    }
}

/// A cache of ours, in their hands.
#[test]
#[ignore = "needs MIT Kerberos; run by make test"]
fn our_cache_is_read() {
    let realm = OurRealm::start(Nature::default());
    let alice = Principal::new(NameType::Principal, vec!["alice".to_owned()], REALM.to_owned()).expect("a name");
    let (mut exchange, mut request) =
        AsExchange::begin(alice.clone(), &EncryptionType::KNOWN, now(), &random()).expect("begins");
    let granting = loop {
        match exchange.answer(&realm.answer(&request), PASSWORD, now(), &random()).expect("goes on") {
            AsStep::Done(granting) => break granting,
            AsStep::Send(next, bytes) => (exchange, request) = (*next, bytes),
        }
    };
    let file = TicketCache::new(alice, vec![granting]).to_bytes();
    std::fs::write(realm.file("ccache"), &file).expect("writes the cache");
    let said = realm.run("klist", &["-e"]).yes();
    assert!(said.contains("Default principal: alice@CONTOSO.TEST") && said.contains("krbtgt/CONTOSO.TEST"), "{said}");
    realm.run("kvno", &[SIP]).yes();
    let cache = cache(&realm);
    assert!(cache.ticket_for(&sip(), now()).is_some(), "what they added is read: {cache:?}");
}
