//! The presence of others, as the server answers for it: who watches whom, who sees what, and who is told when it
//! changes. `[MS-PRES]` §3.4, §3.7, `[MS-SIP]` §3.3.
//!
//! Every change goes through [`Provision::changing`]: what watchers see is taken before and after, and only what
//! differs is sent.

use super::batch::{self, Action, Resource, Verb};
use super::card::Card;
use super::containers::BLOCKED;
use super::message::{CATEGORIES, is_category_name};
use super::presentity::Presentity;
use super::server::{categories_document, roaming_data};
use crate::directory::DirectoryError;
use crate::io::Now;
use crate::name::Aor;
use crate::provision::live::{Deadline, Saving, State};
use crate::provision::request::Request;
use crate::provision::server::{
    Answer, Caller, Provision, bad_document, not_acceptable, not_found, too_large, unavailable, wrong_type,
};
use crate::provision::subscription::{DialogId, Package, Subject, Watch};
use crate::reply::{Diagnostics, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The presence of others.
impl Provision {
    /// SUBSCRIBE to the presence of one or many.
    pub(in crate::provision) async fn subscribe_presence(&self, caller: &Caller, request: &Request) -> Answer {
        let Some(to) = request.to_aor() else { return not_found().into() };
        let single = to != caller.aor;
        let actions = match self.presence_actions(caller, request, &to) {
            Ok(actions) => actions,
            Err(reply) => return (*reply).into(),
        };
        if let Err(reply) = self.check_presence(request, &actions, single.then_some(&to)) {
            return (*reply).into();
        }
        let found = match self.look_up(caller, &actions).await {
            Ok(found) => found,
            Err(error) => return unavailable(&error).into(),
        };
        if single && found.cards.get(&to).is_some_and(Option::is_none) {
            return if self.is_ours(&to) { not_found() } else { no_route(&to) }.into();
        }
        let boundary = self.boundary();
        let subject = Subject::Presence(Watch::default());
        let others = found.cards.keys().cloned().collect();
        let mut saving = Vec::new();
        let settling = self.settle_subscription(caller, request, subject, &others, |live, id| {
            if !self.apply(live, id, &actions) {
                return Err(Box::new(too_large("Too many users in one subscription.")));
            }
            saving = self.note_subscribers(live, caller, &found);
            Ok(self.presence_document(live, id, caller, &actions, &found, single, &boundary))
        });
        let answer = settling.await;
        match self.saved(saving).await {
            Ok(()) => answer,
            Err(error) => unavailable(&error).into(),
        }
    }

    /// What the body asks for. Without a body a refresh asks for everybody watched so far, and a first SUBSCRIBE for
    /// the user it is sent to.
    fn presence_actions(&self, caller: &Caller, request: &Request, to: &Aor) -> Result<Vec<Action>, Box<Reply>> {
        if !request.body.is_empty() {
            if !request.carries(batch::REQUEST) {
                return Err(Box::new(wrong_type(batch::REQUEST)));
            }
            return batch::read_batch(&request.body).map_err(|error| Box::new(bad_document(&error)));
        }
        let resource = |aor: &Aor| Resource { aor: aor.clone(), just_added: false };
        let live = self.live.lock();
        let dialog = live.find_dialog(caller, request, Package::Presence).and_then(|id| live.dialogs.get(&id));
        Ok(vec![match dialog.map(|dialog| &dialog.subject) {
            Some(Subject::Presence(watch)) => Action {
                verb: Verb::Subscribe,
                resources: watch.watched.iter().map(|aor| resource(aor)).collect(),
                categories: watch.categories.iter().cloned().collect(),
            },
            _ => Action {
                verb: Verb::Subscribe,
                resources: vec![resource(to)],
                categories: ["contactCard", "note", "state"].map(str::to_owned).to_vec(),
            },
        }])
    }

    fn check_presence(&self, request: &Request, actions: &[Action], single: Option<&Aor>) -> Result<(), Box<Reply>> {
        let resources = || actions.iter().flat_map(|action| &action.resources);
        let categories: BTreeSet<&String> = actions.iter().flat_map(|action| &action.categories).collect();
        if resources().count() > self.limits.watched {
            return Err(Box::new(too_large("Too many users in one subscription.")));
        }
        if categories.len() > self.limits.categories || !categories.iter().all(|name| is_category_name(name)) {
            return Err(Box::new(too_large("Too many categories, or a name that is none.")));
        }
        match single {
            Some(to) if resources().any(|resource| resource.aor != *to) => {
                Err(Box::new(bad_document(&"the body names another user than To")))
            }
            Some(_) if !request.accepts(CATEGORIES) => Err(Box::new(not_acceptable(CATEGORIES))),
            None if !request.accepts("multipart/related") => Err(Box::new(not_acceptable("multipart/related"))),
            _ => Ok(()),
        }
    }

    /// Everything the directory has to say about the users named.
    async fn look_up(&self, caller: &Caller, actions: &[Action]) -> Result<Found, DirectoryError> {
        let mut found = Found::default();
        for resource in actions.iter().flat_map(|action| &action.resources) {
            if !found.cards.contains_key(&resource.aor) {
                let user = self.directory.user(&resource.aor).await?;
                found.cards.insert(resource.aor.clone(), user.map(|user| Card::of(Some(&user))));
            }
            let known = found.cards.get(&resource.aor).is_some_and(Option::is_some);
            if resource.just_added && known && resource.aor != caller.aor {
                let contacts = self.directory.contacts(&resource.aor).await?;
                if contacts.contact(&caller.aor).is_none() {
                    found.added.insert(resource.aor.clone());
                }
            }
        }
        if !found.added.is_empty() {
            let user = self.directory.user(&caller.aor).await?;
            found.watcher_name = user.map(|user| user.display_name.clone()).unwrap_or_default();
        }
        Ok(found)
    }

    /// Enters the actions into the subscription, in order. `false`: it would watch too many, and nothing was entered.
    fn apply(&self, live: &mut State, id: Option<DialogId>, actions: &[Action]) -> bool {
        let Some(id) = id else { return true };
        let Some(Subject::Presence(watch)) = live.dialogs.get(&id).map(|dialog| &dialog.subject) else { return true };
        let subscribed = actions.iter().filter(|action| action.verb == Verb::Subscribe);
        let named = subscribed.flat_map(|action| &action.resources).map(|resource| &resource.aor);
        let added: BTreeSet<&Aor> = named.filter(|aor| !watch.watched.contains(*aor)).collect();
        let in_all = live.watched_in_all(id) + added.len();
        if watch.watched.len() + added.len() > self.limits.watched || in_all > self.limits.watched_in_all {
            return false;
        }
        for action in actions {
            for resource in &action.resources {
                match action.verb {
                    Verb::Subscribe => live.watch(id, &resource.aor),
                    Verb::Unsubscribe => live.unwatch(id, &resource.aor),
                }
            }
            if let Some(Subject::Presence(watch)) = live.dialogs.get_mut(&id).map(|dialog| &mut dialog.subject) {
                let room = self.limits.categories.saturating_sub(watch.categories.len());
                watch.categories.extend(action.categories.iter().take(room).cloned());
            }
        }
        true
    }

    /// Notes the caller as a subscriber of those it just added, and tells them.
    fn note_subscribers(&self, live: &mut State, caller: &Caller, found: &Found) -> Vec<Saving<'_>> {
        let mut saving = Vec::new();
        for target in &found.added {
            let Some(presentity) = live.presentities.get_mut(target) else { continue };
            if presentity.note_subscriber(&caller.aor, &found.watcher_name, &self.limits.quota) {
                let subscribers = presentity.subscribers_xml(Some(&caller.aor), |aor| self.is_ours(aor));
                self.tell_own(live, target, |scopes| scopes.subscribers, None, &roaming_data(&subscribers).into());
                saving.extend(self.save(live, target));
            }
        }
        saving
    }

    /// The answer: for one user their categories, for a batch always a multipart, even of one part.
    #[expect(clippy::too_many_arguments, reason = "one subscription, what it asks, what was found")]
    fn presence_document(
        &self,
        live: &mut State,
        id: Option<DialogId>,
        caller: &Caller,
        actions: &[Action],
        found: &Found,
        single: bool,
        boundary: &str,
    ) -> (String, String) {
        let mut parts: BTreeMap<&Aor, String> = BTreeMap::new();
        let mut bytes = 0;
        for action in actions.iter().filter(|action| action.verb == Verb::Subscribe) {
            for resource in &action.resources {
                let card = found.cards.get(&resource.aor).and_then(Option::as_ref);
                let categories = action.categories.iter().map(String::as_str);
                let mut part = self.seen(live, &caller.aor, &resource.aor, categories, card);
                if bytes + part.len() > self.limits.document {
                    part = self.seen_in_brief(live, &caller.aor, &resource.aor);
                }
                bytes += part.len();
                parts.insert(&resource.aor, part);
            }
        }
        if single && let Some((_, document)) = parts.pop_first() {
            return (CATEGORIES.to_owned(), document);
        }
        let parts: Vec<(&Aor, String)> = parts.into_iter().collect();
        let mut version = 0;
        if let Some(Subject::Presence(watch)) = id.and_then(|id| live.dialogs.get_mut(&id)).map(|d| &mut d.subject) {
            version = watch.list_version;
            watch.list_version = watch.list_version.wrapping_add(1);
        }
        batch::write_parts(&caller.aor, version, true, &parts, boundary)
    }

    /// The presence of `owner` as `watcher` sees it.
    fn seen<'a>(
        &self,
        live: &State,
        watcher: &Aor,
        owner: &Aor,
        categories: impl Iterator<Item = &'a str>,
        card: Option<&Card>,
    ) -> String {
        let nothing = Card::default();
        let card = card.unwrap_or(&nothing);
        let xml: String = match live.presentities.get(owner) {
            Some(presentity) => {
                let container = presentity.containers.seen_by(watcher, owner, self.is_ours(watcher));
                categories.map(|category| presentity.seen_category(category, container, card)).collect()
            }
            None => String::new(),
        };
        categories_document(owner, &xml)
    }

    /// The least that can be said of `owner`, for an answer that would become too long: the availability. The rest is
    /// told when it changes, or to whoever asks for fewer.
    fn seen_in_brief(&self, live: &State, watcher: &Aor, owner: &Aor) -> String {
        let presentity = live.presentities.get(owner);
        let brief = presentity.map(|presentity| {
            let container = presentity.containers.seen_by(watcher, owner, self.is_ours(watcher));
            presentity.seen_in_brief(container)
        });
        categories_document(owner, &brief.unwrap_or_default())
    }

    /// Changes something of `owner` and tells those who see the difference. `candidates` are the categories that can
    /// differ for somebody who stays in a container; one who moves to another is told everything. `None`: the user was
    /// not loaded.
    pub(super) fn changing<R>(
        &self,
        live: &mut State,
        owner: &Aor,
        card: &Card,
        candidates: &BTreeSet<String>,
        change: impl FnOnce(&mut Presentity) -> R,
    ) -> Option<R> {
        let before = Views::of(self, live, owner, card, candidates);
        let result = change(live.presentities.get_mut(owner)?);
        let after = Views::of(self, live, owner, card, candidates);
        let now = self.surroundings.now().since_start;
        let State { dialogs, presentities, outbox, .. } = live;
        let changed = before.changes(&after);
        let mut documents: BTreeMap<(u16, String), Arc<str>> = BTreeMap::new();
        for (id, container) in &after.watchers {
            let moved = before.watchers.get(id) != Some(container);
            let Some(dialog) = dialogs.get_mut(id) else { continue };
            let Subject::Presence(watch) = &dialog.subject else { continue };
            let differs = |category: &&String| moved || changed.contains(&(*container, category.as_str()));
            let categories: Vec<&str> = watch.categories.iter().filter(differs).map(String::as_str).collect();
            let Some(presentity) = presentities.get(owner).filter(|_| !categories.is_empty()) else { continue };
            let document = documents.entry((*container, categories.join(" "))).or_insert_with(|| {
                let xml = categories.iter().map(|c| presentity.seen_category(c, *container, card));
                categories_document(owner, &xml.collect::<String>()).into()
            });
            outbox.push(dialog.notify(now, CATEGORIES, Arc::clone(document)));
        }
        Some(result)
    }

    /// An endpoint is gone (un-REGISTER, expiry, loss of the connection): its subscriptions end silently, what it
    /// published and was bound to it disappears, and others are told.
    pub async fn endpoint_gone(&self, aor: &Aor, epid: &str) {
        // Without an answer of the directory others still have to learn that the endpoint is gone.
        let card = self.card(aor).await.unwrap_or_default();
        let now = self.surroundings.now();
        let mut live = self.live.lock();
        let endpoint = live.presentities.get(aor).and_then(|presentity| presentity.endpoints.get(epid));
        // An endpoint that has moved to another server is gone from here, but not gone.
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.server == self.fqdn) else { return };
        for id in endpoint.dialogs.clone() {
            live.end_dialog(id);
        }
        self.forgetting(&mut live, aor, &card, |presentity| presentity.endpoint_gone(epid, now));
        live.forget_if_idle(aor);
    }

    /// Ends subscriptions and publications whose time is over. To be called every few seconds.
    pub async fn sweep(&self) {
        let now = self.surroundings.now();
        let mut expired = Vec::new();
        {
            let mut live = self.live.lock();
            for ended in live.take_ended(now.since_start) {
                match ended {
                    Deadline::Dialog(id) => live.end_dialog(id),
                    Deadline::Publications(aor) => expired.push(aor),
                }
            }
        }
        self.tell_of_changes_elsewhere().await;
        for aor in expired {
            // Time has passed, whatever the directory says: what cannot be taken out of it is passed over when read.
            let _ = self.expire(&aor, now).await;
        }
    }

    async fn expire(&self, aor: &Aor, now: Now) -> Result<(), DirectoryError> {
        let card = self.card(aor).await.unwrap_or_default();
        let saving = {
            let mut live = self.live.lock();
            self.forgetting(&mut live, aor, &card, |presentity| presentity.sweep(now));
            let saving = self.save(&mut live, aor);
            live.forget_if_idle(aor);
            saving
        };
        self.saved(saving).await
    }

    /// Forgets publications, and tells watchers and own endpoints. `forget` gives the categories touched.
    fn forgetting(
        &self,
        live: &mut State,
        aor: &Aor,
        card: &Card,
        forget: impl FnOnce(&mut Presentity) -> BTreeSet<String>,
    ) {
        let Some(candidates) = live.presentities.get(aor).map(Presentity::categories) else { return };
        let touched = self.changing(live, aor, card, &candidates, forget).unwrap_or_default();
        live.note_expiry(aor);
        if !touched.is_empty() {
            let document = live.own_categories(aor, &touched, card);
            self.tell_own(live, aor, |scopes| scopes.categories, None, &document);
        }
    }

    /// Whether somebody belongs to this deployment.
    pub(super) fn is_ours(&self, aor: &Aor) -> bool {
        let domain = aor.domain();
        self.topology.sip_domains.iter().any(|ours| ours.eq_ignore_ascii_case(domain.as_str()))
    }

    /// Whether `owner` has blocked `other`.
    pub async fn is_blocked(&self, owner: &Aor, other: &Aor) -> Result<bool, DirectoryError> {
        let mut live = self.loaded([owner]).await?;
        let presentity = live.presentities.get(owner);
        let seen = presentity.map(|presentity| presentity.containers.seen_by(other, owner, self.is_ours(other)));
        live.forget_if_idle(owner);
        Ok(seen == Some(BLOCKED))
    }

    /// A MIME boundary nobody can foresee, so no published text can contain it.
    fn boundary(&self) -> String {
        let mut bytes = [0; 12];
        self.surroundings.fill_random(&mut bytes);
        hex::encode(bytes)
    }
}

/// What the directory says of those named in a subscription.
#[derive(Default)]
struct Found {
    /// `None`: no such user.
    cards: BTreeMap<Aor, Option<Card>>,
    /// Those to be told that somebody added them.
    added: BTreeSet<Aor>,
    watcher_name: String,
}

/// What every watcher of one user sees.
struct Views {
    /// Subscription and the container it sees.
    watchers: BTreeMap<DialogId, u16>,
    /// By container and category.
    seen: BTreeMap<(u16, String), String>,
}

impl Views {
    fn of(provision: &Provision, live: &State, owner: &Aor, card: &Card, candidates: &BTreeSet<String>) -> Views {
        let mut views = Views { watchers: BTreeMap::new(), seen: BTreeMap::new() };
        let Some(presentity) = live.presentities.get(owner) else { return views };
        for id in &presentity.watchers {
            let Some(dialog) = live.dialogs.get(id) else { continue };
            let ours = provision.is_ours(&dialog.owner);
            views.watchers.insert(*id, presentity.containers.seen_by(&dialog.owner, owner, ours));
        }
        let containers: BTreeSet<u16> = views.watchers.values().copied().collect();
        for container in containers {
            for category in candidates {
                let text = presentity.seen_category(category, container, card);
                views.seen.insert((container, category.clone()), text);
            }
        }
        views
    }

    /// Which categories look different to those who see which container. One that was not looked at does not.
    fn changes<'a>(&'a self, after: &'a Views) -> BTreeSet<(u16, &'a str)> {
        let keys = self.seen.keys().chain(after.seen.keys());
        let changed = keys.filter(|key| self.seen.get(*key) != after.seen.get(*key));
        changed.map(|(container, category)| (*container, category.as_str())).collect()
    }
}

impl State {
    pub(super) fn own_categories(&self, aor: &Aor, touched: &BTreeSet<String>, card: &Card) -> Arc<str> {
        let presentity = self.presentities.get(aor);
        let xml: String =
            presentity.iter().flat_map(|p| touched.iter().map(|category| p.own_category(category, card))).collect();
        roaming_data(&categories_document(aor, &xml)).into()
    }

    /// How many users the endpoint of this dialog watches, over all its dialogs.
    fn watched_in_all(&self, id: DialogId) -> usize {
        let Some(dialog) = self.dialogs.get(&id) else { return 0 };
        let endpoints = self.presentities.get(&dialog.owner).map(|presentity| &presentity.endpoints);
        let dialogs = endpoints.and_then(|endpoints| endpoints.get(&dialog.epid)).map(|endpoint| &endpoint.dialogs);
        let watched = |id: &DialogId| match self.dialogs.get(id).map(|dialog| &dialog.subject) {
            Some(Subject::Presence(watch)) => watch.watched.len(),
            _ => 0,
        };
        dialogs.into_iter().flatten().map(watched).sum()
    }

    fn watch(&mut self, id: DialogId, aor: &Aor) {
        let Some(shared) = self.presentities.get_key_value(aor).map(|(shared, _)| Arc::clone(shared)) else { return };
        if let Some(presentity) = self.presentities.get_mut(aor) {
            presentity.watchers.insert(id);
        }
        if let Some(Subject::Presence(watch)) = self.dialogs.get_mut(&id).map(|dialog| &mut dialog.subject) {
            watch.watched.insert(shared);
        }
    }

    fn unwatch(&mut self, id: DialogId, aor: &Aor) {
        if let Some(Subject::Presence(watch)) = self.dialogs.get_mut(&id).map(|dialog| &mut dialog.subject) {
            watch.watched.remove(aor);
        }
        if let Some(presentity) = self.presentities.get_mut(aor) {
            presentity.watchers.remove(&id);
        }
        self.forget_if_idle(aor);
    }
}

fn no_route(to: &Aor) -> Reply {
    let reason =
        format!("Cannot route to destination domain {}: federation is not offered here.", to.domain().as_str());
    Reply::new(404, "Not Found").because(Diagnostics::internal(1005, reason))
}
