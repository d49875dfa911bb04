//! Conversations at one server: who is asked, and carrying out what [`crate::converse`] decides.
//!
//! Other servers are asked two things only: which endpoints of a user they have, and to take an errand.

use super::{Arrived, FrontEnd, unavailable};
use crate::authenticate::server::Verified;
use crate::converse::message::{Endpoint, Errand, Place};
use crate::converse::server::{Act, Caller, Destination, Party, unknown_user, unreachable_user};
use crate::directory::{DirectoryError, User};
use crate::journal::ServerEvent;
use crate::name::Aor;
use crate::outgoing::Hop;
use crate::reply::Reply;
use sip::Message;
use std::sync::Arc;

/// Whom a request is for, looked up.
struct Asked {
    user: Arc<User>,
    places: Vec<Place>,
}

impl FrontEnd {
    /// A request of an endpoint that is registered here, for somebody else.
    pub(super) async fn converse(&self, arrived: &Arrived<'_>, verified: &Verified) {
        let request = &arrived.request;
        let claim = verified.claim();
        let caller = Caller {
            hop: arrived.hop.clone(),
            opaque: verified.opaque().into(),
            endpoint: Endpoint { aor: claim.aor.clone(), instance: claim.instance },
            to_tag: arrived.to_tag.clone(),
        };
        let acts = if request.method() == Some("CANCEL") {
            self.proxy.cancel(&caller, request)
        } else {
            match self.ask_whom(&caller.endpoint, request).await {
                Ok((sender, asked)) => {
                    let party = |user: &Arc<User>| (user.aor.clone(), user.display_name.clone());
                    let ((from, from_name), (to, to_name)) = (party(&sender), party(&asked.user));
                    let sender = Party { aor: &from, display_name: &from_name };
                    let user = Party { aor: &to, display_name: &to_name };
                    self.proxy.request(&caller, request, &sender, &user, &asked.places)
                }
                Err(Some(reply)) => vec![self.proxy.answer(&caller, request, &reply)],
                Err(None) => Vec::new(),
            }
        };
        self.carry_out(acts);
    }

    /// The sender, and whom his request is for. `Err(None)`: nobody, and an ACK is not answered.
    async fn ask_whom(&self, sender: &Endpoint, request: &Message<'_>) -> Result<(Arc<User>, Asked), Option<Reply>> {
        let is_ack = request.method() == Some("ACK");
        let refuse = |reply: Reply| (!is_ack).then_some(reply);
        let (aor, wanted) = match self.proxy.destination(sender, request) {
            Destination::Nowhere(reply) => return Err(reply),
            Destination::User(aor) => (aor, None),
            Destination::Endpoint(endpoint) | Destination::Dialog(endpoint) => (endpoint.aor.clone(), Some(endpoint)),
            Destination::Contact(uri) => {
                let found = self.neighbours().iter().find_map(|server| server.endpoint_with(&uri));
                let endpoint = found.ok_or_else(|| refuse(unreachable_user()))?;
                (endpoint.aor.clone(), Some(endpoint))
            }
        };
        if let Some(foreign) = self.here.refuse_domain(&aor) {
            return Err(refuse(foreign));
        }
        let asked = self.enabled_user(&aor).await.map_err(refuse)?;
        let from = self.enabled_user(&sender.aor).await.map_err(refuse)?;
        let ends = matches!(request.method(), Some("ACK" | "BYE"));
        if !ends {
            match self.answered_in_time(self.provision.is_blocked(&aor, &sender.aor)).await {
                Ok(false) => {}
                Ok(true) => return Err(refuse(unreachable_user())),
                Err(error) => return Err(refuse(self.unanswered(&error))),
            }
        }
        let is_wanted = |endpoint: &Endpoint| match &wanted {
            Some(one) => endpoint == one,
            None => endpoint != sender,
        };
        let mut places = Vec::new();
        for server in self.neighbours() {
            let fqdn: Arc<str> = server.fqdn().into();
            let here = server.endpoints_of(&aor).into_iter().filter(is_wanted);
            places.extend(here.map(|endpoint| Place { server: fqdn.clone(), endpoint }));
        }
        Ok((from, Asked { user: asked, places }))
    }

    async fn enabled_user(&self, aor: &Aor) -> Result<Arc<User>, Reply> {
        match self.answered_in_time(self.foundations.directory.user(aor)).await {
            Ok(Some(user)) if user.enabled && user.sip_enabled => Ok(user),
            Ok(_) => Err(unknown_user()),
            Err(error) => Err(self.unanswered(&error)),
        }
    }

    fn unanswered(&self, error: &DirectoryError) -> Reply {
        let reply = unavailable(error, true);
        self.note_trouble(&reply);
        reply
    }

    /// This server and the others, always in the same order.
    fn neighbours(&self) -> Vec<Neighbour<'_>> {
        let mut all: Vec<Neighbour<'_>> = self.foundations.neighbours.all().into_iter().map(Neighbour::Other).collect();
        all.retain(|server| server.fqdn() != self.fqdn());
        all.push(Neighbour::Here(self));
        all.sort_by(|a, b| a.fqdn().cmp(b.fqdn()));
        all
    }

    fn endpoints_of(&self, aor: &Aor) -> Vec<Endpoint> {
        let state = self.state();
        let bindings = state.location.bindings(aor).iter();
        bindings.map(|binding| Endpoint { aor: aor.clone(), instance: binding.instance }).collect()
    }

    fn endpoint_with(&self, contact: &str) -> Option<Endpoint> {
        let state = self.state();
        let (aor, binding) = state.location.with_contact(contact)?;
        Some(Endpoint { aor: aor.clone(), instance: binding.instance })
    }

    /// A response of an endpoint: to something it was asked, over its connection, and with the right signature if it has one.
    /// Nothing but the server can have told it the branch, and nobody else speaks on its connection; so clients that sign
    /// requests alone are believed.
    pub(super) fn answered(&self, hop: &Hop, response: &Message<'_>, bytes: &[u8]) {
        let Some(endpoint) = self.proxy.awaited(hop.conn, response) else { return };
        let check = self.state().associations.check_response(&endpoint.aor, endpoint.instance, response);
        match check {
            Ok(()) => self.carry_out(self.proxy.response(hop, response, bytes)),
            Err(error) => {
                let why = format!("the signature of a response: {error}");
                self.note(&ServerEvent::Refused { remote: hop.remote, why });
            }
        }
    }

    /// Does what a conversation needs done. Nothing is locked meanwhile.
    pub(super) fn carry_out(&self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Send { conn, opaque, draft, branch } => {
                    let signed = self.with_associations(|a, moment| a.sign(moment, &opaque, draft));
                    match (signed, branch) {
                        (Some(bytes), _) => self.foundations.wire.send(conn, bytes),
                        (None, Some(branch)) => self.carry_out(self.proxy.undeliverable(&branch)),
                        (None, None) => {}
                    }
                }
                Act::HandOver { server, errand } if *server == *self.fqdn() => self.take(errand),
                Act::HandOver { server, errand } => match (self.foundations.neighbours.of(&server), errand) {
                    (Some(neighbour), errand) => neighbour.take(errand),
                    // That server is gone, and with it its connections.
                    (None, Errand::Request { branch, .. }) => self.take(Errand::Lost { branch }),
                    (None, _) => {}
                },
            }
        }
    }

    /// An errand of another server.
    fn take(&self, errand: Errand) {
        let binding = |to: &Endpoint| self.state().location.binding(&to.aor, to.instance).cloned();
        self.carry_out(self.proxy.take(errand, binding));
    }
}

/// A server of the deployment.
enum Neighbour<'a> {
    Here(&'a FrontEnd),
    Other(Arc<FrontEnd>),
}

impl std::ops::Deref for Neighbour<'_> {
    type Target = FrontEnd;

    fn deref(&self) -> &FrontEnd {
        match self {
            Neighbour::Here(server) => server,
            Neighbour::Other(server) => server,
        }
    }
}
