//! One connection's life: wishes become requests, notifications become news, and time renews what would lapse.

use super::errand::Errand;
use super::{Happening, Onlooker, Wish};
use crate::authenticate::message::Challenge;
use crate::client::{SignIn, SignedIn, Unsuccessful};
use crate::converse::client::{Conversations, Event};
use crate::converse::content::Text;
use crate::io::{Pending, StreamError};
use crate::link::LinkError;
use crate::name::Aor;
use crate::provision::client::{
    self as provision, Appearance, Endpoint, Request, Response, Session as _, SessionError, Subscriptions,
};
use crate::provision::contacts::message::{SOAP, read_group_added, write_soap};
use crate::provision::contacts::{Contact, ContactChange, DEFAULT_GROUP, Edit};
use crate::provision::picture::{News, Notification, Picture};
use crate::provision::presence::aggregation::{BE_RIGHT_BACK, DO_NOT_DISTURB};
use crate::provision::presence::batch::{Action, Verb};
use crate::provision::presence::message::{
    OwnPresence, Publish, SET_SUBSCRIBERS, read_conflicts, read_own_presence, write_set_subscriber,
};
use crate::provision::publishing;
use crate::register::client::Accepted;
use crate::report::Verdict;
use crate::session::{Session, Told};
use futures_util::future::{Either, select};
use futures_util::stream::{Stream, StreamExt};
use std::collections::BTreeSet;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How long before its end a registration is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(30);

/// How often conversations are looked through for what waits too long.
const LOOK: Duration = Duration::from_secs(5);

/// How often it is looked whether the certificate grows old: clocks are set, and machines sleep.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(3600);

/// What a sign-in obtains for the next one is left this time.
const CERTIFICATE_FIRST_LOOK: Duration = Duration::from_secs(60);

/// How often a change is tried when the server knows of another version.
const TRIES: usize = 3;

/// A signed-in endpoint at one server.
pub(super) struct Living<'s, 'a> {
    sign_in: &'s SignIn,
    session: Session<'a>,
    home: String,
    mechanism: String,
    me: Endpoint,
    picture: Picture,
    subscriptions: Subscriptions,
    /// Whose presence is subscribed.
    watched: BTreeSet<Aor>,
    /// Who has added the user, as far as the user knows.
    acknowledged: BTreeSet<Aor>,
    conversations: Conversations,
    /// When the registration is to be renewed.
    renew: Duration,
    /// How long the connection may be silent.
    keep_alive: Option<Duration>,
    /// What the user wants to be seen as: also after the connection was lost.
    appearance: Appearance,
    /// The server's offer of certificates.
    certificates: Option<Challenge>,
    /// When to look whether the user's grows old.
    certificate_look: Option<Duration>,
    /// The next one, on its way.
    renewal: Option<Renewal<'s>>,
}

/// A certificate on its way, and the connections that takes.
struct Renewal<'s> {
    work: Pending<'s, Result<i64, Unsuccessful>>,
    errand: Arc<Errand<'s>>,
}

/// What comes first.
enum First {
    Message(Result<Vec<u8>, LinkError>),
    Wish(Option<Wish>),
    Certificate(Result<i64, Unsuccessful>),
}

/// What is left of it.
pub(super) struct Rest {
    pub(super) over: Over,
    pub(super) picture: Picture,
    /// What the user wants to be seen as.
    pub(super) appearance: Appearance,
}

/// How such a life ends.
pub(super) enum Over {
    /// The user quit.
    Quit,
    /// The server has signed the endpoint out.
    ByServer { event: String, why: Option<String> },
    /// The endpoint could not be authenticated again.
    Refused(Verdict),
    /// The connection is lost.
    Lost(String),
}

/// Why a wish was not fulfilled.
enum Unfulfilled {
    /// In words; the endpoint goes on.
    Refused(String),
    /// The connection is gone with it.
    Over(Over),
}

impl From<LinkError> for Over {
    fn from(error: LinkError) -> Over {
        Over::Lost(error.to_string())
    }
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
    pub(super) fn new(sign_in: &'s SignIn, signed_in: SignedIn<'a>) -> Living<'s, 'a> {
        let SignedIn { session, home, mechanism, accepted, settled, certificates, .. } = signed_in;
        let picture = Picture::new(&sign_in.aor, &settled);
        // Those of whom nothing was told are asked for once more, one by one.
        let watched = settled.people.iter().map(|categories| categories.aor.clone()).collect();
        let mut living = Living {
            sign_in,
            me: sign_in.endpoint(&session, &accepted),
            conversations: Conversations::new(session.myself()),
            session,
            home,
            mechanism,
            picture,
            subscriptions: settled.subscriptions,
            watched,
            acknowledged: BTreeSet::new(),
            renew: Duration::ZERO,
            keep_alive: None,
            appearance: sign_in.appearance,
            certificates,
            certificate_look: None,
            renewal: None,
        };
        living.accepted(&accepted);
        living.look_at_the_certificate();
        living.mind_the_status();
        living
    }

    pub(super) fn where_and_how(&self) -> (String, String) {
        (self.home.clone(), self.mechanism.clone())
    }

    pub(super) fn picture(&self) -> &Picture {
        &self.picture
    }

    fn now(&self) -> Duration {
        self.session.io().now().since_start
    }

    fn accepted(&mut self, accepted: &Accepted) {
        let lifetime = accepted.expires;
        let before = RENEW_BEFORE.min(lifetime / 4);
        self.renew = self.now() + (lifetime - before).max(Duration::from_secs(1));
        self.keep_alive = accepted.keep_alive;
    }

    /// To the end.
    pub(super) async fn run(
        mut self,
        wishes: &mut (dyn Stream<Item = Wish> + Send + Unpin),
        onlooker: &mut dyn Onlooker,
    ) -> Rest {
        let over = loop {
            if let Err(over) = self.step(wishes, onlooker).await {
                break over;
            }
        };
        if let Over::Quit = over {
            self.take_leave(onlooker).await;
        }
        if let Some(Renewal { work, errand }) = self.renewal.take() {
            drop(work);
            errand.call_off().await;
        }
        // What has no answer by now never gets one.
        let failed = self.conversations.expire(Duration::MAX).events;
        self.show(failed, onlooker);
        match over {
            Over::Quit => self.session.sign_out().await,
            Over::ByServer { .. } | Over::Refused(_) | Over::Lost(_) => self.session.abandon().await,
        }
        Rest { over, picture: self.picture, appearance: self.appearance }
    }

    /// Ends every conversation. If the connection fails now, there is nobody to tell.
    async fn take_leave(&mut self, onlooker: &mut dyn Onlooker) {
        let peers: BTreeSet<Aor> = self.conversations.peers().cloned().collect();
        for peer in peers {
            if let Ok(events) = self.session.end_conversation(&mut self.conversations, &peer).await {
                self.show(events, onlooker);
            }
        }
    }

    /// What comes first: a message of the server, a wish, or the time for something.
    async fn step(
        &mut self,
        wishes: &mut (dyn Stream<Item = Wish> + Send + Unpin),
        onlooker: &mut dyn Onlooker,
    ) -> Result<(), Over> {
        self.watch_who_is_in_the_list(onlooker).await?;
        self.acknowledge(onlooker).await?;
        let limit = self.next_duty().saturating_sub(self.now());
        let first = {
            let message = pin!(self.session.next_message(limit));
            let certificate = match &mut self.renewal {
                Some(renewal) => Either::Left(renewal.work.as_mut()),
                None => Either::Right(pending()),
            };
            match select(select(message, wishes.next()), certificate).await {
                Either::Left((Either::Left((message, _)), _)) => First::Message(message),
                Either::Left((Either::Right((wish, _)), _)) => First::Wish(wish),
                Either::Right((renewed, _)) => First::Certificate(renewed),
            }
        };
        match first {
            First::Message(Ok(message)) => self.hear(&message, onlooker).await?,
            First::Message(Err(LinkError::Stream(StreamError::Timeout))) => {}
            First::Message(Err(error)) => return Err(error.into()),
            First::Wish(None | Some(Wish::Quit)) => return Err(Over::Quit),
            First::Wish(Some(wish)) => self.fulfil(wish, onlooker).await?,
            First::Certificate(renewed) => self.take_certificate(renewed, onlooker),
        }
        self.do_what_is_due(onlooker).await
    }

    fn next_duty(&self) -> Duration {
        let ping = self.keep_alive.map(|pause| self.session.last_sent() + pause);
        let look = self.conversations.peers().next().map(|_| self.now() + LOOK);
        [Some(self.renew), ping, look, self.certificate_look].into_iter().flatten().min().unwrap_or(self.renew)
    }

    async fn do_what_is_due(&mut self, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
        let now = self.now();
        let expired = self.session.expire(&mut self.conversations).await?;
        self.show(expired, onlooker);
        if self.certificate_look.is_some_and(|look| look <= now) {
            self.renew_certificate_if_due();
        }
        if self.renew <= now {
            return self.renew().await;
        }
        if self.keep_alive.is_some_and(|pause| self.session.last_sent() + pause <= now) {
            self.session.keep_alive().await?;
        }
        Ok(())
    }

    /// Sets when to look next, if there is anything to look at.
    fn look_at_the_certificate(&mut self) {
        let now = self.session.io().now();
        let due = self.certificates.as_ref().and_then(|_| self.sign_in.certificate_due(now.unix_seconds));
        self.certificate_look = due.map(|due| {
            let left = u64::try_from(due.saturating_sub(now.unix_seconds)).unwrap_or(0);
            now.since_start + Duration::from_secs(left).clamp(CERTIFICATE_FIRST_LOOK, CERTIFICATE_LOOK)
        });
    }

    /// Asks for the next certificate when it is time; the endpoint goes on meanwhile.
    fn renew_certificate_if_due(&mut self) {
        let io = self.session.io();
        let now = io.now().unix_seconds;
        let due = self.sign_in.certificate_due(now).is_some_and(|due| due <= now);
        let Some(challenge) = self.certificates.clone().filter(|_| due) else {
            return self.look_at_the_certificate();
        };
        let (sign_in, device) = (self.sign_in, self.session.registration().instance.uuid());
        self.certificate_look = None;
        let errand = Arc::new(Errand::new(io));
        let door = errand.clone();
        let work = Box::pin(async move { sign_in.renew_certificate(&*door, &challenge, device).await });
        self.renewal = Some(Renewal { work, errand });
    }

    /// A certificate is there, or not: then it is asked for again later, unless the password was refused.
    fn take_certificate(&mut self, renewed: Result<i64, Unsuccessful>, onlooker: &mut dyn Onlooker) {
        self.renewal = None;
        match renewed {
            Ok(until) => {
                onlooker.see(&self.picture, Happening::Certificate { until });
                self.look_at_the_certificate();
            }
            Err(Unsuccessful { verdict, refused }) => {
                let remark = format!("the certificate is not renewed: {} ({})", verdict.sentence, verdict.id);
                onlooker.see(&self.picture, Happening::Remark(remark));
                self.certificate_look = (!refused).then(|| self.now() + CERTIFICATE_LOOK);
            }
        }
    }

    /// Renews the registration. A 401 says that the association has reached its age; anything else but a 200, that this
    /// server does not keep us any longer.
    async fn renew(&mut self) -> Result<(), Over> {
        let answer = self.session.refresh().await?;
        match answer.code {
            200 => {
                let expires = answer.header("Expires").and_then(|value| value.trim().parse().ok());
                let expires = expires.map_or(Duration::from_secs(600), Duration::from_secs);
                let before = RENEW_BEFORE.min(expires / 4);
                self.renew = self.now() + (expires - before).max(Duration::from_secs(1));
                Ok(())
            }
            401 => self.authenticate_again().await,
            _ => Err(Over::Lost(format!("{} answered the refresh with {}", self.home, answer.in_words()))),
        }
    }

    async fn authenticate_again(&mut self) -> Result<(), Over> {
        match self.sign_in.authenticate_again(&mut self.session, &self.home).await {
            Ok(accepted) => {
                self.accepted(&accepted);
                Ok(())
            }
            Err(Unsuccessful { verdict, refused: true }) => Err(Over::Refused(verdict)),
            Err(Unsuccessful { verdict, refused: false }) => Err(Over::Lost(verdict.sentence)),
        }
    }

    fn show(&self, events: Vec<Event>, onlooker: &mut dyn Onlooker) {
        events.into_iter().for_each(|event| onlooker.see(&self.picture, Happening::Conversation(event)));
    }

    /// A message nobody waited for.
    async fn hear(&mut self, message: &[u8], onlooker: &mut dyn Onlooker) -> Result<(), Over> {
        match self.session.told(message).await? {
            Told::Notification(notification) => self.take(&notification, onlooker).await,
            Told::Stale => Ok(()),
            Told::Other => {
                if let Some(events) = self.session.converse(&mut self.conversations, message).await? {
                    self.show(events, onlooker);
                }
                Ok(())
            }
        }
    }

    async fn take(&mut self, notification: &Notification, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
        match self.picture.take(notification) {
            Err(why) => {
                let remark = format!("a notification of {} cannot be read: {why}", notification.event);
                onlooker.see(&self.picture, Happening::Remark(remark));
            }
            Ok(news) => {
                let signed_out = news.iter().find_map(|news| match news {
                    News::SignedOut { event, why } => Some(Over::ByServer { event: event.clone(), why: why.clone() }),
                    _ => None,
                });
                let out_of_step = news.contains(&News::ListOutOfStep);
                for news in news {
                    onlooker.see(&self.picture, Happening::News(news));
                }
                if let Some(over) = signed_out {
                    return Err(over);
                }
                if out_of_step {
                    self.read_list_again(onlooker).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks for the whole contact list, in the subscription that there is.
    async fn read_list_again(&mut self, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
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
    async fn watch_who_is_in_the_list(&mut self, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
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
    async fn acknowledge(&mut self, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
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

    /// One request and its answer. When the server wants to know again who we are, it is told, and asked again.
    async fn ask(&mut self, request: Request) -> Result<Result<Response, SessionError>, Over> {
        let mut answers = self.session.exchange(vec![request.clone()]).await;
        if answers.last().is_some_and(|answer| answer.as_ref().is_ok_and(|answer| answer.code == 401)) {
            self.authenticate_again().await?;
            answers = self.session.exchange(vec![request]).await;
        }
        Ok(answers.pop().unwrap_or_else(|| Err(SessionError("no answer".to_owned()))))
    }

    /// The same, for a wish: an answer that is no success is a refusal in the server's words.
    async fn demand(&mut self, request: Request) -> Result<Response, Unfulfilled> {
        match self.ask(request).await? {
            Ok(answer) => Ok(answer),
            Err(SessionError(why)) => Err(Unfulfilled::Over(Over::Lost(why))),
        }
    }

    async fn fulfil(&mut self, wish: Wish, onlooker: &mut dyn Onlooker) -> Result<(), Over> {
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
    fn mind_the_status(&mut self) {
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
            let mut contact = known.unwrap_or_else(|| Contact {
                aor: who.clone(),
                name: String::new(),
                groups: Vec::new(),
                subscribed: true,
                external_uri: String::new(),
                extension: String::new(),
            });
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
