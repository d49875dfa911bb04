//! The names of a plan, asked of the DNS all at once, as soon as the first of them is needed; the answers are used in the order
//! of the plan as they come. So a name server that is silent about one name costs its time once.

use super::plan::Way;
use crate::io::{DnsAnswer, Io, RecordKind};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

/// A question to the DNS: name and kind.
type Question = (String, RecordKind);

/// Answers that came.
pub(super) type Known = HashMap<Question, DnsAnswer>;

type Lookup<'a> = Pin<Box<dyn Future<Output = (Question, DnsAnswer)> + Send + 'a>>;

/// The names of the plan: none is asked before one is needed, then all are. Questions without an answer when this is
/// dropped will be asked again.
pub(super) struct Names<'a> {
    io: &'a dyn Io,
    limit: Duration,
    pub(super) known: Known,
    unasked: Vec<Question>,
    pending: FuturesUnordered<Lookup<'a>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(io: &'a dyn Io, limit: Duration, known: Known, plan: &VecDeque<Way>) -> Names<'a> {
        let question = |way: &Way| match way {
            Way::Cached(_) | Way::Manual(_) => None,
            Way::Autodiscover { name } | Way::Name { name, .. } => Some((name.clone(), RecordKind::Address)),
            Way::Service { name, .. } => Some((name.clone(), RecordKind::Srv)),
        };
        let unasked = plan.iter().filter_map(question).filter(|question| !known.contains_key(question)).collect();
        Names { io, limit, known, unasked, pending: FuturesUnordered::new() }
    }

    pub(super) fn known(&self, name: &str, kind: RecordKind) -> Option<&DnsAnswer> {
        self.known.get(&(name.to_owned(), kind))
    }

    fn ask_all(&mut self) {
        let (io, limit) = (self.io, self.limit);
        for (name, kind) in self.unasked.drain(..) {
            let lookup: Lookup<'a> = Box::pin(async move {
                let answer = io.resolve(&name, kind, limit).await;
                ((name, kind), answer)
            });
            self.pending.push(lookup);
        }
    }

    /// The answer to one question, as soon as it is there.
    pub(super) async fn answer(&mut self, name: &str, kind: RecordKind) -> DnsAnswer {
        self.ask_all();
        loop {
            if let Some(answer) = self.known(name, kind) {
                return answer.clone();
            }
            match self.pending.next().await {
                Some((question, answer)) => self.known.insert(question, answer),
                None => return DnsAnswer::Failed("it was never asked".to_owned()),
            };
        }
    }

    /// Does some work, and takes answers as they come meanwhile.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        while !self.pending.is_empty() {
            match select(work.as_mut(), self.pending.next()).await {
                Either::Left((done, _)) => return done,
                Either::Right((Some((question, answer)), _)) => self.known.insert(question, answer),
                Either::Right((None, _)) => break,
            };
        }
        work.await
    }
}
