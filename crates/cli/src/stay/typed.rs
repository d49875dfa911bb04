//! What is typed while signed in: one command a line.

use signin::name::Aor;
use signin::provision::presence::aggregation::{AVAILABLE, AWAY, BE_RIGHT_BACK, BUSY, DO_NOT_DISTURB, OFFLINE};
use signin::stay::Wish;

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// For the server.
    Wish(Wish),
    /// Show contacts and their presence.
    List,
    /// Show the commands.
    Help,
}

/// Every command and what it does.
pub(super) const COMMANDS: &[(&str, &str)] = &[
    ("status WORD", "be seen as available, busy, dnd, brb, away, offline; auto: as this machine says"),
    ("note [TEXT]", "have others read TEXT; without one, nothing"),
    ("add WHO [as NAME] [in GROUP]", "put somebody into your contact list, or change name or group"),
    ("remove WHO", "take somebody out of your contact list"),
    ("say WHO TEXT", "send a message"),
    ("end WHO", "end the conversation"),
    ("list", "show contacts and presence"),
    ("help", "show this"),
    ("quit", "sign out"),
];

/// Words for statuses, as typed.
const STATUSES: &[(&str, u32)] = &[
    ("available", AVAILABLE),
    ("busy", BUSY),
    ("dnd", DO_NOT_DISTURB),
    ("brb", BE_RIGHT_BACK),
    ("away", AWAY),
    ("offline", OFFLINE),
];

/// Reads a line; `None`: it is empty. A name without `@` is one of the user's own domain. The error says what to type.
pub(super) fn read(line: &str, me: &Aor) -> Result<Option<Typed>, String> {
    let line = line.trim();
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let wish = match (command.to_ascii_lowercase().as_str(), rest) {
        ("", _) => return Ok(None),
        ("list", "") => return Ok(Some(Typed::List)),
        ("help" | "?", "") => return Ok(Some(Typed::Help)),
        ("quit" | "exit", "") => Wish::Quit,
        ("status", "auto") => Wish::Status(None),
        ("status", word) => match STATUSES.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)) {
            Some((_, availability)) => Wish::Status(Some(*availability)),
            None => {
                let words: Vec<&str> = STATUSES.iter().map(|(word, _)| *word).chain(["auto"]).collect();
                return Err(format!("status takes one of {}", words.join(", ")));
            }
        },
        ("note", text) => Wish::Note(text.to_owned()),
        ("add", rest) => add(rest, me)?,
        ("remove", name) => Wish::Remove(who(name, "remove", me)?),
        ("end", name) => Wish::End(who(name, "end", me)?),
        ("say", rest) => match rest.split_once(char::is_whitespace) {
            Some((name, text)) => Wish::Say { who: who(name, "say", me)?, text: text.trim().to_owned() },
            None => return Err("say takes an address and a text: say bob@contoso.com Hello".to_owned()),
        },
        ("list" | "help" | "quit", _) => return Err(format!("{command} takes nothing after it")),
        _ => return Err(format!("{command:?} is no command; help lists them")),
    };
    Ok(Some(Typed::Wish(wish)))
}

fn who(name: &str, command: &str, me: &Aor) -> Result<Aor, String> {
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(format!("{command} takes one address: {command} bob@contoso.com"));
    }
    let whole = if name.contains('@') { name.to_owned() } else { format!("{name}@{}", me.domain()) };
    whole.parse().map_err(|error| format!("{name:?} is no address: {error}"))
}

/// `WHO [as NAME] [in GROUP]`: the name goes as far as `in`, so both may have blanks in them.
fn add(rest: &str, me: &Aor) -> Result<Wish, String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (address, words) = words.split_first().map_or(("", &words[..]), |(first, rest)| (*first, rest));
    let who = who(address, "add", me)?;
    let (name, group) = match words.iter().position(|word| *word == "in") {
        Some(at) => (&words[..at], &words[at + 1..]),
        None => (words, &words[words.len()..]),
    };
    let name = match name.split_first() {
        None => &[],
        Some((&"as", name)) => name,
        Some((word, _)) => return Err(format!("{word:?} is not understood: add WHO [as NAME] [in GROUP]")),
    };
    let text = |words: &[&str]| (!words.is_empty()).then(|| words.join(" "));
    Ok(Wish::Add { who, name: text(name), group: text(group) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Aor {
        "alice@contoso.test".parse().expect("an address")
    }

    fn wish(line: &str) -> Wish {
        match read(line, &me()) {
            Ok(Some(Typed::Wish(wish))) => wish,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn aor(text: &str) -> Aor {
        text.parse().expect("an address")
    }

    #[test]
    fn every_command_is_understood() {
        let add = |name: Option<&str>, group: Option<&str>| Wish::Add {
            who: aor("bob@contoso.test"),
            name: name.map(str::to_owned),
            group: group.map(str::to_owned),
        };
        for (line, expected) in [
            ("status Busy", Wish::Status(Some(6500))),
            ("status auto", Wish::Status(None)),
            ("note back at 3", Wish::Note("back at 3".to_owned())),
            ("note", Wish::Note(String::new())),
            ("add bob", add(None, None)),
            ("add bob as Bob Smith", add(Some("Bob Smith"), None)),
            ("add bob in Project Team", add(None, Some("Project Team"))),
            ("add bob as Bob in Team", add(Some("Bob"), Some("Team"))),
            ("remove bob@fabrikam.test", Wish::Remove(aor("bob@fabrikam.test"))),
            ("say  bob  Hello  you ", Wish::Say { who: aor("bob@contoso.test"), text: "Hello  you".to_owned() }),
            ("END bob", Wish::End(aor("bob@contoso.test"))),
            ("quit", Wish::Quit),
        ] {
            assert_eq!(wish(line), expected, "{line}");
        }
        assert_eq!(read("  ", &me()), Ok(None));
        assert_eq!((read("list", &me()), read("help", &me())), (Ok(Some(Typed::List)), Ok(Some(Typed::Help))));
    }

    #[test]
    fn what_is_not_understood_says_what_to_type() {
        for (line, words) in [
            ("status bored", "available, busy, dnd, brb, away, offline, auto"),
            ("dance", "help lists them"),
            ("say bob", "say bob@contoso.com Hello"),
            ("remove", "remove bob@contoso.com"),
            ("add bob for fun", "add WHO [as NAME] [in GROUP]"),
            ("add bob@", "is no address"),
            ("quit now", "takes nothing"),
        ] {
            let told = read(line, &me()).expect_err(line);
            assert!(told.contains(words), "{line}: {told}");
        }
    }
}
