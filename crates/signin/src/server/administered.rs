//! Users whom administration changed while they are signed in: disabled, moved, not allowed outside any more. Their next
//! REGISTER would be refused; their endpoints are not left to wait for it. `[MS-SIPREGE]` §3.2.

use super::FrontEnd;
use crate::journal::ServerEvent;
use crate::name::Aor;
use std::time::Duration;

/// Longest time that one sweep asks the directory about users. Those who are left are asked about in the next one.
const AT_ONCE: Duration = Duration::from_millis(250);

impl FrontEnd {
    /// Ends the registrations of those who may not stay, and tells their endpoints why. To be called every second; it
    /// costs nothing while the directory knows of no change.
    pub(super) async fn put_out_barred(&self) {
        let changes = self.foundations.directory.changes_elsewhere();
        let begun = self.now();
        {
            let mut state = self.state();
            if std::mem::replace(&mut state.changes_elsewhere, changes) != changes {
                state.to_look_up = state.location.users().cloned().collect();
            }
        }
        while self.now().saturating_sub(begun) < AT_ONCE {
            let Some(aor) = self.state().to_look_up.pop_front() else { return };
            if !self.look_up(&aor).await {
                // The directory does not answer: he and the rest are asked about later, and he last.
                return self.state().to_look_up.push_back(aor);
            }
        }
    }

    /// Puts out a user who may not stay. `false`: nobody could tell.
    async fn look_up(&self, aor: &Aor) -> bool {
        let Ok(user) = self.answered_in_time(self.foundations.directory.user(aor)).await else { return false };
        if let Some(why) = self.here.no_longer_serves(user.as_deref())
            && self.deregister(aor, why).await > 0
        {
            self.note(&ServerEvent::PutOut { aor: aor.clone(), why });
        }
        true
    }
}
