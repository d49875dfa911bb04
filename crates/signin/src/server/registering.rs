//! Registrations at one server, carried out as room 4 decides: made, refused, redirected, ended. Whoever registers has proven
//! who he is; whether the address is his is asked here.

use super::{Arrived, FrontEnd, unavailable};
use crate::authenticate::server::Verified;
use crate::authenticate::verifier::Identity;
use crate::converse::message::Endpoint;
use crate::directory::{DirectoryError, User};
use crate::io::ConnId;
use crate::journal::ServerEvent;
use crate::name::Aor;
use crate::register::location::{Added, Binding};
use crate::register::message::{Deregistration, RegisterAction, RegisterRequest, received_contact};
use crate::register::server::{self as registrar, Decision, Granted};
use std::sync::Arc;
use std::time::Duration;

impl FrontEnd {
    /// A REGISTER of whoever has proven who he is.
    pub(super) async fn register(&self, arrived: &Arrived<'_>, verified: &Verified) {
        let request = match RegisterRequest::read(&arrived.request, &arrived.to_tag) {
            Ok(request) => request,
            Err(reply) => {
                self.answer(arrived, verified, &reply);
                return self.part_with_newcomer(verified).await;
            }
        };
        let decision = match self.decide(verified).await {
            Ok(decision) => decision,
            Err(error) => {
                self.answer(arrived, verified, &unavailable(&error, true));
                return self.part_with_newcomer(verified).await;
            }
        };
        let aor = verified.claim().aor.clone();
        match decision {
            Decision::Refuse(reply) => {
                let diagnostics = reply.diagnostics.clone();
                self.note(&ServerEvent::TurnedAway { aor, code: reply.code, diagnostics });
                self.answer(arrived, verified, &reply);
                self.part(verified).await;
            }
            Decision::Redirect(to) => {
                self.note(&ServerEvent::Redirected { aor, to: to.clone() });
                self.answer(arrived, verified, &registrar::redirect(&to));
                self.part(verified).await;
            }
            Decision::Register { .. } if request.expires == Some(0) => self.unbind(arrived, verified).await,
            Decision::Register { primary } => self.bind(arrived, verified, request, primary).await,
        }
    }

    /// What room 4 says of the user, if anybody can tell who that is.
    async fn decide(&self, verified: &Verified) -> Result<Decision, DirectoryError> {
        if let Some(refusal) = self.here.refuse_domain(&verified.claim().aor) {
            return Ok(Decision::Refuse(refusal));
        }
        let (user, owns) = self.user_and_owner(verified).await?;
        Ok(self.here.decide(user.as_deref(), owns))
    }

    /// Whether the account owns the address it claims. Asked once in each association: a REGISTER asks anyway, and who
    /// authenticates with another request must not get by without one.
    pub(super) async fn owns(&self, verified: &Verified) -> Result<bool, DirectoryError> {
        if verified.is_owner() {
            return Ok(true);
        }
        let (_, owns) = self.user_and_owner(verified).await?;
        Ok(owns)
    }

    /// The user of the claimed address, and whether that address is the proven identity's, which the association remembers.
    async fn user_and_owner(&self, verified: &Verified) -> Result<(Option<Arc<User>>, bool), DirectoryError> {
        let owner = match verified.identity() {
            Identity::Account(account) => self.foundations.directory.user_of_account(account),
            Identity::Address(aor) => self.foundations.directory.user(aor),
        };
        let owner = self.answered_in_time(owner).await?;
        let owns = owner.as_ref().is_some_and(|owner| owner.aor == verified.claim().aor);
        if owns {
            self.state().associations.found_owner(verified.opaque());
        }
        Ok((owner.filter(|_| owns), owns))
    }

    /// Makes or renews the registration of an endpoint.
    async fn bind(&self, arrived: &Arrived<'_>, verified: &Verified, request: RegisterRequest, primary: bool) {
        let now = self.now();
        let claim = verified.claim();
        let expires = request.expires.unwrap_or(self.settings.default_expires).min(self.settings.max_expires);
        let binding = Binding {
            instance: claim.instance,
            epid: claim.endpoint().into(),
            contact: received_contact(&request.contact, arrived.hop.remote, &arrived.hop.cid()).into(),
            conn: arrived.hop.conn,
            opaque: self.state().associations.latest(verified.opaque()).into(),
            expires_at: now + Duration::from_secs(u64::from(expires)),
            gruu: request.gruu,
            dialog: request.registration_event.then(|| Box::new(request.dialog)),
        };
        let (added, bindings) = {
            let mut state = self.state();
            let before = state.location.binding(&claim.aor, claim.instance).map(|before| before.opaque.clone());
            if let Some(before) = before.filter(|before| *before != binding.opaque) {
                state.associations.rest(&before, now);
            }
            state.associations.serve(&binding.opaque);
            let added = state.location.bind(&claim.aor, binding, self.settings.endpoints_per_user);
            (added, state.location.bindings(&claim.aor).to_vec())
        };
        let granted = Granted {
            expires,
            action: added.action,
            primary,
            remote: self.external,
            keep_alive: request.keep_alive.then_some(self.settings.keep_alive),
            server: &self.settings.server,
        };
        self.answer(arrived, verified, &registrar::registered(&claim.aor, &bindings, now, &granted));
        let (aor, instance) = (claim.aor.clone(), claim.instance);
        self.note(&ServerEvent::Registered { aor, instance, action: added.action });
        self.put_out(&claim.aor, &added).await;
    }

    /// The endpoint takes its leave.
    async fn unbind(&self, arrived: &Arrived<'_>, verified: &Verified) {
        let claim = verified.claim();
        let now = self.now();
        let (gone, left) = {
            let mut state = self.state();
            let gone = state.location.unbind(&claim.aor, claim.instance);
            (gone, state.location.bindings(&claim.aor).to_vec())
        };
        let granted = Granted {
            expires: 0,
            action: RegisterAction::Refreshed,
            primary: true,
            remote: self.external,
            keep_alive: None,
            server: &self.settings.server,
        };
        self.answer(arrived, verified, &registrar::registered(&claim.aor, &left, now, &granted));
        if let Some(binding) = gone {
            self.state().associations.forget(&binding.opaque);
            self.endpoint_gone(&claim.aor, &binding).await;
        }
        self.state().associations.forget(verified.opaque());
    }

    /// An endpoint that is registered proved itself anew. Over the connection of its registration: what signed that ends
    /// soon. Over another one it may be another program, which cannot check the signatures for the first: its association
    /// has no registration yet.
    pub(super) fn sign_with(&self, verified: &Verified, conn: ConnId) {
        let (claim, now) = (verified.claim(), self.now());
        let mut state = self.state();
        let Some(bound) = state.location.binding(&claim.aor, claim.instance).cloned() else { return };
        if bound.conn != conn {
            state.associations.rest(verified.opaque(), now);
            state.associations.serve(&bound.opaque);
        } else if let Some(before) = state.location.sign_with(&claim.aor, claim.instance, verified.opaque()) {
            state.associations.rest(&before, now);
        }
    }

    /// Tells the endpoints that a new binding put out.
    async fn put_out(&self, aor: &Aor, added: &Added) {
        if let Some(evicted) = &added.evicted {
            self.put_away(aor, evicted, Deregistration::Unregistered).await;
        }
        if let Some(replaced) = &added.replaced {
            // The same endpoint came back over another connection: its subscriptions went with the old one.
            self.tell_deregistered(aor, replaced, Deregistration::Unregistered);
            self.endpoint_gone(aor, replaced).await;
            self.foundations.wire.close(replaced.conn);
        }
    }

    /// Ends for good what is left of a binding that the server took away: whoever wants to come back proves himself anew.
    async fn put_away(&self, aor: &Aor, binding: &Binding, why: Deregistration) {
        self.tell_deregistered(aor, binding, why);
        self.state().associations.forget(&binding.opaque);
        self.endpoint_gone(aor, binding).await;
    }

    /// Ends what an endpoint has here that was sent away: its association, and its binding if it was bound. The binding
    /// of another association is somebody else's: the address was only claimed.
    pub(super) async fn part(&self, verified: &Verified) {
        let claim = verified.claim();
        let gone = {
            let mut state = self.state();
            state.associations.forget(verified.opaque());
            let bound = state.location.binding(&claim.aor, claim.instance);
            let own = bound.is_some_and(|binding| *binding.opaque == *verified.opaque());
            if own { state.location.unbind(&claim.aor, claim.instance) } else { None }
        };
        if let Some(binding) = gone {
            self.endpoint_gone(&claim.aor, &binding).await;
        }
    }

    /// Ends an association that began with a request that led to nothing, so that nobody piles them up.
    pub(super) async fn part_with_newcomer(&self, verified: &Verified) {
        if verified.completes_handshake() {
            self.part(verified).await;
        }
    }

    /// Ends every registration of a user, and tells his endpoints why. `[MS-SIPREGE]` §3.2.
    pub async fn deregister(&self, aor: &Aor, why: Deregistration) -> usize {
        let gone: Vec<Arc<Binding>> = {
            let mut state = self.state();
            let bindings = state.location.bindings(aor).to_vec();
            bindings.iter().filter_map(|b| state.location.unbind(aor, b.instance)).collect()
        };
        for binding in &gone {
            self.put_away(aor, binding, why).await;
        }
        gone.len()
    }

    /// A registration is over: what the endpoint had in conversations and in room 5 goes with it.
    pub(super) async fn endpoint_gone(&self, aor: &Aor, binding: &Binding) {
        self.note(&ServerEvent::Gone { aor: aor.clone(), instance: binding.instance });
        self.proxy.endpoint_gone(&Endpoint { aor: aor.clone(), instance: binding.instance });
        self.in_time(self.provision.endpoint_gone(aor, &binding.epid)).await;
        self.deliver();
    }
}
