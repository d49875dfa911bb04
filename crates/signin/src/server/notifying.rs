//! What a server sends of its own accord: notifications in the dialogs of room 5, and the end of a registration.

use super::FrontEnd;
use crate::io::ConnId;
use crate::name::Aor;
use crate::provision::server::Notice;
use crate::register::location::Binding;
use crate::register::message::Deregistration;
use sip::{Draft, Message, Name};
use std::sync::Arc;

impl FrontEnd {
    /// Sends notifications; those for endpoints of another server go there.
    pub(super) fn deliver(&self) {
        self.provision.deliver(|notice| {
            if *notice.server == *self.here.fqdn {
                self.notify(notice);
            } else if let Some(neighbour) = self.foundations.neighbours.of(&notice.server) {
                neighbour.notify(notice);
            }
        });
    }

    /// Sends a notification to an endpoint registered here, signed by the association it uses.
    fn notify(&self, notice: &Notice) {
        let Some(binding) = self.state().location.binding_of(&notice.to, &notice.epid).cloned() else { return };
        let draft = notice.draft(&binding.contact, &self.via());
        self.send_signed(&binding, draft);
    }

    /// The answer to a NOTIFY matters only when the endpoint knows of no such subscription. RFC 6665 §4.2.2.
    pub(super) fn notify_answered(&self, conn: ConnId, response: &Message<'_>) {
        let cseq = response.header(Name::CSeq).unwrap_or_default();
        let Some(call_id) = response.header(Name::CallId).filter(|_| response.status() == Some(481)) else { return };
        if !cseq.trim_end().ends_with("NOTIFY") {
            return;
        }
        let endpoints: Vec<(Aor, Arc<Binding>)> =
            self.state().location.carried(conn).map(|(aor, binding)| (aor.clone(), Arc::clone(binding))).collect();
        for (aor, binding) in endpoints {
            let genuine = self.state().associations.check_response(&aor, binding.instance, response);
            if genuine.is_ok() {
                self.provision.subscription_unknown(&aor, &binding.epid, call_id);
            }
        }
    }

    /// The NOTIFY that ends a registration from the server's side. `[MS-SIPREGE]` §2.2.1.13.
    pub(super) fn tell_deregistered(&self, aor: &Aor, binding: &Binding, why: Deregistration) {
        let Some(dialog) = &binding.dialog else { return };
        let uri = aor.to_uri();
        let mut draft = Draft::request("NOTIFY", &binding.contact);
        draft
            .header("Via", self.via())
            .header("Max-Forwards", 70)
            .header("From", format_args!("<{uri}>;tag={}", dialog.to_tag))
            .header("To", &dialog.from)
            .header("Call-ID", &dialog.call_id)
            .header("CSeq", "1 NOTIFY")
            .header("Event", "registration-notify")
            .header("subscription-state", "terminated;expires=0")
            .header("ms-diagnostics-public", why.diagnostics().value(None))
            .body("text/registration-event", why.body());
        self.send_signed(binding, draft);
    }

    /// Via of a request of ours.
    fn via(&self) -> String {
        let mut branch = [0; 8];
        self.foundations.surroundings.fill_random(&mut branch);
        format!("SIP/2.0/TLS {};branch=z9hG4bK{};branched=FALSE", self.here.fqdn, hex::encode_upper(branch))
    }

    fn send_signed(&self, binding: &Binding, draft: Draft) {
        let signed = self.with_associations(|associations, moment| associations.sign(moment, &binding.opaque, draft));
        if let Some(bytes) = signed {
            self.foundations.wire.send(binding.conn, bytes);
        }
    }
}
