//! One's own presence, as the server answers for it: subscription, publication, containers, subscribers.
//! `[MS-PRES]` §3.2, §3.3, §3.5, §3.6.

use super::card::Card;
use super::message::{
    FAULT, OWN_PRESENCE, read_publish, read_roaming_list, read_set_containers, read_set_subscriber, write_conflicts,
};
use super::presentity::{Presentity, Refusal};
use crate::directory::DirectoryError;
use crate::name::Aor;
use crate::provision::live::{Saving, State};
use crate::provision::request::Request;
use crate::provision::server::{
    Answer, Caller, Provision, bad_document, forbidden, not_acceptable, too_large, unavailable, wrong_type,
};
use crate::provision::subscription::{Package, Scopes, Subject};
use crate::reply::{Diagnostics, Reply};
use crate::xml::escape;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One's own presence: subscription, publication, containers, subscribers.
impl Provision {
    /// SUBSCRIBE to one's own presence. A refresh without a body keeps what was asked for.
    pub(in crate::provision) async fn subscribe_own_presence(&self, caller: &Caller, request: &Request) -> Answer {
        if !request.accepts(OWN_PRESENCE) {
            return not_acceptable(OWN_PRESENCE).into();
        }
        let scopes = if request.body.is_empty() && request.to_tag.is_some() {
            self.scopes_of(caller, request)
        } else if !request.carries(OWN_PRESENCE) {
            return wrong_type(OWN_PRESENCE).into();
        } else {
            match read_roaming_list(&request.body) {
                Ok(types) => scopes_named(&types),
                Err(error) => return bad_document(&error).into(),
            }
        };
        let card = match self.card(&caller.aor).await {
            Ok(card) => card,
            Err(error) => return unavailable(&error).into(),
        };
        self.settle_subscription(caller, request, Subject::OwnPresence(scopes), &BTreeSet::new(), |live, _| {
            let presentity = live.presentities.get(&caller.aor);
            let document = presentity.map(|presentity| self.own_presence(&caller.aor, presentity, scopes, &card));
            Ok((OWN_PRESENCE.to_owned(), document.unwrap_or_default()))
        })
        .await
    }

    fn scopes_of(&self, caller: &Caller, request: &Request) -> Scopes {
        let live = self.live.lock();
        let dialog = live.find_dialog(caller, request, Package::OwnPresence).and_then(|id| live.dialogs.get(&id));
        match dialog.map(|dialog| &dialog.subject) {
            Some(Subject::OwnPresence(scopes)) => *scopes,
            _ => Scopes::default(),
        }
    }

    /// SERVICE with a publication.
    pub(in crate::provision) async fn publish(&self, caller: &Caller, request: &Request) -> Answer {
        let (owner, operations) = match read_publish(&request.body) {
            Ok(publication) => publication,
            Err(error) => return bad_document(&error).into(),
        };
        if owner != caller.aor {
            return forbidden("Only the user may publish this.").into();
        }
        if operations.len() > self.limits.operations {
            return too_large("Too many publications in one request.").into();
        }
        let card = match self.card(&owner).await {
            Ok(card) => card,
            Err(error) => return unavailable(&error).into(),
        };
        let mut candidates: BTreeSet<String> = operations.iter().map(|o| o.category.clone()).collect();
        candidates.extend(["state", "services"].map(str::to_owned));
        let (now, epid) = (self.surroundings.now(), Arc::from(caller.epid.as_str()));
        let quota = &self.limits.quota;
        self.change_own(caller, |live| {
            let publishing = |presentity: &mut Presentity| presentity.publish(&operations, &epid, now, quota);
            let touched = match self.changing(live, &owner, &card, &candidates, publishing) {
                Some(Ok(touched)) => touched,
                Some(Err(refusal)) => return refused(&refusal),
                None => BTreeSet::new(),
            };
            live.note_expiry(&owner);
            let document = live.own_categories(&owner, &touched, &card);
            self.tell_own(live, &owner, |scopes| scopes.categories, Some(&caller.epid), &document);
            Reply::ok().with_body(OWN_PRESENCE, document.as_bytes())
        })
        .await
    }

    /// SERVICE that moves others between containers.
    pub(in crate::provision) async fn set_containers(&self, caller: &Caller, request: &Request) -> Answer {
        let changes = match read_set_containers(&request.body) {
            Ok(changes) => changes,
            Err(error) => return bad_document(&error).into(),
        };
        if changes.len() > self.limits.operations {
            return too_large("Too many containers in one request.").into();
        }
        let card = match self.card(&caller.aor).await {
            Ok(card) => card,
            Err(error) => return unavailable(&error).into(),
        };
        let quota = &self.limits.quota;
        self.change_own(caller, |live| {
            let changing = |presentity: &mut Presentity| presentity.change_containers(&changes, quota);
            let ids = match self.changing(live, &caller.aor, &card, &BTreeSet::new(), changing) {
                Some(Ok(ids)) => ids,
                Some(Err(refusal)) => return refused(&refusal),
                None => Vec::new(),
            };
            if let Some(presentity) = live.presentities.get(&caller.aor) {
                let document = roaming_data(&presentity.containers.xml(Some(&ids))).into();
                self.tell_own(live, &caller.aor, |scopes| scopes.containers, None, &document);
            }
            Reply::ok()
        })
        .await
    }

    /// SERVICE that acknowledges a subscriber.
    pub(in crate::provision) async fn set_subscriber(&self, caller: &Caller, request: &Request) -> Answer {
        let aor = match read_set_subscriber(&request.body) {
            Ok(aor) => aor,
            Err(error) => return bad_document(&error).into(),
        };
        self.change_own(caller, |live| {
            let presentity = live.presentities.get_mut(&caller.aor);
            let Some(presentity) = presentity.filter(|presentity| presentity.subscribers.contains_key(&aor)) else {
                let reason = format!("{aor} is no subscriber.");
                return Reply::new(400, "Bad Request").because(Diagnostics::internal(4000, reason));
            };
            presentity.acknowledge(&aor);
            let document = roaming_data(&presentity.subscribers_xml(Some(&aor), |aor| self.is_ours(aor))).into();
            self.tell_own(live, &caller.aor, |scopes| scopes.subscribers, None, &document);
            Reply::ok()
        })
        .await
    }

    /// Changes something of the caller's own, and answers when what has to outlive the endpoints is durable.
    async fn change_own(&self, caller: &Caller, change: impl FnOnce(&mut State) -> Reply) -> Answer {
        let changed: Result<(Reply, Option<Saving<'_>>), DirectoryError> =
            self.loaded([&caller.aor]).await.map(|mut live| {
                live.arrive(caller, &self.fqdn);
                (change(&mut live), self.save(&mut live, &caller.aor))
            });
        let saved = match changed {
            Ok((reply, saving)) => self.saved(saving).await.map(|()| reply),
            Err(error) => Err(error),
        };
        saved.unwrap_or_else(|error| unavailable(&error)).into()
    }

    /// Tells the user's endpoints that asked for such news, `but` one.
    pub(super) fn tell_own(
        &self,
        live: &mut State,
        aor: &Aor,
        scope: impl Fn(&Scopes) -> bool,
        but: Option<&str>,
        document: &Arc<str>,
    ) {
        let now = self.surroundings.now().since_start;
        for id in live.own_dialogs(aor, Package::OwnPresence) {
            let State { dialogs, outbox, .. } = &mut *live;
            let Some(dialog) = dialogs.get_mut(&id) else { continue };
            let asked = matches!(&dialog.subject, Subject::OwnPresence(scopes) if scope(scopes));
            if asked && Some(&*dialog.epid) != but {
                outbox.push(dialog.notify(now, OWN_PRESENCE, Arc::clone(document)));
            }
        }
    }

    pub(super) async fn card(&self, aor: &Aor) -> Result<Card, DirectoryError> {
        Ok(Card::of(self.directory.user(aor).await?.as_deref()))
    }

    /// All of one's own presence that was asked for.
    fn own_presence(&self, aor: &Aor, presentity: &Presentity, scopes: Scopes, card: &Card) -> String {
        let mut xml = String::new();
        if scopes.categories {
            let categories = presentity.categories();
            let all: String = categories.iter().map(|category| presentity.own_category(category, card)).collect();
            xml.push_str(&categories_document(aor, &all));
        }
        if scopes.containers {
            xml.push_str(&presentity.containers.xml(None));
        }
        if scopes.subscribers {
            xml.push_str(&presentity.subscribers_xml(None, |aor| self.is_ours(aor)));
        }
        if scopes.delegates {
            xml.push_str("<delegates xmlns=\"http://schemas.microsoft.com/2007/09/sip/delegates\" version=\"1\"/>");
        }
        roaming_data(&xml)
    }
}

fn scopes_named(types: &[String]) -> Scopes {
    let named = |name: &str| types.iter().any(|t| t == name);
    Scopes {
        categories: named("categories"),
        containers: named("containers"),
        subscribers: named("subscribers"),
        delegates: named("delegates"),
    }
}

pub(super) fn roaming_data(inside: &str) -> String {
    format!("<roamingData xmlns=\"http://schemas.microsoft.com/2006/09/sip/roaming-self\">{inside}</roamingData>")
}

pub(super) fn categories_document(aor: &Aor, inside: &str) -> String {
    format!(
        "<categories xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\" uri=\"{}\">{inside}</categories>",
        escape(&aor.to_uri())
    )
}

fn refused(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Conflict(conflicts) => Reply::new(409, "Conflict")
            .because(Diagnostics::internal(2141, "A version in the request is out of date."))
            .with_body(FAULT, write_conflicts(conflicts)),
        Refusal::TooMuch(reason) => too_large(reason),
        Refusal::NotYours(what) => forbidden(&format!("{what} is written by the server.")),
    }
}
