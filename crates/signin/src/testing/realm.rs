//! A Kerberos realm in memory: its KDC, the keytab of its servers, and tickets as clients have them. It knows nothing of
//! the rest, so that tests outside the crate can have it too.

#![allow(dead_code)] // each test program uses its own part

use mechanism::channel_bindings::ChannelBindings;
use mechanism::kerberos::crypto::EncryptionType;
use mechanism::kerberos::kdc::{Database, Entry, Kdc, Keys};
use mechanism::kerberos::keytab::Keytab;
use mechanism::kerberos::name::{NameType, Principal};
use mechanism::kerberos::{ApOptions, ApRequest, AsExchange, AsStep, Credential, Now, Service, TgsExchange};
use std::sync::atomic::{AtomicU64, Ordering};

const REALM: &str = "CONTOSO.TEST";

pub(crate) struct Realm {
    kdc: Kdc,
    keytab: Keytab,
    dice: Dice,
}

/// Different bytes at each call, and other ones with another seed.
struct Dice(AtomicU64);

impl Dice {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let step = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *byte = ((step ^ (step >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8;
        }
    }
}

impl Realm {
    /// Everybody's password is "secret"; services are `class/host`, with keys that follow from the seed.
    pub(crate) fn new(seed: u64, users: &[&str], services: &[&str]) -> Realm {
        let (dice, mut database, mut keytab) = (Dice(AtomicU64::new(seed << 32)), Database::default(), Keytab::new());
        let random = |bytes: &mut [u8]| dice.fill(bytes);
        for name in users {
            let principal = user(name);
            database.add(Entry { keys: Keys::of_password(&principal, "secret"), principal, disabled: false });
        }
        for name in services {
            let (principal, keys) = (service(name), Keys::generate(&random));
            keys.keys.iter().for_each(|key| keytab.add(principal.clone(), keys.kvno, key.clone(), 0));
            database.add(Entry { principal, keys, disabled: false });
        }
        let kdc = Kdc::new(REALM, database, &random);
        Realm { kdc, keytab, dice }
    }

    /// What its servers accept tickets with.
    pub(crate) fn acceptor(&self) -> Service {
        Service::new(Keytab::read(&self.keytab.write()).expect("its own keytab"))
    }

    /// What its KDC answers to a request, over TCP.
    pub(crate) fn answer(&self, request: &[u8], unix_seconds: i64) -> Vec<u8> {
        self.kdc.answer(request, None, now(unix_seconds), &|bytes: &mut [u8]| self.dice.fill(bytes))
    }

    /// A ticket of this user for this service.
    pub(crate) fn ticket(&self, name: &str, class_and_host: &str, unix_seconds: i64) -> Credential {
        let (random, at) = (|bytes: &mut [u8]| self.dice.fill(bytes), now(unix_seconds));
        let types = EncryptionType::KNOWN;
        let (mut exchange, mut request) = AsExchange::begin(user(name), &types, at, &random).expect("a request");
        let granting = loop {
            let answer = self.kdc.answer(&request, None, at, &random);
            match exchange.answer(&answer, "secret", at, &random).expect("the KDC agrees") {
                AsStep::Done(granting) => break granting,
                AsStep::Send(next, bytes) => (exchange, request) = (*next, bytes),
            }
        };
        let (exchange, request) =
            TgsExchange::begin(&granting, service(class_and_host), &types, at, &random).expect("a request");
        exchange.answer(&self.kdc.answer(&request, None, at, &random)).expect("a ticket")
    }

    /// The ticket shown to its service: bare for SIP, in SPNEGO for HTTP.
    pub(crate) fn show(&self, ticket: &Credential, unix_seconds: i64, spnego: bool) -> ApRequest {
        self.show_over(None, ticket, unix_seconds, spnego)
    }

    /// The same over a TLS connection.
    pub(crate) fn show_over(
        &self,
        channel: Option<ChannelBindings>,
        ticket: &Credential,
        unix_seconds: i64,
        spnego: bool,
    ) -> ApRequest {
        let random = |bytes: &mut [u8]| self.dice.fill(bytes);
        ticket.ap_request(now(unix_seconds), &random, ApOptions { spnego, channel }).expect("a token")
    }
}

/// Where a token has the ticket's sealed part: some way behind the service's name, which stands open before it.
pub(crate) fn sealed_part(token: &[u8], host: &str) -> usize {
    let name = token.windows(host.len()).position(|bytes| bytes == host.as_bytes());
    name.expect("the service's name") + host.len() + 60
}

fn now(unix_seconds: i64) -> Now {
    Now { unix_seconds, microseconds: 0 }
}

fn user(name: &str) -> Principal {
    Principal::new(NameType::Principal, vec![name.to_owned()], REALM.to_owned()).expect("a name")
}

fn service(class_and_host: &str) -> Principal {
    let (class, host) = class_and_host.split_once('/').expect("class/host");
    Principal::service(class, host, REALM).expect("a name")
}
