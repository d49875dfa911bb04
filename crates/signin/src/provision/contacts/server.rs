//! The contact list, as the server answers for it: subscription, changes, deltas to every endpoint.
//! `[MS-SIP]` §3.7.

use super::message::{CONTENT_TYPE, SoapRequest, read_soap, write_delta, write_group_added, write_list};
use super::{ContactChange, ContactList, Edit, Group};
use crate::directory::ChangeError;
use crate::name::Aor;
use crate::provision::live::State;
use crate::provision::presence::message::{Conflict, FAULT, write_conflicts};
use crate::provision::request::Request;
use crate::provision::server::{
    Answer, Caller, Provision, bad_document, forbidden, not_acceptable, not_implemented, too_large, unavailable,
};
use crate::provision::subscription::{Package, Subject};
use crate::reply::{Diagnostics, Reply};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Provision {
    /// SUBSCRIBE, first or again: the whole list.
    pub(in crate::provision) async fn subscribe_contacts(&self, caller: &Caller, request: &Request) -> Answer {
        if !request.accepts(CONTENT_TYPE) {
            return not_acceptable(CONTENT_TYPE).into();
        }
        let list = match self.directory.contacts(&caller.aor).await {
            Ok(list) => list,
            Err(error) => return unavailable(&error).into(),
        };
        let subject = Subject::Contacts { told: list.delta_num, of_others: list.delta_num };
        let document = |_: &mut State, _| Ok((CONTENT_TYPE.to_owned(), write_list(&list)));
        self.settle_subscription(caller, request, subject, &BTreeSet::new(), document).await
    }

    /// SERVICE with SOAP: a change of the list, or something that is not offered.
    pub(in crate::provision) async fn change_contacts(
        &self,
        caller: &Caller,
        request: &Request,
        to_self: bool,
    ) -> Answer {
        let change = match read_soap(&request.body) {
            Ok(SoapRequest::Change(change)) => change,
            Ok(SoapRequest::Other(name)) => return not_implemented(&format!("{name} is not offered here.")).into(),
            Err(error) => return bad_document(&error).into(),
        };
        if !to_self {
            return forbidden("Only the user may change a contact list.").into();
        }
        let given = change.delta_num.unwrap_or(0);
        let added = match &change.edit {
            Edit::AddGroup { name, .. } => Some(name.clone()),
            _ => None,
        };
        match self.make(caller, change).await {
            Ok((before, after)) => {
                // Another endpoint may have added a group since `before`: the name tells them apart.
                let is_new = |group: &&Group| before.group(group.id).is_none() && Some(&group.name) == added.as_ref();
                let reply = match after.groups.iter().find(is_new) {
                    Some(group) => Reply::ok().with_body(super::message::SOAP, write_group_added(group.id)),
                    None => Reply::ok(),
                };
                self.tell_of_contacts(caller, &before, &after);
                reply.into()
            }
            Err(ChangeError::WrongDelta { current }) => self.out_of_step(caller, given, current).await,
            Err(ChangeError::Invalid(reason)) => {
                Reply::new(400, "Bad Request").because(Diagnostics::internal(4000, reason)).into()
            }
            Err(ChangeError::TooLarge(reason)) => too_large(&reason).into(),
            Err(ChangeError::Directory(error)) => unavailable(&error).into(),
        }
    }

    /// Makes the change; gives the list before and after it.
    ///
    /// Clients send one change after the other without waiting, and count versions by themselves; what they are told of
    /// the first changes sets that count back. A change that counts from an older version is therefore made on the
    /// newest one, where everything since was the endpoint's own doing: there is nothing it could conflict with.
    async fn make(
        &self,
        caller: &Caller,
        mut change: ContactChange,
    ) -> Result<(ContactList, ContactList), ChangeError> {
        let before = self.directory.contacts(&caller.aor).await.map_err(ChangeError::Directory)?;
        if change.delta_num.is_some_and(|given| self.only_caller_changed(caller, given, before.delta_num)) {
            change.delta_num = Some(before.delta_num);
        }
        let after = self.directory.change_contacts(&caller.aor, change).await?;
        Ok((before, after))
    }

    /// Whether nobody but the caller changed anything between these two versions, and the caller was told of all.
    fn only_caller_changed(&self, caller: &Caller, since: u32, current: u32) -> bool {
        let live = self.live.lock();
        let dialogs = live.own_dialogs(&caller.aor, Package::Contacts);
        dialogs.iter().filter_map(|id| live.dialogs.get(id)).filter(|dialog| *dialog.epid == caller.epid).any(
            |dialog| {
                let Subject::Contacts { told, of_others } = dialog.subject else { return false };
                told == current && of_others <= since && since < current
            },
        )
    }

    /// The client believes in another version than there is. It does not repair itself on an error, so it gets the
    /// whole list with it.
    async fn out_of_step(&self, caller: &Caller, version: u32, current: u32) -> Answer {
        let fault = write_conflicts(&[Conflict { index: 1, version, current }]);
        let reply = Reply::new(409, "Conflict")
            .because(Diagnostics::internal(2141, format!("The contact list is at version {current}, not {version}.")))
            .with_body(FAULT, fault);
        // Without an answer of the directory the fault alone has to do.
        if let Ok(list) = self.directory.contacts(&caller.aor).await {
            self.tell_of_list(&caller.aor, &list, |epid, _| epid == caller.epid);
        }
        reply.into()
    }

    /// Tells endpoints of what was changed behind their backs, by administration or in another process. To be called
    /// every few seconds; it costs nothing while nothing was.
    pub(in crate::provision) async fn tell_of_changes_elsewhere(&self) {
        let changes = self.directory.changes_elsewhere();
        let owners = {
            let mut live = self.live.lock();
            if std::mem::replace(&mut live.changes_elsewhere, changes) == changes {
                return;
            }
            live.owners(Package::Contacts)
        };
        for owner in owners {
            // Who cannot be told now is told with the next change.
            let Ok(list) = self.directory.contacts(&owner).await else { continue };
            self.tell_of_list(&owner, &list, |_, told| told != list.delta_num);
        }
    }

    /// Sends the whole list to those endpoints of the user that `wanted` chooses by epid and version last told.
    fn tell_of_list(&self, aor: &Aor, list: &ContactList, wanted: impl Fn(&str, u32) -> bool) {
        let now = self.surroundings.now().since_start;
        let mut document: Option<Arc<str>> = None;
        let mut live = self.live.lock();
        for id in live.own_dialogs(aor, Package::Contacts) {
            let State { dialogs, outbox, .. } = &mut *live;
            let Some(dialog) = dialogs.get_mut(&id) else { continue };
            let Subject::Contacts { told, of_others } = &mut dialog.subject else { continue };
            if wanted(&dialog.epid, *told) {
                if *told != list.delta_num {
                    (*told, *of_others) = (list.delta_num, list.delta_num);
                }
                let document = document.get_or_insert_with(|| write_list(list).into());
                outbox.push(dialog.notify(now, CONTENT_TYPE, Arc::clone(document)));
            }
        }
    }

    /// Tells every endpoint of the user what the caller changed. One that is at the version before gets the difference; one that missed
    /// something, because two endpoints wrote at once, gets the whole list.
    fn tell_of_contacts(&self, caller: &Caller, before: &ContactList, after: &ContactList) {
        let now = self.surroundings.now().since_start;
        let follows = before.delta_num.checked_add(1) == Some(after.delta_num);
        // pidgin-sipe says again what it was told of a renamed group: a change of nothing is in nobody's way.
        let changed = before.groups != after.groups || before.contacts != after.contacts;
        let delta: Arc<str> = write_delta(before, after).into();
        let mut list: Option<Arc<str>> = None;
        let mut live = self.live.lock();
        for id in live.own_dialogs(&caller.aor, Package::Contacts) {
            let State { dialogs, outbox, .. } = &mut *live;
            let Some(dialog) = dialogs.get_mut(&id) else { continue };
            let Subject::Contacts { told, of_others } = &mut dialog.subject else { continue };
            if *told >= after.delta_num {
                continue;
            }
            if !follows || changed && *dialog.epid != caller.epid {
                *of_others = after.delta_num;
            }
            let document = if follows && *told == before.delta_num {
                Arc::clone(&delta)
            } else {
                Arc::clone(list.get_or_insert_with(|| write_list(after).into()))
            };
            *told = after.delta_num;
            outbox.push(dialog.notify(now, CONTENT_TYPE, document));
        }
    }
}
