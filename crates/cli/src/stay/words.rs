//! What happens while somebody is signed in, in words and as JSON. Whatever others have written is made fit for a terminal.

use serde_json::{Value, json};
use signin::converse::client::Event;
use signin::date_time::write_time;
use signin::legible::steers;
use signin::provision::contacts::{Contact, DEFAULT_GROUP};
use signin::provision::picture::{ContactPresence, News, Picture};
use signin::provision::presence::aggregation::describe;
use signin::stay::{End, Happening, Wish};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Ordinary.
    Plain,
    /// Somebody's words.
    Words,
    /// Not as it should be.
    Bad,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) tone: Tone,
    pub(crate) text: String,
}

/// Text of somebody else without what could steer a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// A line for what happened; some things need none.
pub(super) fn line(picture: &Picture, happening: &Happening) -> Option<Line> {
    let name = |who: &signin::name::Aor| clean(&picture.name(who));
    let (tone, text) = match happening {
        Happening::SignedIn { home, mechanism, again } => {
            let again = if *again { " again" } else { "" };
            (Tone::Plain, format!("signed in{again} at {home} with {mechanism}"))
        }
        Happening::Lost { why } => (Tone::Bad, format!("connection lost: {}", clean(why))),
        Happening::Waiting { attempt, time } => {
            (Tone::Bad, format!("signing in again in {:.0} s (attempt {attempt})", time.as_secs_f64().ceil()))
        }
        Happening::Failed(verdict) => (Tone::Bad, format!("{}: {}", verdict.id, clean(&verdict.sentence))),
        Happening::News(news) => (Tone::Plain, news_line(picture, news)?),
        Happening::Wanted(who) => {
            let shown = clean(if who.display_name.is_empty() { who.aor.as_str() } else { &who.display_name });
            (
                Tone::Plain,
                format!("{shown} ({}) has added you to their contacts; add {} adds them too", who.aor, who.aor),
            )
        }
        Happening::Conversation(Event::Said { peer, text }) => {
            (Tone::Words, format!("{}: {}", name(peer), clean(&text.words())))
        }
        Happening::Conversation(Event::Failed { peer, why, .. }) => {
            let reason = why.diagnostics.1.as_ref().unwrap_or(&why.reason);
            (Tone::Bad, format!("not delivered to {}: {} {}", name(peer), why.code, clean(reason)))
        }
        Happening::Conversation(Event::Ended { peer }) => {
            (Tone::Plain, format!("{} has ended the conversation", name(peer)))
        }
        Happening::Conversation(Event::Typing { .. } | Event::Delivered { .. }) => return None,
        Happening::Done(Wish::Say { who, text }) => (Tone::Words, format!("you to {}: {text}", name(who))),
        Happening::Done(Wish::Note(text)) if text.is_empty() => (Tone::Plain, "your note is gone".to_owned()),
        Happening::Done(Wish::Note(text)) => (Tone::Plain, format!("your note: {text}")),
        // The news say it.
        Happening::Done(_) => return None,
        Happening::Refused { wish, why } => (Tone::Bad, format!("{}: {}", wish_in_words(wish), clean(why))),
        Happening::Certificate { until } => {
            (Tone::Plain, format!("the certificate was renewed, valid until {}", write_time(*until)))
        }
        Happening::Remark(remark) => (Tone::Bad, clean(remark)),
    };
    Some(Line { tone, text })
}

fn news_line(picture: &Picture, news: &News) -> Option<String> {
    let name = |contact: &Contact| {
        let shown = clean(&picture.name(&contact.aor));
        if shown == contact.aor.as_str() { shown } else { format!("{shown} ({})", contact.aor) }
    };
    Some(match news {
        News::ContactAdded(contact) => format!("{} is in your contact list{}", name(contact), groups(picture, contact)),
        News::ContactChanged(contact) => format!("{} is changed{}", name(contact), groups(picture, contact)),
        News::ContactRemoved(contact) => format!("{} is no contact any more", contact.aor),
        News::GroupNamed(group) => format!("group {}", clean(&group.name)),
        News::GroupRemoved(group) => format!("group {} is gone", clean(&group.name)),
        News::Presence(presence) => format!("{} is {}", clean(&picture.name(&presence.aor)), seen(presence)),
        News::Own(presence) => format!("you are seen as {}", seen(presence)),
        // What follows is told by itself.
        News::ListOutOfStep | News::SignedOut { .. } => return None,
    })
}

/// The groups of a contact, unless it is only in the one that everybody has.
fn groups(picture: &Picture, contact: &Contact) -> String {
    let chosen = contact.groups.iter().filter(|id| **id != DEFAULT_GROUP);
    let names: Vec<String> =
        chosen.filter_map(|id| picture.contacts().group(*id)).map(|group| clean(&group.name)).collect();
    if names.is_empty() { String::new() } else { format!(", in {}", names.join(", ")) }
}

/// Status, activity and note of somebody.
pub(super) fn seen(presence: &ContactPresence) -> String {
    let status = presence.availability.map_or("unknown", describe);
    let activity = presence.activity.as_deref().filter(|activity| *activity != status).map(clean);
    let activity = activity.map(|activity| format!(", {activity}")).unwrap_or_default();
    let note = presence.note.as_deref().map(|note| format!(" — “{}”", clean(note))).unwrap_or_default();
    format!("{status}{activity}{note}")
}

fn wish_in_words(wish: &Wish) -> String {
    match wish {
        Wish::Status(_) => "your status stays as it is".to_owned(),
        Wish::Note(_) => "your note stays as it is".to_owned(),
        Wish::Add { who, .. } => format!("{who} is not added"),
        Wish::Remove(who) => format!("{who} is not removed"),
        Wish::Say { who, .. } => format!("not sent to {who}"),
        Wish::End(who) => format!("no conversation with {who} is ended"),
        Wish::Quit => "not signed out".to_owned(),
    }
}

/// How it ended.
pub(super) fn end(end: &End) -> Line {
    match end {
        End::SignedOut => Line { tone: Tone::Plain, text: "signed out".to_owned() },
        End::ByServer { event, why } => {
            let meaning = match event.as_str() {
                "rejected" => "the account is not (any more) allowed to sign in",
                "deactivated" => "the account has moved to another pool: sign in again",
                _ => "this device was signed in at another place",
            };
            let why = why.as_deref().map(|why| format!(" ({})", clean(why))).unwrap_or_default();
            Line { tone: Tone::Bad, text: format!("signed out by the server: {meaning}{why}") }
        }
        End::Refused(verdict) => {
            let text = format!("not signed in again: {}: {}\n  do: {}", verdict.id, verdict.sentence, verdict.fix);
            Line { tone: Tone::Bad, text }
        }
    }
}

/// The contacts by group, each group with its name; a contact in several groups is in each.
pub(super) fn contacts_by_group(picture: &Picture) -> Vec<(String, Vec<&Contact>)> {
    let list = picture.contacts();
    let mut all = Vec::new();
    for group in &list.groups {
        let name = if group.id == DEFAULT_GROUP { "Other contacts".to_owned() } else { clean(&group.name) };
        let mut members: Vec<&Contact> = list.contacts.iter().filter(|c| c.groups.contains(&group.id)).collect();
        members.sort_by_key(|contact| picture.name(&contact.aor).to_lowercase());
        if !members.is_empty() {
            all.push((name, members));
        }
    }
    // The group everybody has comes last, as people know it from their client.
    all.sort_by_key(|(name, _)| name == "Other contacts");
    all
}

/// What happened, for programs.
pub(super) fn json(picture: &Picture, happening: &Happening) -> Option<Value> {
    let presence = |presence: &ContactPresence| {
        json!({
            "address": presence.aor.as_str(), "name": picture.name(&presence.aor),
            "availability": presence.availability, "status": presence.availability.map(describe),
            "activity": presence.activity, "note": presence.note,
        })
    };
    let contact = |contact: &Contact| {
        let groups = contact.groups.iter().filter_map(|id| picture.contacts().group(*id)).map(|group| &group.name);
        json!({ "address": contact.aor.as_str(), "name": picture.name(&contact.aor), "groups": groups.collect::<Vec<_>>() })
    };
    let with = |event: &str, mut value: Value| {
        value["event"] = event.into();
        value
    };
    Some(match happening {
        Happening::SignedIn { home, mechanism, again } => {
            let contacts: Vec<Value> =
                picture.contacts().contacts.iter().map(|c| presence(&picture.presence(&c.aor))).collect();
            json!({
                "event": "signed_in", "home": home, "mechanism": mechanism, "again": again,
                "own": presence(&picture.own_presence()), "contacts": contacts,
            })
        }
        Happening::Lost { why } => json!({ "event": "lost", "why": why }),
        Happening::Waiting { attempt, time } => {
            json!({ "event": "waiting", "attempt": attempt, "seconds": time.as_secs_f64() })
        }
        Happening::Failed(verdict) => json!({ "event": "failed", "verdict": verdict }),
        Happening::Certificate { until } => json!({ "event": "certificate", "until": write_time(*until) }),
        Happening::News(News::ContactAdded(c)) => with("contact_added", contact(c)),
        Happening::News(News::ContactChanged(c)) => with("contact_changed", contact(c)),
        Happening::News(News::ContactRemoved(c)) => with("contact_removed", contact(c)),
        Happening::News(News::GroupNamed(group)) => json!({ "event": "group", "name": group.name }),
        Happening::News(News::GroupRemoved(group)) => json!({ "event": "group_removed", "name": group.name }),
        Happening::News(News::Presence(p)) => with("presence", presence(p)),
        Happening::News(News::Own(p)) => with("own", presence(p)),
        Happening::News(News::ListOutOfStep | News::SignedOut { .. }) => return None,
        Happening::Wanted(who) => json!({ "event": "wanted", "address": who.aor.as_str(), "name": who.display_name }),
        Happening::Conversation(Event::Said { peer, text }) => {
            json!({ "event": "said", "address": peer.as_str(), "text": text.words() })
        }
        Happening::Conversation(Event::Typing { peer, typing }) => {
            json!({ "event": "typing", "address": peer.as_str(), "typing": typing })
        }
        Happening::Conversation(Event::Delivered { peer, text }) => {
            json!({ "event": "delivered", "address": peer.as_str(), "text": text.0 })
        }
        Happening::Conversation(Event::Failed { peer, text, why }) => json!({
            "event": "not_delivered", "address": peer.as_str(), "text": text.0,
            "code": why.code, "why": why.diagnostics.1.as_ref().unwrap_or(&why.reason),
        }),
        Happening::Conversation(Event::Ended { peer }) => json!({ "event": "ended", "address": peer.as_str() }),
        Happening::Done(wish) => json!({ "event": "done", "wish": wish_named(wish) }),
        Happening::Refused { wish, why } => json!({ "event": "refused", "wish": wish_named(wish), "why": why }),
        Happening::Remark(remark) => json!({ "event": "remark", "text": remark }),
    })
}

fn wish_named(wish: &Wish) -> &'static str {
    match wish {
        Wish::Status(_) => "status",
        Wish::Note(_) => "note",
        Wish::Add { .. } => "add",
        Wish::Remove(_) => "remove",
        Wish::Say { .. } => "say",
        Wish::End(_) => "end",
        Wish::Quit => "quit",
    }
}

/// How it ended, for programs.
pub(super) fn json_end(end: &End) -> Value {
    match end {
        End::SignedOut => json!({ "event": "signed_out" }),
        End::ByServer { event, why } => json!({ "event": "signed_out_by_server", "reason": event, "why": why }),
        End::Refused(verdict) => json!({ "event": "refused_again", "verdict": verdict }),
    }
}
