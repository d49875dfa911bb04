//! The text protocol, with answers as Samba 4.17 gives them.

use super::*;
use proptest::prelude::*;
use signin::name::AccountName;

const LED: &str = "Error: No username supplied!\n.\n";

fn read(text: &str) -> Option<Result<Verdict, Unintelligible>> {
    let mut reader = AnswerReader::default();
    text.lines().find_map(|line| reader.take(line))
}

fn asked(domain: &str, user: &str) -> String {
    question(&NtlmQuestion {
        account: AccountName { domain: domain.to_owned(), user: user.to_owned() },
        server_challenge: [1, 2, 3, 4, 5, 6, 7, 0xab],
        nt_response: vec![0xcd; 3],
    })
}

#[test]
fn a_question_is_led_by_an_empty_one() {
    assert_eq!(
        asked("CONTOSO", "alice"),
        ".\nUsername: alice\nNT-Domain: CONTOSO\nLANMAN-Challenge: 01020304050607ab\nNT-Response: cdcdcd\n\
         Request-User-Session-Key: Yes\n.\n"
    );
}

#[test]
fn names_that_could_be_misread_are_sent_in_base64() {
    assert!(asked("", "alice@contoso.test").contains("\nUsername: alice@contoso.test\nLANMAN"), "no domain, no line");
    assert!(asked("CONTOSO", "müller").contains("\nUsername:: bcO8bGxlcg==\n"));
    assert!(asked("CONTOSO", " alice").contains("\nUsername:: IGFsaWNl\n"), "a leading blank would be lost");
    assert!(asked("CONTOSO", "a\nUsername: bob").contains("\nUsername:: YQpVc2VybmFtZTogYm9i\n"));
    assert!(asked("A: B", "alice").contains("\nNT-Domain:: QTogQg==\n"));
}

#[test]
fn a_right_answer_brings_the_key() {
    let text = format!("{LED}Authenticated: Yes\nUser-Session-Key: CC1CDA5E59BB4C604A3A98CD885B1EDF\n.\n");
    let key = hex::decode("cc1cda5e59bb4c604a3a98cd885b1edf").expect("hexadecimal").try_into().expect("16 bytes");
    assert_eq!(read(&text), Some(Ok(Verdict::Right(Zeroizing::new(key)))));
    assert_eq!(read(&format!("{LED}Authenticated: Yes\n.\n")), Some(Ok(Verdict::RightWithoutKey)));
}

#[test]
fn the_second_dot_of_a_refusal_is_not_the_answer_to_the_next_question() {
    let refusal = "Authenticated: No\nAuthentication-Error: The specified account does not exist.\n.\n";
    let why = "The specified account does not exist.".to_owned();
    assert_eq!(read(&format!("{LED}{refusal}")), Some(Ok(Verdict::Wrong(why.clone()))));
    assert_eq!(read(&format!(".\n{LED}{refusal}")), Some(Ok(Verdict::Wrong(why))));
}

#[test]
fn nothing_left_behind_is_taken_for_an_answer() {
    let stale = "Authenticated: Yes\nUser-Session-Key: CC1CDA5E59BB4C604A3A98CD885B1EDF\n.\n";
    let text = format!("{stale}{LED}Authenticated: No\n.\n");
    assert_eq!(read(&text), Some(Ok(Verdict::Wrong("no reason given".to_owned()))));
    assert_eq!(read(stale), None, "the answer to the empty question is still to come");
}

#[test]
fn what_is_no_answer_is_refused() {
    for answer in [
        ".",
        "Authenticated: Maybe\n.",
        "Authenticated: No\nAuthenticated: Yes\n.",
        "Authenticated: No\nUser-Session-Key: CC1CDA5E59BB4C604A3A98CD885B1EDF\n.",
        "Authenticated: Yes\nAuthentication-Error: but\n.",
        "Authenticated: Yes\nUser-Session-Key: CC1C\n.",
        "User-Session-Key: CC1CDA5E59BB4C604A3A98CD885B1EDF\n.",
        "hello",
    ] {
        assert_eq!(read(&format!("{LED}{answer}\n")), Some(Err(Unintelligible::NoVerdict)), "{answer}");
    }
    let complaint = Unintelligible::Complaint("No lanman-challenge supplied!".to_owned());
    assert_eq!(read(&format!("{LED}Error: No lanman-challenge supplied!\n.\n")), Some(Err(complaint)));
    assert_eq!(read(&".\n".repeat(1000)), Some(Err(Unintelligible::Endless)));
    assert_eq!(read(&"x".repeat(LONGEST_LINE + 1)), Some(Err(Unintelligible::Endless)));
}

#[test]
fn an_account_that_is_refused_is_told_from_a_controller_that_was_not_reached() {
    for words in [
        "When trying to update a password, this return status indicates that the value provided as the current \
         password is not correct.",
        "The specified account does not exist.",
        "The referenced account is currently disabled and cannot be logged on to.",
        "The attempted logon is invalid. This is either due to a bad username or authentication information.",
        "The user account has been automatically locked because too many invalid logon attempts or password change \
         attempts have been requested.",
        "Wrong Password",
        "No such user",
    ] {
        assert!(!could_not_tell(words), "{words}");
    }
    for words in [
        "Reading winbind reply failed!",
        "{Access Denied} A process has requested access to an object but has not been granted those access rights.",
        "There are currently no logon servers available to service the logon request.",
        "NT_STATUS_NO_LOGON_SERVERS",
        "Could not find the domain controller for this domain.",
        "The trust relationship between this workstation and the primary domain failed.",
        "NT_STATUS_IO_TIMEOUT",
    ] {
        assert!(could_not_tell(words), "{words}");
    }
}

proptest! {
    #[test]
    fn any_lines_end_or_wait(lines in proptest::collection::vec("[ -~]{0,40}", 0..80)) {
        let mut reader = AnswerReader::default();
        let verdict = lines.iter().find_map(|line| reader.take(line));
        prop_assert!(verdict.is_some() || lines.len() <= MOST_LINES);
    }

    #[test]
    fn plausible_lines_never_make_a_right_answer_without_its_key(
        lines in proptest::collection::vec(prop::sample::select(vec![
            ".", "Error: x", "Authenticated: Yes", "Authenticated: No", "Authentication-Error: x",
            "User-Session-Key: 000102030405060708090A0B0C0D0E0F", "Other: y"]), 0..12)
    ) {
        let mut reader = AnswerReader::default();
        if let Some(Ok(Verdict::Right(_))) = lines.iter().find_map(|line| reader.take(line)) {
            prop_assert!(lines.contains(&"Authenticated: Yes"));
            prop_assert!(lines.iter().any(|line| line.starts_with("User-Session-Key")));
            prop_assert_eq!(lines.iter().filter(|line| **line == "Error: x").count().min(1), 1);
        }
    }

    #[test]
    fn no_name_makes_a_line_of_its_own(domain in ".{0,20}", user in ".{0,20}") {
        let text = asked(&domain, &user);
        let lines: Vec<&str> = text.lines().collect();
        prop_assert_eq!(lines.len(), if domain.is_empty() { 6 } else { 7 });
        prop_assert_eq!(lines.iter().filter(|line| **line == ".").count(), 2);
    }
}
