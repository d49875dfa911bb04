//! A server in front of the store, spoken to as endpoints speak: what it acknowledges has to last.

use super::{aor, block_on};
use signin::directory::Directory;
use signin::io::Now;
use signin::name::Aor;
use signin::provision::presence::batch::{Action, Verb, read_presence, write_batch};
use signin::provision::presence::message::{OwnPresence, read_own_presence, write_roaming_list};
use signin::provision::server::{Caller, Limits, Live, Provision};
use signin::reply::Reply;
use signin::service::Surroundings;
use signin::topology::{HostPort, Topology};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PUBLISH: &str = "application/msrtc-category-publish+xml";
const SET_CONTAINERS: &str = "application/msrtc-setcontainermembers+xml";
const SET_SUBSCRIBERS: &str = "application/msrtc-presence-setsubscriber+xml";

/// One server that has just started.
pub(crate) struct Server {
    provision: Arc<Provision>,
    calls: AtomicU64,
}

/// A clock that can be ahead of the real one, and bytes that are not random.
struct Clock {
    ahead: u64,
}

impl Surroundings for Clock {
    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + self.ahead;
        Now { since_start: Duration::from_secs(unix), unix_seconds: i64::try_from(unix).expect("not that late") }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

impl Server {
    /// A server on this directory.
    pub(crate) fn on(directory: Arc<dyn Directory>) -> Server {
        Server::later(directory, 0)
    }

    /// A server whose clock is so many seconds ahead.
    pub(crate) fn later(directory: Arc<dyn Directory>, ahead: u64) -> Server {
        let topology = Topology { sip_domains: vec!["contoso.test".to_owned()], ..Topology::default() };
        let own = HostPort { host: "fe1.contoso.test".to_owned(), port: 5061 };
        let surroundings = Arc::new(Clock { ahead });
        let live = Live::new();
        let provision = Provision::new(&own, directory, surroundings, Arc::new(topology), live, Limits::default());
        Server { provision: Arc::new(provision), calls: AtomicU64::new(0) }
    }

    fn request(&self, who: &Caller, method: &str, head: &str, body: &str) -> Reply {
        let uri = who.aor.to_uri();
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let text = format!(
            "{method} {uri} SIP/2.0\r\nFrom: <{uri}>;tag=f;epid={}\r\nTo: <{uri}>\r\nCall-ID: c{call}-{}\r\n\
             CSeq: 1 {method}\r\n{head}Content-Length: {}\r\n\r\n{body}",
            who.epid,
            who.epid,
            body.len()
        );
        let message = sip::Message::parse(text.as_bytes()).expect("a request");
        let answer = block_on(self.provision.answer(who, &message, "t"));
        self.provision.deliver(|_| {});
        answer.reply.expect("an answer")
    }

    fn service(&self, who: &Caller, content_type: &str, body: &str) -> u16 {
        self.request(who, "SERVICE", &format!("Content-Type: {content_type}\r\n"), body).code
    }

    /// Publishes one value, or deletes it when it is empty; the status.
    pub(crate) fn publish(&self, who: &Caller, version: u32, expire: &str, category: &str, value: &str) -> u16 {
        self.publish_all(who, &[(version, expire, category, value)])
    }

    /// The same for several values in one request: version, expire type, category, value.
    pub(crate) fn publish_all(&self, who: &Caller, values: &[(u32, &str, &str, &str)]) -> u16 {
        let one = |(version, expire, category, value): &(u32, &str, &str, &str)| {
            let expires = if value.is_empty() { " expires='0'" } else { "" };
            format!(
                "<publication categoryName='{category}' instance='0' container='200' version='{version}' \
                 expireType={expire}{expires}>{value}</publication>"
            )
        };
        let values: String = values.iter().map(one).collect();
        let body = format!("<publish><publications uri='{}'>{values}</publications></publish>", who.aor.to_uri());
        self.service(who, PUBLISH, &body)
    }

    /// Adds somebody to a container, or takes them out; the status.
    pub(crate) fn set_member(&self, who: &Caller, container: u16, version: u32, add: bool, member: &Aor) -> u16 {
        let action = if add { "add" } else { "remove" };
        let body = format!(
            "<setContainerMembers><container id='{container}' version='{version}'><member action='{action}' \
             type='user' value='{member}'/></container></setContainerMembers>"
        );
        self.service(who, SET_CONTAINERS, &body)
    }

    /// Subscribes to somebody as one who was just added; the status.
    pub(crate) fn add(&self, who: &Caller, whom: &Aor) -> u16 {
        let head = "Event: presence\r\nContent-Type: application/msrtc-adrl-categorylist+xml\r\n";
        let body = format!(
            "<batchSub><action name='subscribe' id='1'><adhocList><resource uri='{}'><context/></resource></adhocList>\
             <categoryList><category name='state'/></categoryList></action></batchSub>",
            whom.to_uri()
        );
        self.request(who, "SUBSCRIBE", head, &body).code
    }

    /// Subscribes to the presence of many at once: of how many there is a part in the answer, and its length.
    pub(crate) fn watch<'a>(&self, who: &Caller, whom: impl Iterator<Item = &'a Aor>) -> (usize, usize) {
        let head = "Event: presence\r\nSupported: ms-piggyback-first-notify\r\nRequire: adhoclist, categoryList\r\n\
            Content-Type: application/msrtc-adrl-categorylist+xml\r\n";
        let categories = ["calendarData", "contactCard", "note", "services", "state"];
        let reply = self.request(
            who,
            "SUBSCRIBE",
            head,
            &write_batch(&who.aor, &Action::with(Verb::Subscribe, whom, &categories)),
        );
        let (content_type, body) = reply.body.expect("a document");
        (read_presence(&content_type, &body).expect("presence").users.len(), body.len())
    }

    /// Acknowledges a subscriber; the status.
    pub(crate) fn acknowledge(&self, who: &Caller, subscriber: &Aor) -> u16 {
        let body = format!("<setSubscribers><subscriber user='{subscriber}' acknowledged='true'/></setSubscribers>");
        self.service(who, SET_SUBSCRIBERS, &body)
    }

    /// Everything a user is told of the own presence.
    pub(crate) fn own(&self, who: &Caller) -> OwnPresence {
        let head = "Event: vnd-microsoft-roaming-self\r\nSupported: ms-piggyback-first-notify\r\n\
            Content-Type: application/vnd-microsoft-roaming-self+xml\r\n";
        let reply = self.request(who, "SUBSCRIBE", head, write_roaming_list());
        let (_, body) = reply.body.expect("a document");
        read_own_presence(&body).expect("own presence")
    }

    /// The endpoint signs out.
    pub(crate) fn gone(&self, who: &Caller) {
        block_on(Box::pin(self.provision.endpoint_gone(&who.aor, &who.epid)));
    }
}

/// An endpoint of a user of contoso.test.
pub(crate) fn endpoint(user: &str, epid: &str) -> Caller {
    Caller { aor: aor(&format!("{user}@contoso.test")), epid: epid.to_owned(), external: false }
}
