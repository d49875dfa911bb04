//! What a client publishes about its user: the first publication, a new status, a note. `[MS-PRES]` §2.2.2.5.
//!
//! Every operation names the version it replaces, which is known from one's own presence. A server that knows of another
//! version answers 409 with the right ones ([`renumber`]).

use super::client::Endpoint;
use super::presence::aggregation::AVAILABLE;
use super::presence::message::{Conflict, ExpireType, OwnPresence, Publish};
use crate::xml::escape;

/// The first publication after the sign-in: the device, that somebody is at it, and the user's choice, if there is one.
pub(super) fn first(me: &Endpoint, choice: Option<u32>, own: &OwnPresence) -> Vec<Publish> {
    let device = device_number(&me.epid);
    let machine = (device >> 4) | 0x3000_0000;
    let mut operations = vec![on(own, "device", device, 2, ExpireType::Endpoint, Some(device_xml(me)))];
    for container in AGGREGATED {
        let xml = state_xml("machineState", false, AVAILABLE);
        operations.push(on(own, "state", machine, container, ExpireType::Endpoint, Some(xml)));
    }
    if choice.is_some() {
        operations.extend(status(choice, own));
    }
    operations
}

/// The user's choice of a status; `None` takes it back, and the machine's state speaks for the user.
pub(crate) fn status(availability: Option<u32>, own: &OwnPresence) -> Vec<Publish> {
    let xml = availability.map(|availability| state_xml("userState", true, availability));
    let publish = |container| on(own, "state", USER_STATE, container, ExpireType::Static, xml.clone());
    AGGREGATED.into_iter().map(publish).collect()
}

/// A note for everybody in the enterprise; an empty one takes it back.
pub(crate) fn note(text: &str, own: &OwnPresence) -> Vec<Publish> {
    let xml = (!text.is_empty()).then(|| {
        format!(
            "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body type=\"personal\" uri=\"\">{}</body></note>",
            escape(text)
        )
    });
    NOTE_READERS.into_iter().map(|container| on(own, "note", 0, container, ExpireType::Static, xml.clone())).collect()
}

/// Puts in the versions that the server has told.
pub(crate) fn renumber(operations: &mut [Publish], conflicts: &[Conflict]) {
    for conflict in conflicts {
        if let Some(operation) = conflict.index.checked_sub(1).and_then(|at| operations.get_mut(at)) {
            operation.version = conflict.current;
        }
    }
}

/// Containers whose states the server aggregates.
const AGGREGATED: [u16; 2] = [2, 3];

/// Containers of those who may read a note: colleagues, workgroup, family. `[MS-PRES]` §2.2.2.
const NOTE_READERS: [u16; 3] = [200, 300, 400];

/// Instance of the state the user chose. `[MS-PRES]` §2.2.2.
const USER_STATE: u32 = 0x2000_0000;

/// An operation on the version that is known.
fn on(
    own: &OwnPresence,
    category: &str,
    instance: u32,
    container: u16,
    expire: ExpireType,
    value: Option<String>,
) -> Publish {
    let known = own.categories.iter().flat_map(|own| &own.categories);
    let mut found =
        known.filter(|c| c.name == category && c.instance == Some(instance) && c.container == Some(container));
    let version = found.next().and_then(|category| category.version).unwrap_or(0);
    Publish { category: category.to_owned(), instance, container, version, expire, value }
}

/// The number an endpoint's publications are known by: its epid's first eight hexadecimal digits, or, of another kind
/// of epid, a number that is as good.
fn device_number(epid: &str) -> u32 {
    let digits = epid.get(..8).unwrap_or(epid);
    u32::from_str_radix(digits, 16)
        .unwrap_or_else(|_| epid.bytes().fold(0x811c_9dc5, |hash, b| (hash ^ u32::from(b)).wrapping_mul(0x0100_0193)))
}

fn device_xml(me: &Endpoint) -> String {
    format!(
        "<device xmlns=\"http://schemas.microsoft.com/2006/09/sip/device\" endpointId=\"{}\">\
         <capabilities preferred=\"false\" uri=\"{}\"><text capture=\"true\" render=\"true\" publish=\"false\"/>\
         </capabilities><timezone>00:00:00+00:00</timezone><machineName>{}</machineName></device>",
        escape(&me.instance),
        escape(&me.aor.to_uri()),
        escape(&me.machine)
    )
}

fn state_xml(kind: &str, manual: bool, availability: u32) -> String {
    format!(
        "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" manual=\"{manual}\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">\
         <availability>{availability}</availability><endpointLocation/></state>"
    )
}
