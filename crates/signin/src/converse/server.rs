//! The server's half: a stateful proxy between endpoints. RFC 3261 §16.
//!
//! Everything that happens is one call, and what has to be done about it is a list of [`Act`]s: sign this and send it there,
//! hand that to another server. Who may speak was decided before, and where a user's endpoints are is asked by the caller of
//! these calls; no lock is held while anything is sent.
//!
//! An endpoint answers over the connection it was asked over, under the branch it was asked with; anything else is dropped. What
//! nobody answers ends by itself.
//!
//! | file | tells |
//! |---|---|
//! | `origin` | the sender's server: where a request leads, whom it asks, which answer goes back |
//! | `context` | requests on their way: who asked, who was asked, the best answer so far |
//! | `asked` | the server of whoever is asked: what its endpoints were sent, and what they answer |
//! | `dialogs` | where the dialogs of its endpoints lead |
//! | `forward` | how a message changes on its way |

mod asked;
mod context;
mod dialogs;
mod forward;
mod origin;

pub use self::origin::Destination;

use self::asked::AskedRequests;
use self::context::{ResponseContexts, nobody_there};
use self::dialogs::Dialogs;
use super::message::{Endpoint, Errand};
use crate::io::ConnId;
use crate::name::Aor;
use crate::outgoing::{self, Hop};
use crate::register::location::Binding;
use crate::reply::{Diagnostics, Reply};
use crate::service::Surroundings;
use crate::topology::HostPort;
use sip::transaction::RESPONSE_LIMIT;
use sip::{Draft, Message};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much conversations may cost, and how long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests of one connection in progress at a time; those that linger count.
    pub in_progress: usize,
    /// Requests that wait for the answer of one connection.
    pub awaited: usize,
    /// Those of one sender among them: nobody makes another unreachable by asking and asking.
    pub awaited_of_sender: usize,
    /// Endpoints asked with one request.
    pub branches: usize,
    /// Dialogs of one endpoint.
    pub dialogs: usize,
    /// Longest body, bytes.
    pub body: usize,
    /// How long an INVITE may wait for a final answer: timer C of RFC 3261 §16.6, which has three minutes for telephones. Nobody
    /// waits that long for a message to be taken.
    pub invite: Duration,
    /// How long any other request may: timer F (§17.1.2.2).
    pub other: Duration,
    /// How long an unused dialog is remembered (our choice).
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            in_progress: 64,
            awaited: 512,
            awaited_of_sender: 64,
            branches: 32,
            dialogs: 256,
            body: 64 * 1024,
            invite: Duration::from_secs(60),
            other: RESPONSE_LIMIT,
            idle: Duration::from_secs(8 * 3600),
        }
    }
}

/// How long a request that was answered waits for the endpoints that were called off: 64 · T1 (§9.1).
const LINGER: Duration = RESPONSE_LIMIT;

/// How often unused dialogs are looked for.
const DIALOGS_SWEPT: Duration = Duration::from_secs(60);

/// The proven sender of a request, and the way back to him.
#[derive(Debug, Clone)]
pub struct Caller {
    /// His connection.
    pub hop: Hop,
    /// Names the association that signs what he gets.
    pub opaque: Box<str>,
    /// Who he is.
    pub endpoint: Endpoint,
    /// To tag of answers that are the server's own.
    pub to_tag: String,
}

/// A party to a conversation as the other one is shown it.
#[derive(Debug, Clone, Copy)]
pub struct Party<'a> {
    /// The user.
    pub aor: &'a Aor,
    /// Name in the directory.
    pub display_name: &'a str,
}

impl Party<'_> {
    fn identity(&self) -> String {
        forward::identity(self.display_name, &self.aor.to_uri())
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Act {
    /// Sign this with the association of that name and send it.
    Send {
        /// Over which connection.
        conn: ConnId,
        /// Which association.
        opaque: Box<str>,
        /// The message.
        draft: Draft,
        /// When it is a request that somebody waits for: its branch, for [`Proxy::undeliverable`].
        branch: Option<Box<str>>,
    },
    /// Give this to the server of that FQDN, which may be this one.
    HandOver {
        /// FQDN.
        server: Arc<str>,
        /// What it is to do.
        errand: Errand,
    },
}

/// One server's conversations.
pub struct Proxy {
    fqdn: Arc<str>,
    /// `host:port` of this server, for Via.
    sent_by: String,
    limits: Limits,
    surroundings: Arc<dyn Surroundings>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests of its own endpoints.
    contexts: ResponseContexts,
    /// Requests that its endpoints were asked.
    asked: AskedRequests,
    dialogs: Dialogs,
    /// When dialogs were last looked through: all of them, so not each second.
    dialogs_swept: Duration,
}

impl Proxy {
    /// The server at `own`.
    pub fn new(own: &HostPort, limits: Limits, surroundings: Arc<dyn Surroundings>) -> Proxy {
        let fqdn = own.host.as_str().into();
        Proxy { fqdn, sent_by: own.to_string(), limits, surroundings, state: Mutex::default() }
    }

    /// Requests under way, requests endpoints were asked, dialogs.
    pub fn counts(&self) -> (usize, usize, usize) {
        let state = self.lock();
        (state.contexts.len(), state.asked.len(), state.dialogs.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.surroundings.now().since_start
    }

    /// The URI that keeps a server in a dialog.
    fn record_route(host: &str) -> String {
        format!("<sip:{host};transport=tls;lr>")
    }

    /// An errand of another server, or of this one. `binding` finds an endpoint that is registered here.
    pub fn take(&self, errand: Errand, binding: impl FnOnce(&Endpoint) -> Option<Arc<Binding>>) -> Vec<Act> {
        match errand {
            Errand::Request { branch, origin, from, to, bytes } => {
                let binding = binding(&to);
                self.ask(branch, origin, from, to, &bytes, binding.as_deref())
            }
            Errand::Cancel { branch, bytes } => self.cancel_asked(&branch, &bytes),
            Errand::Response { branch, hop, bytes } => self.returned(&branch, hop, bytes),
            Errand::Lost { branch } => self.lost(&branch),
        }
    }

    /// The server's own answer.
    pub fn answer(&self, caller: &Caller, request: &Message<'_>, reply: &Reply) -> Act {
        let draft = outgoing::response(request, reply, &caller.to_tag, &caller.hop, &self.fqdn);
        Act::Send { conn: caller.hop.conn, opaque: caller.opaque.clone(), draft, branch: None }
    }

    // ---- what ends by itself --------------------------------------------------------------------------------

    /// A connection is gone: whoever waits for its answers is told, what it asked is called off.
    pub fn closed(&self, conn: ConnId) -> Vec<Act> {
        let now = self.now();
        let mut state = self.lock();
        let mut acts = state.asked.closed(conn);
        self.caller_gone(&mut state.contexts, conn, now, &mut acts);
        acts
    }

    /// An endpoint is not registered here any more.
    pub fn endpoint_gone(&self, endpoint: &Endpoint) {
        self.lock().dialogs.endpoint_gone(endpoint);
    }

    /// Ends what has waited long enough.
    pub fn sweep(&self) -> Vec<Act> {
        let now = self.now();
        let mut acts = Vec::new();
        let mut state = self.lock();
        self.end_late(&mut state.contexts, now, &mut acts);
        state.asked.sweep(now);
        if now >= state.dialogs_swept + DIALOGS_SWEPT {
            state.dialogs_swept = now;
            state.dialogs.sweep(now, self.limits.idle);
        }
        acts
    }
}

/// The address is nobody's.
pub fn unknown_user() -> Reply {
    let why = Diagnostics::internal(4005, "Destination URI either not enabled for SIP or does not exist");
    Reply::new(404, "Not Found").because(why)
}

/// The user has no endpoint that could be asked, or wants none to be.
pub fn unreachable_user() -> Reply {
    nobody_there()
}
