//! Published vectors and the table of refusals.

use super::*;
use crate::{Account, NewUser};
use futures_util::FutureExt;
use mechanism::ntlm::message::Authenticate;
use mechanism::ntlm::{Acceptor, Credentials, Entropy, Mode, TargetNames, answer};
use signin::directory::{Directory, User};
use signin::io::Now;
use signin::name::{AccountName, Aor};
use signin::secret::Password;
use std::time::Duration;

/// A clock that is set by hand.
#[derive(Default)]
struct Clock(Mutex<Duration>);

impl Clock {
    fn advance(&self, time: Duration) {
        *self.0.lock().expect("no panic") += time;
    }
}

impl Surroundings for Clock {
    fn now(&self) -> Now {
        Now { since_start: *self.0.lock().expect("no panic"), unix_seconds: 0 }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

const CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

fn aor(text: &str) -> Aor {
    text.parse().expect("a test address")
}

fn new_user(address: &str, logins: &[&str], password: Option<&str>) -> NewUser {
    NewUser {
        account: Account {
            user: User::new(aor(address)),
            logins: logins.iter().map(|login| AccountName::parse(login)).collect(),
        },
        password: password.map(|password| Password::new(password.to_owned())),
    }
}

struct Bench {
    store: Arc<Store>,
    clock: Arc<Clock>,
    verifier: OwnDirectoryVerifier,
}

/// Alice and the `alice` of another domain, dave who is disabled, and erin who has no password.
fn bench(throttle: Throttle) -> Bench {
    let store = Arc::new(Store::in_memory().expect("a store in memory"));
    for user in [
        new_user("alice@contoso.test", &["CONTOSO\\alice", "alice@corp.contoso.test"], Some("Wonderland!1")),
        new_user("alice@fabrikam.test", &["FABRIKAM\\alice"], Some("Other-Alice!2")),
        new_user("dave@contoso.test", &["CONTOSO\\dave"], Some("Disabled!3")),
        new_user("erin@contoso.test", &["CONTOSO\\erin"], None),
    ] {
        store.add_user(user).wait().expect("a new user");
    }
    store.disable(&aor("dave@contoso.test")).wait().expect("dave is there");
    let clock = Arc::new(Clock::default());
    let verifier = OwnDirectoryVerifier::new(store.clone(), clock.clone(), throttle);
    Bench { store, clock, verifier }
}

impl Bench {
    fn ask(&self, login: &str, nt_hash: NtHash) -> Result<NtlmProof, String> {
        let question = question(AccountName::parse(login), nt_hash);
        match self.verifier.verify(question).now_or_never().expect("answered at once") {
            Ok(proof) => Ok(proof),
            Err(Refusal::Credentials { why }) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }

    fn log_on(&self, login: &str, password: &str) -> Result<NtlmProof, String> {
        self.ask(login, NtHash::of_password(password))
    }
}

/// What our own client answers to a challenge of our own server.
fn question(account: AccountName, nt_hash: NtHash) -> NtlmQuestion {
    let name = || "CONTOSO".to_owned();
    let names =
        TargetNames { netbios_domain: name(), netbios_computer: name(), dns_domain: name(), dns_computer: name() };
    let challenge = Acceptor::new(Mode::Datagram, CHALLENGE, names).challenge_message(None).expect("a challenge");
    let credentials = Credentials {
        user: account.user.clone(),
        domain: account.domain.clone(),
        workstation: "DESK".to_owned(),
        nt_hash,
    };
    let entropy = Entropy { client_challenge: [0xaa; 8], session_key: [0x55; 16] };
    let answered = answer(Mode::Datagram, None, &challenge, &credentials, &entropy, 0).expect("an answer");
    let nt_response = Authenticate::parse(&answered.message).expect("an AUTHENTICATE").nt_response;
    NtlmQuestion { account, server_challenge: CHALLENGE, nt_response }
}

#[test]
fn the_vector_of_ms_nlmp_4_2_4_is_accepted() {
    let Bench { store, verifier, .. } = bench(Throttle::default());
    store.add_user(new_user("user@contoso.test", &["Domain\\User"], Some("Password"))).wait().expect("a new user");
    let mut nt_response = vec![
        0x68, 0xcd, 0x0a, 0xb8, 0x51, 0xe5, 0x1c, 0x96, 0xaa, 0xbc, 0x92, 0x7b, 0xeb, 0xef, 0x6a,
        0x1c, // NTProofStr
        1, 1, 0, 0, 0, 0, 0, 0, // version
        0, 0, 0, 0, 0, 0, 0, 0, // time
        0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, // client challenge
        0, 0, 0, 0,
    ];
    for (id, name) in [(2u8, "Domain"), (1, "Server")] {
        nt_response.extend([id, 0, 12, 0]);
        nt_response.extend(name.bytes().flat_map(|byte| [byte, 0]));
    }
    nt_response.extend([0; 8]);
    let account = AccountName { domain: "Domain".to_owned(), user: "User".to_owned() };
    let right = NtlmQuestion { account, server_challenge: CHALLENGE, nt_response };
    let proof = verifier.verify(right.clone()).now_or_never().expect("answered at once").expect("the published answer");
    let session_base_key =
        [0x8d, 0xe4, 0x0c, 0xca, 0xdb, 0xc1, 0x4a, 0x82, 0xf1, 0x5c, 0xb0, 0xad, 0x0d, 0xe9, 0x5c, 0xa3];
    assert_eq!(*proof.session_base_key, session_base_key);

    let mut another_challenge = right.clone();
    another_challenge.server_challenge[0] ^= 1;
    let mut another_proof = right.clone();
    another_proof.nt_response[0] ^= 1;
    let mut another_blob = right.clone();
    another_blob.nt_response[40] ^= 1;
    let mut cut_short = right;
    cut_short.nt_response.truncate(15);
    for wrong in [another_challenge, another_proof, another_blob, cut_short] {
        assert!(verifier.verify(wrong).now_or_never().expect("answered at once").is_err());
    }
}

#[test]
fn every_login_name_proves_the_same_account_whatever_its_case() {
    let bench = bench(Throttle::default());
    for login in [
        "CONTOSO\\alice",
        "contoso\\ALICE",
        "alice@corp.contoso.test",
        "Alice@CORP.contoso.test",
        "corp.contoso.test\\alice",
    ] {
        let proof = bench.log_on(login, "Wonderland!1").unwrap_or_else(|why| panic!("{login}: {why}"));
        assert_eq!(proof.account, AccountName::parse("CONTOSO\\alice"));
        let owner = bench.store.user_of_account(&proof.account).now_or_never().expect("at once").expect("an answer");
        assert_eq!(owner.map(|user| user.aor.clone()), Some(aor("alice@contoso.test")));
    }
    assert_eq!(
        bench.log_on("FABRIKAM\\alice", "Other-Alice!2").expect("the other alice").account,
        AccountName::parse("FABRIKAM\\alice")
    );
}

#[test]
fn a_bare_name_is_accepted_only_when_one_domain_has_it() {
    let bench = bench(Throttle::default());
    bench.log_on("alice", "Wonderland!1").expect_err("two domains have an alice");
    bench.store.remove_user(&aor("alice@fabrikam.test")).wait().expect("she is there");
    assert_eq!(bench.log_on("alice", "Wonderland!1").expect("one alice").account, AccountName::parse("CONTOSO\\alice"));
}

#[test]
fn refusals_name_their_reason_to_the_log_only() {
    let bench = bench(Throttle::default());
    for (login, password, reason) in [
        ("CONTOSO\\alice", "wonderland!1", "wrong password for alice@contoso.test"),
        ("CONTOSO\\alice", "", "wrong password for alice@contoso.test"),
        ("FABRIKAM\\alice", "Wonderland!1", "wrong password for alice@fabrikam.test"),
        ("CONTOSO\\nobody", "Wonderland!1", "no account is called CONTOSO\\nobody"),
        ("", "", "no account is called "),
        ("CONTOSO\\dave", "wrong", "wrong password for dave@contoso.test"),
        ("CONTOSO\\erin", "", "erin@contoso.test has no password"),
    ] {
        let question = question(AccountName::parse(login), NtHash::of_password(password));
        let refusal = bench.verifier.verify(question).now_or_never().expect("answered at once").expect_err(reason);
        assert_eq!(refusal, Refusal::Credentials { why: reason.to_owned() });
        assert!(!format!("{:?}", refusal.diagnostics()).contains(reason), "what the peer is told: {refusal:?}");
    }
}

#[test]
fn a_disabled_account_still_proves_who_it_is() {
    let bench = bench(Throttle::default());
    bench.log_on("CONTOSO\\dave", "Disabled!3").expect("the doors refuse him, and say why");
}

#[test]
fn an_answer_that_fits_the_decoy_is_refused_all_the_same() {
    let bench = bench(Throttle { failures: 1, ..Throttle::default() });
    bench.log_on("CONTOSO\\alice", "wrong").expect_err("alice is paused from now on");
    for login in ["CONTOSO\\nobody", "CONTOSO\\erin", "CONTOSO\\alice"] {
        bench.ask(login, NtHash::decoy()).expect_err("the decoy is no secret");
    }
}

#[test]
fn an_account_is_paused_after_too_many_failures_and_comes_back() {
    let bench = bench(Throttle { failures: 3, ..Throttle::default() });
    let right = || bench.log_on("CONTOSO\\alice", "Wonderland!1");
    let wrong = |login| bench.log_on(login, "guess").expect_err("a guess");
    for login in ["CONTOSO\\alice", "alice@corp.contoso.test", "contoso\\Alice"] {
        wrong(login);
    }
    assert_eq!(
        right().expect_err("paused"),
        "too many wrong passwords for alice@contoso.test; not checked for another 301 s"
    );
    bench.log_on("FABRIKAM\\alice", "Other-Alice!2").expect("others are not concerned");
    bench.clock.advance(Duration::from_secs(299));
    right().expect_err("still paused: an attempt does not prolong it either");
    bench.clock.advance(Duration::from_secs(1));
    right().expect("the pause is over");
}

#[test]
fn failures_far_apart_or_before_a_success_do_not_add_up() {
    let bench = bench(Throttle { failures: 2, ..Throttle::default() });
    let right = || bench.log_on("CONTOSO\\alice", "Wonderland!1");
    let wrong = || bench.log_on("CONTOSO\\alice", "guess").expect_err("a guess");
    for _ in 0..4 {
        wrong();
        right().expect("one failure is not two");
    }
    wrong();
    bench.clock.advance(Duration::from_secs(601));
    wrong();
    right().expect("the first failure was too long ago");
}

#[test]
fn the_table_of_failures_does_not_grow_beyond_its_limit() {
    let bench = bench(Throttle { accounts: 2, failures: 2, ..Throttle::default() });
    for login in ["CONTOSO\\alice", "FABRIKAM\\alice", "CONTOSO\\dave", "CONTOSO\\nobody"] {
        bench.clock.advance(Duration::from_secs(1));
        bench.log_on(login, "guess").expect_err("a guess");
    }
    assert_eq!(bench.verifier.failures(|failures| failures.remembered()), 2);
    bench.log_on("CONTOSO\\alice", "guess").expect_err("a guess");
    bench.log_on("CONTOSO\\alice", "Wonderland!1").expect("the first failure was forgotten");
}

#[test]
fn a_new_password_counts_at_once() {
    let bench = bench(Throttle::default());
    let alice = aor("alice@contoso.test");
    bench.store.set_password(&alice, &Password::new("Looking-Glass!1".to_owned())).wait().expect("alice is there");
    bench.log_on("CONTOSO\\alice", "Looking-Glass!1").expect("the new one");
    bench.log_on("CONTOSO\\alice", "Wonderland!1").expect_err("the old one");
}
