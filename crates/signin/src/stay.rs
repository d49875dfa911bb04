//! Staying signed in: everything a client does between step 5 and signing out.
//!
//! ```text
//!            ┌──────────────────────────────── signed in again ◄──┐
//!            ▼                                                    │
//!  signed in: wishes ──► requests        connection lost ──► wait ──► sign in ──► refused: the end
//!             notifications ──► news            ▲              ▲          │
//!             time ──► REGISTER, keep-alive     │              └──────────┘ failed: wait longer
//!                 │      └── 401: authenticate again
//!                 └─────────────────────────────┘
//! ```
//!
//! Nothing is forgotten when a connection is lost: after the next sign-in the contact list is read anew and every
//! subscription made again. Whoever looks on is told of each step through [`Onlooker`].
//!
//! The user's certificate is renewed before it ends, while the endpoint goes on: by itself, without a password.
//!
//! Pauses between attempts double from [`FIRST_PAUSE`] to [`LONGEST_PAUSE`], each taken at random between a half and the
//! whole, so that the clients of a server that comes back do not come all at once. Both are our own choice.

mod errand;
mod living;
mod wish;

pub use wish::{End, Happening, Wish};

use crate::client::{SignIn, SignedIn, Unsuccessful};
use crate::io::Io;
use crate::provision::picture::Picture;
use errand::Errand;
use futures_util::future::{Either, select};
use futures_util::stream::{Stream, StreamExt};
use living::{Living, Over, Rest};
use std::pin::pin;
use std::time::Duration;

/// The pause before the first attempt to sign in again.
pub const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between two attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Who is told what happens.
pub trait Onlooker: Send {
    /// Something happened; the picture is as it is afterwards.
    fn see(&mut self, picture: &Picture, happening: Happening);
}

/// Stays signed in until somebody wants to quit, or nobody wants anything any more (`wishes` ends), or the server wants
/// the user no more.
pub async fn stay<'a>(
    sign_in: &SignIn,
    io: &'a dyn Io,
    signed_in: SignedIn<'a>,
    wishes: &mut (dyn Stream<Item = Wish> + Send + Unpin),
    onlooker: &mut dyn Onlooker,
) -> End {
    let attempts = Errand::new(io);
    let (mut signed_in, mut again) = (signed_in, false);
    let mut sign_in = sign_in.clone();
    loop {
        let living = Living::new(&sign_in, signed_in);
        let (home, mechanism) = living.where_and_how();
        onlooker.see(living.picture(), Happening::SignedIn { home, mechanism, again });
        let Rest { over, picture, appearance } = living.run(wishes, onlooker).await;
        let why = match over {
            Over::Quit => return End::SignedOut,
            Over::ByServer { event, why } => return End::ByServer { event, why },
            Over::Refused(verdict) => return End::Refused(verdict),
            Over::Lost(why) => why,
        };
        onlooker.see(&picture, Happening::Lost { why });
        sign_in.appearance = appearance;
        signed_in = match come_back(&sign_in, &attempts, &picture, wishes, onlooker).await {
            Ok(signed_in) => signed_in,
            Err(end) => return end,
        };
        again = true;
    }
}

/// Signs in again, however long it takes. Wishes that come meanwhile cannot be fulfilled, but for the one to quit.
async fn come_back<'a>(
    sign_in: &SignIn,
    errand: &'a Errand<'_>,
    picture: &Picture,
    wishes: &mut (dyn Stream<Item = Wish> + Send + Unpin),
    onlooker: &mut dyn Onlooker,
) -> Result<SignedIn<'a>, End> {
    let io: &dyn Io = errand;
    let mut longest = FIRST_PAUSE;
    for attempt in 1.. {
        let time = pause(io, longest);
        onlooker.see(picture, Happening::Waiting { attempt, time });
        let came = meanwhile(io.wait(time), picture, wishes, onlooker).await;
        if came.is_none() {
            return Err(End::SignedOut);
        }
        match meanwhile(sign_in.attempt(io), picture, wishes, onlooker).await {
            None => {
                errand.call_off().await;
                return Err(End::SignedOut);
            }
            Some(Ok(signed_in)) => return Ok(signed_in),
            Some(Err(Unsuccessful { verdict, refused: true })) => return Err(End::Refused(verdict)),
            Some(Err(Unsuccessful { verdict, refused: false })) => onlooker.see(picture, Happening::Failed(verdict)),
        }
        longest = (longest * 2).min(LONGEST_PAUSE);
    }
    Err(End::SignedOut)
}

/// Between a half and the whole.
fn pause(io: &dyn Io, longest: Duration) -> Duration {
    let mut random = [0; 2];
    io.fill_random(&mut random);
    longest / 2 + longest.mul_f64(f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX)) / 2
}

/// Waits for something while there is no connection. `None`: somebody wants to quit first.
async fn meanwhile<T>(
    work: impl Future<Output = T>,
    picture: &Picture,
    wishes: &mut (dyn Stream<Item = Wish> + Send + Unpin),
    onlooker: &mut dyn Onlooker,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        match select(work.as_mut(), wishes.next()).await {
            Either::Left((done, _)) => return Some(done),
            Either::Right((None | Some(Wish::Quit), _)) => return None,
            Either::Right((Some(wish), _)) => {
                let why = "there is no connection at the moment".to_owned();
                onlooker.see(picture, Happening::Refused { wish, why });
            }
        }
    }
}
