//! The requests of step 5, and of whoever stays. `[MS-SIP]` §3.5, `[MS-PRES]`, `[MS-SIPREGE]` §2.2.2.4.

use super::{Endpoint, Request};
use crate::provision::contacts::message as contact_list;
use crate::provision::presence::batch::{self, Action, write_batch};
use crate::provision::presence::message::{self as documents, Publish, write_publish, write_roaming_list};
use crate::provision::settings::location_profile::{self, Choice, ProfileUri};
use crate::provision::settings::message as provisioning;
use crate::provision::subscription::Package;

/// Groups asked for. `[MS-SIPREGE]` §2.2.2.4; without the grammars, which only the desktop client can use.
pub const WANTED_GROUPS: &[&str] = &[
    "ServerConfiguration",
    "meetingPolicy",
    "ucPolicy",
    "userSetting",
    "endpointConfiguration",
    "locationPolicy",
    "mediaConfiguration",
    "presencePolicyV2",
    "publicProviders",
    "persistentChatConfiguration",
    "mobilityPolicy",
];

/// Categories of contacts asked for.
pub(crate) const WANTED_CATEGORIES: &[&str] = &["calendarData", "contactCard", "note", "state"];

/// A SUBSCRIBE with what all of them have.
fn subscribe(me: &Endpoint, package: Package, accept: &str) -> Request {
    Request {
        method: "SUBSCRIBE",
        uri: me.aor.to_uri(),
        headers: vec![
            ("Event", package.event().to_owned()),
            ("Accept", accept.to_owned()),
            ("Supported", "com.microsoft.autoextend".to_owned()),
            ("Supported", "ms-benotify".to_owned()),
            ("Proxy-Require", "ms-benotify".to_owned()),
            ("Supported", "ms-piggyback-first-notify".to_owned()),
        ],
        body: None,
        within: None,
    }
}

pub(super) fn settings_request(me: &Endpoint) -> Request {
    let mut request = subscribe(me, Package::Provisioning, provisioning::CONTENT_TYPE);
    request.headers.push(("Expires", "0".to_owned()));
    request.body = Some((provisioning::CONTENT_TYPE, provisioning::write_request(WANTED_GROUPS)));
    request
}

/// The whole contact list, and every change of it from now on.
pub(crate) fn contacts_request(me: &Endpoint) -> Request {
    subscribe(me, Package::Contacts, contact_list::CONTENT_TYPE)
}

/// All of one's own presence, and every change of it from now on.
pub(crate) fn own_presence_request(me: &Endpoint) -> Request {
    let mut request = subscribe(me, Package::OwnPresence, documents::OWN_PRESENCE);
    request.body = Some((documents::OWN_PRESENCE, write_roaming_list().to_owned()));
    request
}

pub(super) fn dial_plan_request(me: &Endpoint) -> Request {
    let uri = ProfileUri { aor: me.aor.clone(), choice: Choice::Assigned };
    let headers = vec![("Accept", location_profile::CONTENT_TYPE.to_owned())];
    Request { method: "SERVICE", uri: uri.to_string(), headers, body: None, within: None }
}

/// To be told of users from now on, besides those told of already; or no more.
pub(crate) fn batch_request(me: &Endpoint, action: &Action) -> Request {
    let accept = "application/rlmi+xml, multipart/related, application/msrtc-event-categories+xml";
    let mut request = subscribe(me, Package::Presence, accept);
    request.headers.push(("Require", "adhoclist, categoryList".to_owned()));
    request.headers.push(("Supported", "eventlist".to_owned()));
    request.body = Some((batch::REQUEST, write_batch(&me.aor, action)));
    request
}

/// A SERVICE to oneself.
pub(crate) fn service(me: &Endpoint, content_type: &'static str, body: String) -> Request {
    let body = Some((content_type, body));
    Request { method: "SERVICE", uri: me.aor.to_uri(), headers: Vec::new(), body, within: None }
}

/// A publication.
pub(crate) fn publish_request(me: &Endpoint, operations: &[Publish]) -> Request {
    service(me, documents::PUBLISH, write_publish(&me.aor, operations))
}
