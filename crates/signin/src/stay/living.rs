//! One connection's life: whatever comes first (a message of the server, a wish, the time for something) is dealt with, and
//! then the next. Here notifications become news, and time renews what would lapse; wishes become requests in
//! `living/wishes.rs`, and what follows from the contact list is in `living/subscribing.rs`.

mod subscribing;
mod wishes;

use super::errand::Errand;
use super::{Happening, Onlooker, Wish};
use crate::authenticate::message::Challenge;
use crate::client::{SignIn, SignedIn, Unsuccessful};
use crate::converse::client::{Conversations, Event};
use crate::io::{Pending, StreamError};
use crate::link::LinkError;
use crate::name::Aor;
use crate::provision::client::{Appearance, Endpoint, Request, Response, Session as _, SessionError, Subscriptions};
use crate::provision::picture::{News, Notification, Picture};
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

impl From<LinkError> for Over {
    fn from(error: LinkError) -> Over {
        Over::Lost(error.to_string())
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

    /// One request and its answer. When the server wants to know again who we are, it is told, and asked again.
    async fn ask(&mut self, request: Request) -> Result<Result<Response, SessionError>, Over> {
        let mut answers = self.session.exchange(vec![request.clone()]).await;
        if answers.last().is_some_and(|answer| answer.as_ref().is_ok_and(|answer| answer.code == 401)) {
            self.authenticate_again().await?;
            answers = self.session.exchange(vec![request]).await;
        }
        Ok(answers.pop().unwrap_or_else(|| Err(SessionError("no answer".to_owned()))))
    }
}
