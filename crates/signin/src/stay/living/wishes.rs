//! Wishes become requests: what a user wants to be seen as, his contact list, what he says. A change is made on the version
//! that is known, and once more on the one the server names.

use super::{Living, Over};
use crate::converse::content::Text;
use crate::io::StreamError;
use crate::link::LinkError;
use crate::name::Aor;
use crate::provision::client::{self as provision, Appearance, Request, Response, SessionError};
use crate::provision::contacts::message::{SOAP, read_group_added, write_soap};
use crate::provision::contacts::{Contact, ContactChange, DEFAULT_GROUP, Edit};
use crate::provision::picture::Picture;
use crate::provision::presence::aggregation::{BE_RIGHT_BACK, DO_NOT_DISTURB};
use crate::provision::presence::message::{OwnPresence, Publish, read_conflicts, read_own_presence};
use crate::provision::publishing;
use crate::stay::{Happening, Onlooker, Wish};
use std::time::Duration;

/// How often a change is tried when the server knows of another version.
const TRIES: usize = 3;

/// Why a wish was not fulfilled.
enum Unfulfilled {
    /// In words; the endpoint goes on.
    Refused(String),
    /// The connection is gone with it.
    Over(Over),
}

impl From<Over> for Unfulfilled {
    fn from(over: Over) -> Unfulfilled {
        Unfulfilled::Over(over)
    }
}

impl From<LinkError> for Unfulfilled {
    fn from(error: LinkError) -> Unfulfilled {
        Unfulfilled::Over(error.into())
    }
}

impl<'s, 'a: 's> Living<'s, 'a> {
    /// The same, for a wish: an answer that is no success is a refusal in the server's words.
    async fn demand(&mut self, request: Request) -> Result<Response, Unfulfilled> {
        match self.ask(request).await? {
            Ok(answer) => Ok(answer),
            Err(SessionError(why)) => Err(Unfulfilled::Over(Over::Lost(why))),
        }
    }

    pub(super) async fn fulfil(&mut self, wish: Wish, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
        let fulfilled = match &wish {
            Wish::Status(status) => self.publish_status(*status, onlooker).await,
            Wish::Note(text) => self.publish(publishing::note, text.as_str(), onlooker).await,
            Wish::Add { who, name, group } => self.add(who, name.as_deref(), group.as_deref(), onlooker).await,
            Wish::Remove(who) => self.remove(who, onlooker).await,
            Wish::Say { who, text } => {
                onlooker.see(&self.picture, Happening::Done(wish.clone()));
                let (_, events) = self.session.say(&mut self.conversations, who, Text::plain(text.clone())).await?;
                self.show(events, onlooker);
                return Ok(());
            }
            Wish::End(who) => {
                let there = self.conversations.peers().any(|peer| peer == who);
                let events = self.session.end_conversation(&mut self.conversations, who).await?;
                self.show(events, onlooker);
                match there {
                    true => Ok(()),
                    false => Err(Unfulfilled::Refused(format!("there is no conversation with {who}"))),
                }
            }
            Wish::Quit => return Err(Over::Quit),
        };
        match fulfilled {
            Ok(()) => onlooker.see(&self.picture, Happening::Done(wish)),
            Err(Unfulfilled::Refused(why)) => onlooker.see(&self.picture, Happening::Refused { wish, why }),
            Err(Unfulfilled::Over(over)) => return Err(over),
        }
        Ok(())
    }

    async fn publish_status(&mut self, status: Option<u32>, onlooker: &mut dyn Onlooker) -> Result<(), Unfulfilled> {
        self.publish(publishing::status, status, onlooker).await?;
        self.appearance = status.map_or(Appearance::Here, Appearance::As);
        self.mind_the_status();
        Ok(())
    }

    /// Who does not want to be disturbed takes no new conversations.
    pub(super) fn mind_the_status(&mut self) {
        let undisturbed = |status| (DO_NOT_DISTURB..BE_RIGHT_BACK).contains(&status);
        self.conversations.set_busy(self.appearance.choice().is_some_and(undisturbed));
    }

    /// Publishes on the versions that are known, and once more on those the server names.
    async fn publish<T: Copy>(
        &mut self,
        write: fn(T, &OwnPresence) -> Vec<Publish>,
        what: T,
        onlooker: &mut dyn Onlooker,
    ) -> Result<(), Unfulfilled> {
        let mut operations = write(what, self.picture.own());
        for _ in 0..TRIES {
            let answer = self.demand(provision::publish_request(&self.me, &operations)).await?;
            match answer.code {
                200..300 => {
                    if let Ok(own) = read_own_presence(&answer.body) {
                        let news = self.picture.take_own(own);
                        news.into_iter().for_each(|news| onlooker.see(&self.picture, Happening::News(news)));
                    }
                    return Ok(());
                }
                409 => match read_conflicts(&answer.body) {
                    Ok(conflicts) if !conflicts.is_empty() => publishing::renumber(&mut operations, &conflicts),
                    _ => return Err(Unfulfilled::Refused(answer.in_words())),
                },
                _ => return Err(Unfulfilled::Refused(answer.in_words())),
            }
        }
        Err(Unfulfilled::Refused("another endpoint publishes the same all the time".to_owned()))
    }

    async fn add(
        &mut self,
        who: &Aor,
        name: Option<&str>,
        group: Option<&str>,
        onlooker: &mut dyn Onlooker,
    ) -> Result<(), Unfulfilled> {
        if who == &self.me.aor {
            return Err(Unfulfilled::Refused("that is your own address".to_owned()));
        }
        let group = match group {
            None => None,
            Some(name) => Some(self.group_named(name, onlooker).await?),
        };
        self.change_list(onlooker, |picture| {
            let known = picture.contacts().contact(who).cloned();
            let mut contact = known.unwrap_or_else(|| Contact::new(who.clone()));
            if let Some(name) = name {
                contact.name = name.to_owned();
            }
            contact.groups.extend(group.filter(|id| !contact.groups.contains(id)));
            if contact.groups.is_empty() {
                contact.groups.push(DEFAULT_GROUP);
            }
            Some(Edit::SetContact(contact))
        })
        .await
        .map(drop)
    }

    /// The id of a group, which is made when there is none of that name.
    async fn group_named(&mut self, name: &str, onlooker: &mut dyn Onlooker) -> Result<u32, Unfulfilled> {
        let find = |picture: &Picture| {
            let groups = &picture.contacts().groups;
            groups.iter().find(|group| group.name.eq_ignore_ascii_case(name)).map(|group| group.id)
        };
        if let Some(id) = find(&self.picture) {
            return Ok(id);
        }
        let add = |picture: &Picture| match find(picture) {
            Some(_) => None,
            None => Some(Edit::AddGroup { name: name.to_owned(), external_uri: String::new() }),
        };
        let answer = self.change_list(onlooker, add).await?;
        if let Some(id) = answer.and_then(|answer| read_group_added(&answer.body).ok()) {
            return Ok(id);
        }
        // The answer did not say it; the list does.
        self.read_list_again(onlooker).await?;
        find(&self.picture).ok_or_else(|| Unfulfilled::Refused("the server made no such group".to_owned()))
    }

    async fn remove(&mut self, who: &Aor, onlooker: &mut dyn Onlooker) -> Result<(), Unfulfilled> {
        if self.picture.contacts().contact(who).is_none() {
            return Err(Unfulfilled::Refused(format!("{who} is not in the list")));
        }
        let delete = |picture: &Picture| picture.contacts().contact(who).map(|_| Edit::DeleteContact(who.clone()));
        self.change_list(onlooker, delete).await.map(drop)
    }

    /// Changes the list, on the version that is current: `edit` is asked again after every conflict, and `None` from it
    /// says that there is nothing left to do. Gives the answer.
    async fn change_list(
        &mut self,
        onlooker: &mut dyn Onlooker,
        edit: impl Fn(&Picture) -> Option<Edit>,
    ) -> Result<Option<Response>, Unfulfilled> {
        for _ in 0..TRIES {
            let Some(edit) = edit(&self.picture) else { return Ok(None) };
            let change = ContactChange { delta_num: Some(self.picture.contacts().delta_num), edit };
            let answer = self.demand(provision::service(&self.me, SOAP, write_soap(&change))).await?;
            match answer.code {
                200..300 => {
                    self.hear_what_has_come(onlooker).await?;
                    return Ok(Some(answer));
                }
                409 => self.read_list_again(onlooker).await?,
                _ => return Err(Unfulfilled::Refused(answer.in_words())),
            }
        }
        Err(Unfulfilled::Refused("another endpoint changes the list all the time".to_owned()))
    }

    /// What arrived together with an answer: the change itself, which the next one builds on.
    async fn hear_what_has_come(&mut self, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
        let before = self.picture.contacts().delta_num;
        let until = self.now() + Duration::from_secs(2);
        while self.picture.contacts().delta_num == before {
            match self.session.next_message(until.saturating_sub(self.now())).await {
                Ok(message) => self.hear(&message, onlooker).await?,
                Err(LinkError::Stream(StreamError::Timeout)) => return self.read_list_again(onlooker).await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
