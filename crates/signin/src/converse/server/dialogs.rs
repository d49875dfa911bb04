//! Where the dialogs of this server's endpoints lead. RFC 3261 §12.
//!
//! An endpoint that has more than its share loses the one it used least recently: clients answer the 481 to their next message
//! with a new INVITE, so nothing is lost but one round trip.

use crate::converse::message::{Endpoint, tag};
use sip::{Message, Name};
use std::collections::HashMap;
use std::time::Duration;

/// A dialog, as one of its ends names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DialogId {
    call_id: String,
    local_tag: String,
    remote_tag: String,
}

impl DialogId {
    /// For the end that sent the request, or the request that this response answers. `None` without a To tag.
    pub(super) fn of_sender(message: &Message<'_>) -> Option<DialogId> {
        Some(DialogId {
            call_id: message.header(Name::CallId)?.to_owned(),
            local_tag: tag(message, Name::From).unwrap_or_default().to_owned(),
            remote_tag: tag(message, Name::To)?.to_owned(),
        })
    }

    /// For the end that receives the request, or sent this response.
    pub(super) fn of_receiver(message: &Message<'_>) -> Option<DialogId> {
        let DialogId { call_id, local_tag, remote_tag } = DialogId::of_sender(message)?;
        Some(DialogId { call_id, local_tag: remote_tag, remote_tag: local_tag })
    }
}

#[derive(Debug)]
struct Dialog {
    peer: Endpoint,
    used: Duration,
}

/// The dialogs of every endpoint of this server. An endpoint is part of the key: nobody reaches into another's dialogs,
/// whatever tags it makes up.
#[derive(Debug, Default)]
pub(super) struct Dialogs(HashMap<Endpoint, HashMap<DialogId, Dialog>>);

impl Dialogs {
    /// Notes that `own` has a dialog with `peer`. `limit` is how many it may have.
    pub(super) fn begin(&mut self, own: &Endpoint, id: DialogId, peer: &Endpoint, now: Duration, limit: usize) {
        let dialogs = self.0.entry(own.clone()).or_default();
        if dialogs.len() >= limit && !dialogs.contains_key(&id) {
            let idle_longest = dialogs.iter().min_by_key(|(_, dialog)| dialog.used).map(|(id, _)| id.clone());
            idle_longest.and_then(|id| dialogs.remove(&id));
        }
        dialogs.insert(id, Dialog { peer: peer.clone(), used: now });
    }

    /// The other end of a dialog that `own` uses now.
    pub(super) fn peer(&mut self, own: &Endpoint, id: &DialogId, now: Duration) -> Option<Endpoint> {
        let dialog = self.0.get_mut(own)?.get_mut(id)?;
        dialog.used = now;
        Some(dialog.peer.clone())
    }

    /// Forgets one dialog.
    pub(super) fn end(&mut self, own: &Endpoint, id: &DialogId) {
        if let Some(dialogs) = self.0.get_mut(own) {
            dialogs.remove(id);
            if dialogs.is_empty() {
                self.0.remove(own);
            }
        }
    }

    /// Forgets every dialog of an endpoint that is gone.
    pub(super) fn endpoint_gone(&mut self, own: &Endpoint) {
        self.0.remove(own);
    }

    /// Forgets what was not used for `idle`.
    pub(super) fn sweep(&mut self, now: Duration, idle: Duration) {
        self.0.retain(|_, dialogs| {
            dialogs.retain(|_, dialog| now.saturating_sub(dialog.used) < idle);
            !dialogs.is_empty()
        });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(HashMap::len).sum()
    }
}
