//! Phones in conversation: what they send each other outside dialogs and inside, and what has arrived. Every message is checked
//! with the keys of the endpoint that gets it.

use super::Phone;
use crate::world::World;
use sip::dialog::Dialog;
use sip::{Draft, Message, Name};

/// Whoever is called.
pub(crate) const BOB: &str = "sip:bob@contoso.test";

/// A registered endpoint; the transcript calls it by this label.
pub(crate) fn endpoint(world: &World, name: &str, host: &str, epid: &str, label: &str) -> Phone {
    let mut phone = Phone::new(world, name, host).epid(epid);
    assert_eq!(phone.register(), 200);
    world.label(phone.conn(), label);
    world.transcript();
    phone
}

/// Alice and Bob, each with one endpoint and each in a pool of her and his own.
pub(crate) fn alice_and_bob(world: &World) -> (Phone, Phone) {
    (endpoint(world, "alice", "fe01", "a1", "alice"), endpoint(world, "bob", "fe03", "b1", "bob"))
}

/// Two endpoints of Bob's.
pub(crate) fn desk_and_home(world: &World) -> (Phone, Phone) {
    (endpoint(world, "bob", "fe03", "b1", "bob's desk"), endpoint(world, "bob", "fe03", "b2", "bob's home"))
}

/// A request outside a dialog; its branch, Call-ID and From tag are made of `call`.
pub(crate) fn first(phone: &Phone, method: &str, uri: &str, call: &str) -> Draft {
    let mut draft = Draft::request(method, uri);
    let address = uri.split([';', '?']).next().unwrap_or_default();
    draft
        .header("Via", format_args!("SIP/2.0/TLS 198.51.100.7:50001;branch=z9hG4bK{call}"))
        .header("Max-Forwards", 70)
        .header("From", phone.address(&format!("from-{call}")))
        .header("To", format_args!("<{address}>"))
        .header("Call-ID", call)
        .header("CSeq", format_args!("1 {method}"))
        .header("Contact", format_args!("<{}>", phone.gruu()));
    draft
}

/// Invites to converse; gives what was sent.
pub(crate) fn invite(phone: &mut Phone, uri: &str, call: &str) -> Draft {
    let mut draft = first(phone, "INVITE", uri, call);
    draft.body("application/sdp", "v=0\r\n");
    phone.send(draft.clone());
    draft
}

/// Answers a request; the tag of a new dialog is made of the endpoint's own `tag`.
pub(crate) fn answer(phone: &mut Phone, request: &str, code: u16, tag: &str) -> String {
    let request = Message::parse(request.as_bytes()).expect("a message");
    let address = phone.address(tag);
    let tag_and_epid = address.split_once(";tag=").map_or("", |(_, rest)| rest);
    let mut draft = Draft::answer(&request, code, "Whatever", tag_and_epid);
    draft.header("Contact", format_args!("<{}>", phone.gruu()));
    if code == 200 && request.method() == Some("INVITE") {
        draft.body("application/sdp", "v=0\r\n");
    }
    let text = String::from_utf8(draft.clone().finish()).expect("text");
    phone.send(draft);
    text
}

/// The one message that has arrived.
pub(crate) fn only(phone: &mut Phone) -> String {
    let mut messages = phone.received();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    messages.remove(0)
}

/// The latest message that has arrived.
pub(crate) fn last(phone: &mut Phone) -> String {
    phone.received().pop().expect("something has arrived")
}

/// The first words of messages: the methods of requests.
pub(crate) fn methods(messages: &[String]) -> Vec<&str> {
    messages.iter().filter_map(|message| message.split(' ').next()).collect()
}

/// The status codes of responses.
pub(crate) fn codes(messages: &[String]) -> Vec<u16> {
    messages.iter().map(|message| status(message).0).collect()
}

/// Status code of a response, and the id of its diagnostics.
pub(crate) fn status(text: &str) -> (u16, Option<u32>) {
    let message = Message::parse(text.as_bytes()).expect("a message");
    (message.status().unwrap_or(0), signin::reply::diagnostics(&message).0)
}

fn dialog_of_caller(request: Draft, response: &str) -> Dialog {
    let request = request.finish();
    let (request, response) = (Message::parse(&request).expect("ours"), Message::parse(response.as_bytes()));
    Dialog::of_client(&request, &response.expect("a message")).expect("a dialog")
}

fn dialog_of_callee(request: &str, response: &str) -> Dialog {
    let (request, response) = (Message::parse(request.as_bytes()), Message::parse(response.as_bytes()));
    Dialog::of_server(&request.expect("a message"), &response.expect("ours")).expect("a dialog")
}

/// A request in a dialog, as open clients write it: without a branch.
pub(crate) fn inside(dialog: &mut Dialog, method: &str, body: &str) -> Draft {
    let mut draft = dialog.request(method, "SIP/2.0/TLS 198.51.100.7:50001").expect("numbers are left");
    if !body.is_empty() {
        draft.body("text/plain; charset=UTF-8", body);
    }
    draft
}

/// The ACK for the 2xx of an INVITE with that number.
fn ack(dialog: &Dialog, number: u32) -> Draft {
    let mut draft = Draft::request("ACK", dialog.remote_target());
    let text = String::from_utf8(dialog.clone().request("ACK", "SIP/2.0/TLS 198.51.100.7").expect("left").finish());
    let text = text.expect("text");
    let message = Message::parse(text.as_bytes()).expect("ours");
    for header in message.headers().iter().filter(|h| !matches!(h.name, Name::CSeq | Name::ContentLength)) {
        draft.header(header.name.as_str(), header.value);
    }
    draft.header("CSeq", format_args!("{number} ACK"));
    draft
}

/// A conversation that has begun; nothing is left unread.
pub(crate) fn talk(caller: &mut Phone, callee: &mut Phone, uri: &str, call: &str) -> (Dialog, Dialog) {
    let request = invite(caller, uri, call);
    let arrived = only(callee);
    let answered = answer(callee, &arrived, 200, &format!("to-{call}"));
    let theirs = dialog_of_callee(&arrived, &answered);
    let ours = dialog_of_caller(request, &last(caller));
    caller.send(ack(&ours, 1));
    assert!(only(callee).starts_with("ACK "));
    (ours, theirs)
}
