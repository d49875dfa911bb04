//! `signin --stay`: contacts and presence as they change, and commands from standard input.
//!
//! ```text
//!  keyboard or standard input ──► typed ──► wishes ──► signin::stay ──► what happens ──► screen, lines or JSON
//! ```
//!
//! In a terminal the screen is filled; otherwise, and with `--plain`, there is a line for each thing that happens.

mod lines;
mod screen;
mod typed;
mod words;

use crate::arguments::Signin;
use crate::attempt::{Attempt, Outcome};
use crate::interrupt;
use crate::show::Style;
use futures_util::stream::poll_fn;
use miette::Result;
use signin::name::Aor;
use signin::provision::picture::Picture;
use signin::stay::{End, Happening, Onlooker, Wish};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use typed::Typed;
use words::Line;

/// Somebody's view of what happens. Keys and happenings come from two tasks, so it is shared.
pub(super) trait View: Send {
    /// Something happened.
    fn happened(&mut self, picture: &Picture, happening: &Happening);
    /// The contacts are to be shown.
    fn list(&mut self);
    /// Something to be told besides.
    fn tell(&mut self, line: Line);
    /// It is over.
    fn end(&mut self, end: &End);
}

/// A view that several can hold.
pub(super) type Shared<V> = Arc<Mutex<V>>;

/// A view whose holder panicked is still a view.
pub(super) fn held<V: ?Sized>(view: &Mutex<V>) -> MutexGuard<'_, V> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wishes that may wait before the server has taken the first.
const WISHES: usize = 100;

/// Signs in and stays. `told` tells how the sign-in went.
pub(crate) async fn run(
    typed: &Signin,
    attempt: Attempt,
    told: impl FnOnce(&Outcome) -> Result<()>,
    style: Style,
) -> Result<ExitCode> {
    let me = attempt.sign_in.aor.clone();
    let (send, mut receive) = mpsc::channel(WISHES);
    // The stream ends when nobody holds a sender any more: the last one is with whoever reads the signals.
    let mut wishes = poll_fn(move |context| receive.poll_recv(context));
    let full = !typed.json && !typed.plain && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    tokio::spawn(quit_when_told(send.clone()));
    let (outcome, end) = if full {
        let view = Arc::new(Mutex::new(screen::Screen::new(&me)));
        let begin = || screen::begin(&view, &me, send);
        staying(attempt, told, &mut wishes, &view, begin).await?
    } else {
        let view = Arc::new(Mutex::new(lines::Lines::new(typed.json, style)));
        let begin = || {
            tokio::spawn(lines::read_commands(view.clone(), me, send));
            Ok(())
        };
        staying(attempt, told, &mut wishes, &view, begin).await?
    };
    Ok(match end {
        None => crate::signin::exit_code(&outcome.report),
        Some(End::SignedOut) => ExitCode::SUCCESS,
        // Signed in, and then no more: step 3 is where a user is turned away.
        Some(End::ByServer { .. } | End::Refused(_)) => ExitCode::from(13),
    })
}

/// Signs in, begins to listen to whoever is in front, and stays.
async fn staying<V: View>(
    attempt: Attempt,
    told: impl FnOnce(&Outcome) -> Result<()>,
    wishes: &mut (dyn futures_util::Stream<Item = Wish> + Send + Unpin),
    view: &Shared<V>,
    begin: impl FnOnce() -> Result<()>,
) -> Result<(Outcome, Option<End>)> {
    let told = |outcome: &Outcome| {
        told(outcome)?;
        if outcome.report.signed_in { begin() } else { Ok(()) }
    };
    let (outcome, end) = attempt.stay(told, wishes, &mut Watching(view.clone())).await?;
    if let Some(end) = &end {
        held(view).end(end);
    }
    Ok((outcome, end))
}

/// Hands what happens to a view.
struct Watching<V>(Shared<V>);

impl<V: View> Onlooker for Watching<V> {
    fn see(&mut self, picture: &Picture, happening: Happening) {
        held(&self.0).happened(picture, &happening);
    }
}

/// Does what a typed line says. `false`: nobody takes wishes after this.
async fn obey<V: View>(line: &str, me: &Aor, view: &Shared<V>, wishes: &mpsc::Sender<Wish>) -> bool {
    match typed::read(line, me) {
        Ok(None) => true,
        Ok(Some(Typed::List)) => {
            held(view).list();
            true
        }
        Ok(Some(Typed::Help)) => {
            for (command, meaning) in typed::COMMANDS {
                held(view).tell(Line { tone: words::Tone::Plain, text: format!("{command:<29} {meaning}") });
            }
            true
        }
        Ok(Some(Typed::Wish(Wish::Quit))) => {
            // Refused only when it is over already.
            let _ = wishes.send(Wish::Quit).await;
            false
        }
        Ok(Some(Typed::Wish(wish))) => wishes.send(wish).await.is_ok(),
        Err(text) => {
            held(view).tell(Line { tone: words::Tone::Bad, text });
            true
        }
    }
}

/// Ctrl-C and the wish of the system to end both sign out.
async fn quit_when_told(wishes: mpsc::Sender<Wish>) {
    tokio::select! {
        () = interrupt::wanted() => {}
        () = wishes.closed() => return,
    }
    // Refused only when it is over already.
    let _ = wishes.send(Wish::Quit).await;
}
