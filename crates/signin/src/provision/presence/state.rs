//! The values of `state`, `device` and `services`: the only categories whose content the server knows, because it
//! aggregates them. `[MS-PRES]` §3.8.

use super::aggregation::{Activity, Aggregate, Capability, Circumstances, Device, Service, State, StateKind};
use super::message::number;
use crate::name::Aor;
use crate::xml::{Element, escape};
use std::fmt::Write;

/// What a `state` element says.
pub fn read_state(state: &Element) -> State {
    let activity = |activity: &Element| Activity {
        token: activity.attribute("token").unwrap_or_default().to_owned(),
        custom: activity
            .all("custom")
            .map(|custom| (custom.attribute("LCID").unwrap_or_default().to_owned(), custom.trimmed().to_owned()))
            .collect(),
        lowest: number(activity, "minAvailability").unwrap_or(0),
        highest: number(activity, "maxAvailability").unwrap_or(u32::MAX),
    };
    State {
        kind: StateKind::from_type(state.attribute("type").unwrap_or_default()),
        manual: state.attribute("manual") == Some("true"),
        availability: state.child("availability").and_then(|a| a.trimmed().parse().ok()),
        activities: state.all("activity").map(activity).collect(),
        circumstances: read_circumstances(state),
    }
}

fn read_circumstances(state: &Element) -> Circumstances {
    let text = |name: &str| state.child(name).map(|e| e.trimmed().to_owned()).unwrap_or_default();
    Circumstances {
        endpoint_location: text("endpointLocation"),
        meeting_subject: text("meetingSubject"),
        meeting_location: text("meetingLocation"),
        time_zone_bias: text("timeZoneBias"),
        time_zone_name: text("timeZoneName"),
        time_zone_abbreviation: text("timeZoneAbbreviation"),
        device: text("device"),
    }
}

/// What a `device` element says.
pub fn read_device(device: &Element) -> Device {
    let capabilities = device.child("capabilities");
    let is = |element: &Element, name: &str| element.attribute(name) == Some("true");
    let capability =
        |c: &Element| Capability { name: c.name.clone(), capture: is(c, "capture"), render: is(c, "render") };
    Device {
        endpoint_id: device.attribute("endpointId").unwrap_or_default().to_owned(),
        preferred: capabilities.is_some_and(|c| is(c, "preferred")),
        capabilities: capabilities.map(|c| c.children.iter().map(capability).collect()).unwrap_or_default(),
    }
}

/// Writes the `services` element: what the user can do. `[MS-PRES]` §3.8.
pub fn write_services(owner: &Aor, services: &[Service]) -> String {
    let mut xml = format!(
        "<services xmlns=\"http://schemas.microsoft.com/2006/09/sip/service\"><service uri=\"{}\"><capabilities>",
        escape(&owner.to_uri())
    );
    for Service { capability: Capability { name, capture, render }, availability, preferred } in services {
        let _ = write!(xml, "<{name} render=\"{render}\" capture=\"{capture}\" deviceAvailability=\"{availability}\"");
        if let Some(id) = preferred {
            let _ = write!(xml, " preferredEndpointId=\"{}\"", escape(id));
        }
        xml.push_str("/>");
    }
    xml.push_str("</capabilities></service></services>");
    xml
}

/// Writes the `state` element that an aggregation gave. `last_active`: since when nobody is at a machine, in UTC.
pub fn write_aggregate(aggregate: &Aggregate, last_active: Option<&str>) -> String {
    let last_active = last_active.map(|time| format!(" lastActive=\"{time}\"")).unwrap_or_default();
    let mut xml = state_start("aggregateState", &last_active, aggregate.availability);
    if let Some(activity) = &aggregate.activity {
        xml.push_str("<activity");
        if !activity.token.is_empty() {
            let _ = write!(xml, " token=\"{}\"", escape(&activity.token));
        }
        if activity.lowest > 0 {
            let _ = write!(xml, " minAvailability=\"{}\"", activity.lowest);
        }
        if activity.highest < u32::MAX {
            let _ = write!(xml, " maxAvailability=\"{}\"", activity.highest);
        }
        xml.push('>');
        for (lcid, text) in &activity.custom {
            let _ = write!(xml, "<custom LCID=\"{}\">{}</custom>", escape(lcid), escape(text));
        }
        xml.push_str("</activity>");
    }
    write_circumstances(&mut xml, &aggregate.circumstances);
    xml.push_str("</state>");
    xml
}

/// Writes the `state` element of the machine somebody is most likely at.
pub fn write_machine(endpoint_id: &str, machine: &State) -> String {
    let endpoint_id = format!(" endpointId=\"{}\"", escape(endpoint_id));
    let mut xml = state_start("aggregateMachineState", &endpoint_id, machine.availability.unwrap_or(0));
    write_circumstances(&mut xml, &machine.circumstances);
    xml.push_str("</state>");
    xml
}

fn state_start(kind: &str, attribute: &str, availability: u32) -> String {
    format!(
        "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\"{attribute}>\
         <availability>{availability}</availability>"
    )
}

/// In the order of the schema, which has its own marks around what was added to it later.
fn write_circumstances(xml: &mut String, told: &Circumstances) {
    let mut write = |name: &str, text: &str| {
        if !text.is_empty() {
            let _ = write!(xml, "<{name}>{}</{name}>", escape(text));
        }
    };
    write("endpointLocation", &told.endpoint_location);
    write("meetingSubject", &told.meeting_subject);
    write("meetingLocation", &told.meeting_location);
    let added = [
        ("timeZoneBias", &told.time_zone_bias),
        ("timeZoneName", &told.time_zone_name),
        ("timeZoneAbbreviation", &told.time_zone_abbreviation),
        ("device", &told.device),
    ];
    if added.iter().all(|(_, text)| text.is_empty()) {
        return;
    }
    xml.push_str("<delimiter xmlns=\"http://schemas.microsoft.com/2006/09/sip/commontypes\"/>");
    for (name, text) in added.into_iter().filter(|(_, text)| !text.is_empty()) {
        let _ = write!(xml, "<{name}>{}</{name}>", escape(text));
    }
    xml.push_str("<end xmlns=\"http://schemas.microsoft.com/2006/09/sip/commontypes\"/>");
}
