//! The verifier with programs that play `ntlm_auth`, well and badly.

use super::*;
use signin::name::AccountName;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// Answers the empty question that leads each other one, then does what the test says. `$n` counts questions, `$user`
/// is the name asked about.
const PLAY: &str = r#"#!/bin/sh
n=0
user=
echo started >> "$(dirname "$0")/starts"
refuse() { printf 'Authenticated: No\nAuthentication-Error: %s\n.\n.\n' "$1"; }
accept() { printf 'Authenticated: Yes\nUser-Session-Key: 000102030405060708090A0B0C0D0E0F\n.\n'; }
while read -r name value; do
  case "$name" in
    Username:*) user=$value ;;
    .) if [ -z "$user" ]; then printf 'Error: No username supplied!\n.\n'; else n=$((n + 1)); answer; user=; fi ;;
  esac
done
"#;

struct Play {
    folder: TempDir,
}

impl Play {
    /// `answer` is the body of a shell function.
    fn new(answer: &str) -> Play {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = folder.path().join("ntlm_auth");
        let script = PLAY.replacen("while read", &format!("answer() {{ {answer}; }}\nwhile read"), 1);
        std::fs::write(&program, script).expect("it can be written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        Play { folder }
    }

    fn verifier(&self, settings: WinbindSettings) -> WinbindVerifier {
        WinbindVerifier::new(WinbindSettings { program: self.folder.path().join("ntlm_auth"), ..settings })
    }

    fn starts(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("starts")).map(|text| text.lines().count()).unwrap_or(0)
    }
}

fn quick() -> WinbindSettings {
    let throttle = Throttle { failures: 1000, ..Throttle::default() };
    WinbindSettings { refusal: Duration::ZERO, throttle, ..WinbindSettings::default() }
}

fn about(user: &str) -> NtlmQuestion {
    NtlmQuestion {
        account: AccountName { domain: "CONTOSO".to_owned(), user: user.to_owned() },
        server_challenge: [7; 8],
        nt_response: vec![1; 60],
    }
}

fn key(proof: Result<NtlmProof, Refusal>) -> Option<u8> {
    proof.ok().map(|proof| proof.session_base_key[15])
}

#[tokio::test]
async fn one_helper_answers_one_question_after_the_other_and_never_for_another() {
    let play = Play::new(r#"if [ "$user" = alice ]; then accept; else refuse "no $user"; fi"#);
    let verifier = play.verifier(quick());
    for _ in 0..3 {
        assert_eq!(key(verifier.verify(about("alice")).await), Some(15));
        for other in ["bob", "carol"] {
            let refusal = verifier.verify(about(other)).await.expect_err("only alice is right");
            let why = format!("CONTOSO\\{other} is refused by its domain: no {other}");
            assert_eq!(refusal, Refusal::Credentials { why });
        }
    }
    assert_eq!(play.starts(), 1);
}

#[tokio::test]
async fn a_helper_that_ends_is_replaced() {
    let play = Play::new("accept; exit 0");
    let verifier = play.verifier(quick());
    for _ in 0..3 {
        assert_eq!(key(verifier.verify(about("alice")).await), Some(15));
    }
    assert_eq!(play.starts(), 3);
}

#[tokio::test]
async fn a_helper_that_ends_at_each_question_is_not_tried_for_ever() {
    let play = Play::new("echo no smb.conf here >&2; exit 1");
    let verifier = play.verifier(quick());
    let refusal = verifier.verify(about("alice")).await.expect_err("it cannot tell");
    assert!(refusal.to_string().contains("ntlm_auth ended after saying: no smb.conf here"), "{refusal}");
    assert_eq!(play.starts(), 1);
}

#[tokio::test]
async fn a_late_helper_is_killed_and_replaced() {
    let play = Play::new(r#"if [ "$user" = slow ]; then sleep 30; fi; accept"#);
    let settings = WinbindSettings { limit: Duration::from_millis(700), helpers: 1, ..quick() };
    let verifier = play.verifier(settings);
    assert_eq!(key(verifier.verify(about("alice")).await), Some(15));
    let begun = Instant::now();
    let refusal = verifier.verify(about("slow")).await.expect_err("it is late");
    assert!(matches!(refusal, Refusal::Unavailable(_)), "{refusal:?}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(key(verifier.verify(about("alice")).await), Some(15));
    assert_eq!(play.starts(), 2);
}

#[tokio::test]
async fn a_question_given_up_leaves_no_answer_behind() {
    let play = Play::new(r#"if [ "$user" = alice ]; then accept; else sleep 0.3; refuse "no"; fi"#);
    let verifier = play.verifier(WinbindSettings { helpers: 1, ..quick() });
    let given_up = tokio::time::timeout(Duration::from_millis(100), verifier.verify(about("bob"))).await;
    assert!(given_up.is_err(), "it takes longer");
    assert_eq!(key(verifier.verify(about("alice")).await), Some(15));
    assert!(verifier.verify(about("bob")).await.is_err());
}

#[tokio::test]
async fn no_more_run_or_wait_than_may() {
    let play = Play::new("sleep 0.4; accept");
    let settings = WinbindSettings { helpers: 2, waiting: 1, limit: Duration::from_secs(5), ..quick() };
    let verifier = play.verifier(settings);
    let asked = (0..5).map(|_| verifier.verify(about("alice")));
    let answers = futures_util::future::join_all(asked).await;
    let (right, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((right.len(), refused.len()), (3, 2), "two at work, one waiting");
    assert!(refused.iter().all(|refusal| matches!(refusal, Err(Refusal::Unavailable(_)))));
    assert_eq!(play.starts(), 2);
}

#[tokio::test]
async fn without_the_program_nobody_can_tell() {
    let program = Path::new("/nowhere/ntlm_auth").to_owned();
    let verifier = WinbindVerifier::new(WinbindSettings { program, ..quick() });
    let refusal = verifier.verify(about("alice")).await.expect_err("there is no program");
    assert!(matches!(&refusal, Refusal::Unavailable(_)), "{refusal:?}");
    assert!(refusal.to_string().contains("/nowhere/ntlm_auth cannot be started"), "{refusal}");
}

#[tokio::test]
async fn what_is_not_about_the_account_is_no_refusal() {
    for answer in ["refuse 'Reading winbind reply failed!'", r"printf 'Authenticated: Yes\n.\n'", "echo Hello"] {
        let verifier = Play::new(answer);
        let refusal = verifier.verifier(quick()).verify(about("alice")).await.expect_err("nobody could tell");
        assert!(matches!(refusal, Refusal::Unavailable(_)), "{answer}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_helper_that_talks_without_end_is_stopped() {
    let play = Play::new("cat /dev/zero");
    let begun = Instant::now();
    let refusal = play.verifier(quick()).verify(about("alice")).await.expect_err("it is no answer");
    assert!(matches!(refusal, Refusal::Unavailable(_)), "{refusal:?}");
    assert!(begun.elapsed() < WinbindSettings::default().limit);
}

#[tokio::test]
async fn questions_without_a_right_answer_are_not_passed_on() {
    let play = Play::new("accept");
    let verifier = play.verifier(quick());
    let long = "x".repeat(257);
    for user in ["", "alice\0", "alice\n.", long.as_str()] {
        let refusal = verifier.verify(about(user)).await.expect_err("no account is called so");
        assert!(matches!(refusal, Refusal::Credentials { .. }), "{user:?}: {refusal:?}");
    }
    for length in [0, 24, 43, 16 * 1024 + 1] {
        let question = NtlmQuestion { nt_response: vec![1; length], ..about("alice") };
        let refusal = verifier.verify(question).await.expect_err("no such response");
        assert!(matches!(refusal, Refusal::Credentials { .. }), "{length}: {refusal:?}");
    }
    assert_eq!(play.starts(), 0);
}

#[tokio::test]
async fn every_refusal_takes_its_time() {
    let play = Play::new("refuse 'no such user'");
    let verifier = play.verifier(WinbindSettings { refusal: Duration::from_millis(300), ..quick() });
    for user in ["nobody", ""] {
        let begun = Instant::now();
        verifier.verify(about(user)).await.expect_err("it is refused");
        assert!(begun.elapsed() >= Duration::from_millis(300));
    }
}

#[tokio::test]
async fn who_is_wrong_too_often_is_not_asked_about_for_a_while() {
    let play = Play::new(
        r#"echo "$user" >> "$(dirname "$0")/asked"; if [ "$user" = alice ]; then accept; else refuse no; fi"#,
    );
    let throttle = Throttle { failures: 2, pause: Duration::from_millis(400), ..Throttle::default() };
    let verifier = play.verifier(WinbindSettings { throttle, ..quick() });
    for spelling in ["bob", "BOB@contoso.test", "bob", "Bob "] {
        let refusal = verifier.verify(about(spelling)).await.expect_err("it is wrong");
        assert!(matches!(refusal, Refusal::Credentials { .. }), "{refusal:?}");
    }
    assert_eq!(key(verifier.verify(about("alice")).await), Some(15), "somebody else is");
    tokio::time::sleep(Duration::from_millis(450)).await;
    verifier.verify(about("bob")).await.expect_err("it is wrong");
    let asked = std::fs::read_to_string(play.folder.path().join("asked")).expect("somebody was");
    assert_eq!(asked.lines().collect::<Vec<_>>(), ["bob", "BOB@contoso.test", "alice", "bob"]);
}
