//! Where a sign-in fails: whether another server may help, what is told of it, and whether to try again.

use crate::io::Io;
use crate::report::{Event, Step, StepResult, Verdict};

/// Why a server did not register us, and whether another may.
pub(crate) enum Failed {
    /// This server cannot be used; another one may.
    Here(Step, Verdict),
    /// No server will.
    Everywhere(Step, Verdict),
}

/// A sign-in that failed.
pub(crate) struct Unsuccessful {
    pub(crate) verdict: Verdict,
    /// The user was refused. The next attempt would be too; and accounts lock.
    pub(crate) refused: bool,
}

/// Failures of authentication that are nobody's refusal, and may be over by themselves.
const PASSING: &[&str] = &["krb-kdc-unreachable", "wt-unreachable", "cp-unreachable", "ntlm-dc-unreachable"];

/// Whether a failure of authentication refuses the user.
pub(super) fn refuses(verdict: &Verdict) -> bool {
    !PASSING.contains(&verdict.id.as_str())
}

impl Unsuccessful {
    /// At this step, which is told.
    pub(super) fn at(io: &dyn Io, step: Step, verdict: Verdict, refused: bool) -> Unsuccessful {
        io.tell(Event::Ended(step, StepResult::Fail));
        Unsuccessful::told(io, verdict, refused)
    }

    fn told(io: &dyn Io, verdict: Verdict, refused: bool) -> Unsuccessful {
        let verdict = verdict.legible();
        io.tell(Event::Failed(verdict.clone()));
        Unsuccessful { verdict, refused }
    }
}

/// Candidates of discovery that did not lead home.
#[derive(Default)]
pub(super) struct DeadEnds {
    /// The first, with which the sign-in fails when no other server is left.
    first: Option<(Step, Verdict)>,
    /// The step that was last said to have failed.
    last: Option<Step>,
}

impl DeadEnds {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn note(&mut self, io: &dyn Io, step: Step, verdict: Verdict) {
        // What does not open is told where it is tried, place by place.
        if step != Step::Connectivity {
            io.tell(Event::Remark(step, verdict.sentence.clone()));
            io.tell(Event::Ended(step, StepResult::Fail));
        }
        self.last = Some(step);
        self.first.get_or_insert((step, verdict));
    }

    /// How the sign-in ends when there is no further candidate; `None` when there was none at all.
    pub(super) fn conclude(&mut self, io: &dyn Io) -> Option<Unsuccessful> {
        let (step, verdict) = self.first.take()?;
        // The last word about a step is that of the verdict.
        if self.last == Some(step) {
            return Some(Unsuccessful::told(io, verdict, false));
        }
        Some(Unsuccessful::at(io, step, verdict, false))
    }
}
