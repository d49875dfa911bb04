//! Subscriptions follow the contact list: whoever is in it is watched, and whoever has added the user is acknowledged.

use super::{Living, Over};
use crate::name::Aor;
use crate::provision::client::{self as provision, Request, Response, SessionError};
use crate::provision::picture::Notification;
use crate::provision::presence::batch::{Action, Verb};
use crate::provision::presence::message::{SET_SUBSCRIBERS, write_set_subscriber};
use crate::stay::{Happening, Onlooker};

impl<'s, 'a: 's> Living<'s, 'a> {
    /// Asks for the whole contact list, in the subscription that there is.
    pub(super) async fn read_list_again(&mut self, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
        let within = self.subscriptions.contacts.clone();
        let answer = self.ask(Request { within, ..provision::contacts_request(&self.me) }).await?;
        match answer {
            Ok(answer) if answer.is_success() => {
                self.subscriptions.contacts = answer.header("Call-ID").map(str::to_owned);
                self.take_within(&answer, onlooker)
            }
            Ok(answer) => {
                // A subscription that is gone is made anew with the next need.
                if answer.code == 481 {
                    self.subscriptions.contacts = None;
                }
                let remark = format!("the contact list cannot be read: {}", answer.in_words());
                onlooker.see(&self.picture, Happening::Remark(remark));
            }
            Err(SessionError(why)) => return Err(Over::Lost(why)),
        }
        Ok(())
    }

    /// The notification in an answer.
    fn take_within(&mut self, answer: &Response, onlooker: &mut dyn Onlooker) {
        let Some(notification) = Notification::within(answer) else { return };
        match self.picture.take(&notification) {
            Ok(news) => news.into_iter().for_each(|news| onlooker.see(&self.picture, Happening::News(news))),
            Err(why) => {
                let remark = format!("an answer about {} cannot be read: {why}", notification.event);
                onlooker.see(&self.picture, Happening::Remark(remark));
            }
        }
    }

    /// Subscribes to whoever is in the list now, and ends the subscription to whoever is not.
    pub(super) async fn watch_who_is_in_the_list(&mut self, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
        let wanted = self.picture.watched();
        if wanted == self.watched || !self.me.batches {
            return Ok(());
        }
        let added: Vec<Aor> = wanted.difference(&self.watched).cloned().collect();
        let removed: Vec<Aor> = self.watched.difference(&wanted).cloned().collect();
        // Whatever comes of it, it is not asked for again before the list changes.
        self.watched = wanted;
        for (verb, users) in [(Verb::Subscribe, added), (Verb::Unsubscribe, removed)] {
            if users.is_empty() || verb == Verb::Unsubscribe && self.subscriptions.presence.is_none() {
                continue;
            }
            let within = self.subscriptions.presence.clone();
            let mut action = Action::with(verb, &users, provision::WANTED_CATEGORIES);
            // Added since the sign-in: they may be told who has added them.
            action.resources.iter_mut().for_each(|resource| resource.just_added = verb == Verb::Subscribe);
            match self.ask(Request { within, ..provision::batch_request(&self.me, &action) }).await? {
                Ok(answer) if answer.is_success() => {
                    self.subscriptions.presence = answer.header("Call-ID").map(str::to_owned);
                    self.take_within(&answer, onlooker);
                }
                Ok(answer) => {
                    // Everybody is asked for anew, in another subscription; once.
                    if answer.code == 481 && self.subscriptions.presence.take().is_some() {
                        self.watched.clear();
                    }
                    let remark = format!("presence of contacts: refused with {}", answer.in_words());
                    onlooker.see(&self.picture, Happening::Remark(remark));
                }
                Err(SessionError(why)) => return Err(Over::Lost(why)),
            }
        }
        Ok(())
    }

    /// Tells who has put the user into a contact list; and the server, that the user knows.
    pub(super) async fn acknowledge(&mut self, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
        let unknown = self.picture.own().subscribers.iter().filter(|subscriber| !subscriber.acknowledged);
        let unknown: Vec<_> = unknown.filter(|s| !self.acknowledged.contains(&s.aor)).cloned().collect();
        for subscriber in unknown {
            let body = write_set_subscriber(&subscriber.aor);
            self.acknowledged.insert(subscriber.aor.clone());
            onlooker.see(&self.picture, Happening::Wanted(subscriber));
            match self.ask(provision::service(&self.me, SET_SUBSCRIBERS, body)).await? {
                Ok(answer) if answer.is_success() => {}
                Ok(answer) => {
                    let remark = format!("who has added you cannot be noted: {}", answer.in_words());
                    onlooker.see(&self.picture, Happening::Remark(remark));
                }
                Err(SessionError(why)) => return Err(Over::Lost(why)),
            }
        }
        Ok(())
    }
}
