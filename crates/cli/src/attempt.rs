//! One sign-in, recorded, from the wish to the report.

use futures_util::Stream;
use miette::IntoDiagnostic;
use net::client::{Config, SetupError, Sockets};
use signin::client::{SignIn, SignedIn};
use signin::discover::client::Cached;
use signin::io::Io;
use signin::report::{Ending, SignInReport, Verdict};
use signin::stay::{End, Onlooker, Wish, stay};
use std::time::Duration;
use trace::record::Record;
use trace::recorder::Recorder;

/// A sign-in that can be run.
pub(crate) struct Attempt {
    /// What to do.
    pub(crate) sign_in: SignIn,
    /// How to reach the world.
    pub(crate) sockets: Config,
}

/// What came of it.
pub(crate) struct Outcome {
    /// For people and programs.
    pub(crate) report: SignInReport,
    /// For the ladder.
    pub(crate) record: Record,
    /// Where it ended, when it is signed in.
    pub(crate) reached: Option<Cached>,
    /// Until when the certificate is valid that was obtained for the next sign-in, or why there is none; `None` when there
    /// was nothing to obtain.
    pub(crate) prepared: Option<Result<i64, Verdict>>,
}

/// How a sign-in went, before its record is looked at.
struct Arrived {
    ending: Ending,
    reached: Option<Cached>,
    prepared: Option<Result<i64, Verdict>>,
    /// What is done for the next sign-in is no part of this one.
    until: Duration,
}

/// Most bytes of a record while somebody stays signed in: the sign-in is in it, the day after it is not.
const RECORDED: usize = 4 * 1024 * 1024;

impl Attempt {
    /// Signs in, and out again. Only what is wrong with this machine is an error; a failed sign-in is an outcome.
    pub(crate) async fn run(self) -> Result<Outcome, SetupError> {
        let address = self.sign_in.aor.to_string();
        let recorder = Recorder::new(Sockets::new(self.sockets)?, &address, &user_agent());
        let (arrived, signed_in) = arrive(&self.sign_in, &recorder).await;
        if let Some(signed_in) = signed_in {
            signed_in.session.sign_out().await;
        }
        Ok(arrived.outcome(&address, recorder.finish()))
    }

    /// Signs in and stays. `told` is given the outcome of the sign-in as soon as there is one; without a sign-in, that is
    /// all.
    pub(crate) async fn stay(
        self,
        told: impl FnOnce(&Outcome) -> miette::Result<()>,
        wishes: &mut (dyn Stream<Item = Wish> + Send + Unpin),
        onlooker: &mut dyn Onlooker,
    ) -> miette::Result<(Outcome, Option<End>)> {
        let address = self.sign_in.aor.to_string();
        let sockets = Sockets::new(self.sockets).into_diagnostic()?;
        let recorder = Recorder::new(sockets, &address, &user_agent()).bounded(RECORDED);
        let (arrived, signed_in) = arrive(&self.sign_in, &recorder).await;
        let outcome = arrived.outcome(&address, recorder.record());
        told(&outcome)?;
        let end = match signed_in {
            Some(signed_in) => Some(stay(&self.sign_in, &recorder, signed_in, wishes, onlooker).await),
            None => None,
        };
        Ok((outcome, end))
    }
}

async fn arrive<'a>(sign_in: &SignIn, io: &'a dyn Io) -> (Arrived, Option<SignedIn<'a>>) {
    match sign_in.run(io).await {
        Ok(signed_in) => {
            let ending = signed_in.ending();
            let until = io.now().since_start;
            let prepared = sign_in.prepare_next(io, &signed_in).await;
            (Arrived { ending, reached: Some(signed_in.reached.clone()), prepared, until }, Some(signed_in))
        }
        Err(verdict) => {
            let ending = Ending::Failed(verdict);
            (Arrived { ending, reached: None, prepared: None, until: Duration::MAX }, None)
        }
    }
}

impl Arrived {
    fn outcome(self, address: &str, record: Record) -> Outcome {
        let mut events = record.told();
        events.retain(|(at, _)| *at <= self.until);
        let report = SignInReport::assemble(address, &events, &self.ending);
        Outcome { report, record, reached: self.reached, prepared: self.prepared }
    }
}

/// What this program calls itself.
pub(crate) fn user_agent() -> String {
    format!("Signpost/{}", env!("CARGO_PKG_VERSION"))
}
