//! So many at a time, so many waiting, and nobody waits for long: what stands before the domain controllers and before
//! the programs that ask them.

use signin::directory::DirectoryError;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Places for work under way, and places for those who wait for one.
#[derive(Debug)]
pub(super) struct Places {
    working: Semaphore,
    inside: Semaphore,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _working: SemaphorePermit<'a>,
    _inside: SemaphorePermit<'a>,
}

/// There was no place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("too many questions wait for it already")]
    Queue,
    #[error("no earlier question was answered in time")]
    Time,
}

impl Full {
    /// As the directory's trouble: when not one question was answered in time, nobody answers.
    pub(super) fn of_directory(self, why: String) -> DirectoryError {
        match self {
            Full::Queue => DirectoryError::failed(why),
            Full::Time => DirectoryError::unreachable(why),
        }
    }
}

impl Places {
    /// At least one place to work, whatever the numbers say.
    pub(super) fn new(working: usize, waiting: usize) -> Places {
        let working = working.clamp(1, Semaphore::MAX_PERMITS / 2);
        let inside = working + waiting.min(Semaphore::MAX_PERMITS / 2);
        Places { working: Semaphore::new(working), inside: Semaphore::new(inside) }
    }

    /// Waits for a place, in the order of asking.
    pub(super) async fn take(&self, limit: Duration) -> Result<Place<'_>, Full> {
        let inside = self.inside.try_acquire().map_err(|_| Full::Queue)?;
        let working = timeout(limit, self.working.acquire()).await.map_err(|_| Full::Time)?;
        // Nothing closes a semaphore of ours.
        Ok(Place { _working: working.map_err(|_| Full::Queue)?, _inside: inside })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_works_one_waits_the_third_is_refused() {
        let places = Places::new(1, 1);
        let first = places.take(Duration::from_secs(1)).await.expect("it is free");
        let second = async { places.take(Duration::from_secs(1)).await.map(drop) };
        let third = async { places.take(Duration::from_secs(1)).await.map(drop) };
        let (second, third) = tokio::join!(second, third);
        assert_eq!((second, third), (Err(Full::Time), Err(Full::Queue)));
        drop(first);
        places.take(Duration::ZERO).await.expect("it is free again");
    }
}
