//! One sign-in, recorded, from the wish to the report.

use net::client::{Config, SetupError, Sockets};
use signin::client::SignIn;
use signin::discover::client::Cached;
use signin::io::Io;
use signin::report::{Ending, Event, SignInReport, Verdict};
use std::time::Duration;
use trace::record::{Record, What};
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

impl Attempt {
    /// Signs in, and out again. Only what is wrong with this machine is an error; a failed sign-in is an outcome.
    pub(crate) async fn run(self) -> Result<Outcome, SetupError> {
        let address = self.sign_in.aor.to_string();
        let recorder = Recorder::new(Sockets::new(self.sockets)?, &address, &user_agent());
        let io: &dyn Io = &recorder;
        let (mut reached, mut prepared) = (None, None);
        // What is done for the next sign-in is no part of this one.
        let mut until = Duration::MAX;
        let ending = match self.sign_in.run(io).await {
            Ok(signed_in) => {
                reached = Some(signed_in.reached.clone());
                let ending = Ending::SignedIn {
                    home: signed_in.home.clone(),
                    mechanism: signed_in.mechanism.clone(),
                    settings: signed_in.settled.json(),
                    contacts: signed_in.settled.contacts.as_ref().map_or(0, |list| list.contacts.len()),
                };
                until = io.now().since_start;
                prepared = self.sign_in.prepare_next(io, &signed_in).await;
                signed_in.session.sign_out().await;
                ending
            }
            Err(verdict) => Ending::Failed(verdict),
        };
        let record = recorder.finish();
        let mut events = events(&record);
        events.retain(|(at, _)| *at <= until);
        let report = SignInReport::assemble(&address, &events, &ending);
        Ok(Outcome { report, record, reached, prepared })
    }
}

/// What the sign-in told, and when.
pub(crate) fn events(record: &Record) -> Vec<(Duration, Event)> {
    record
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Told(event) => Some((entry.at(), event.clone())),
            _ => None,
        })
        .collect()
}

/// What this program calls itself.
pub(crate) fn user_agent() -> String {
    format!("Signpost/{}", env!("CARGO_PKG_VERSION"))
}
