//! One measured figure, and the timing that all of them share.

use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, Instant};

/// Rounds of one measurement; the median is what counts. Odd, and many: a round that another process interrupts is then
/// one of a few, and does not reach the median.
const ROUNDS: usize = 301;

/// Least length of one round: long enough that the clock's own cost does not show, shorter than a scheduler's slice.
const ROUND: Duration = Duration::from_micros(500);

/// A promise and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// `P6`.
    pub(crate) id: &'static str,
    /// What was measured, in a few words.
    pub(crate) name: &'static str,
    /// Median, lowest and highest of the rounds.
    pub(crate) measured: Spread,
    /// Unit of all numbers.
    pub(crate) unit: &'static str,
    /// What must hold.
    pub(crate) goal: Goal,
    /// What the machine could do at best in the same run: name and median.
    pub(crate) ceilings: Vec<(&'static str, f64)>,
}

/// What must hold of a median.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Not more than this.
    AtMost(f64),
}

/// The rounds of one measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Figure {
    /// Whether the goal holds.
    pub(crate) fn holds(&self) -> bool {
        match self.goal {
            Goal::AtMost(most) => self.measured.median <= most,
        }
    }

    /// The figure as `bench.json` has it.
    pub(crate) fn to_json(&self) -> Value {
        let Spread { median, lowest, highest } = self.measured;
        let Goal::AtMost(most) = self.goal;
        let ceilings: Vec<_> =
            self.ceilings.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        json!({
            "id": self.id, "name": self.name, "unit": self.unit,
            "value": median, "lowest": lowest, "highest": highest, "rounds": ROUNDS,
            "goal": { "at_most": most }, "holds": self.holds(), "ceilings": ceilings,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal::AtMost(most) = self.goal;
        let verdict = if self.holds() { "pass" } else { "FAIL" };
        let (id, name, unit, median) = (self.id, self.name, self.unit, self.measured.median);
        write!(f, "{id:<4} {name:<48} {median:>9.1} {unit:<3} goal <= {most} {unit}  ceiling")?;
        for (at, (name, value)) in self.ceilings.iter().enumerate() {
            write!(f, "{} {name} {value:.1} {unit}", if at == 0 { "" } else { "," })?;
        }
        write!(f, "  {verdict}")
    }
}

/// Nanoseconds that one call of `work` takes.
pub(crate) fn nanoseconds(mut work: impl FnMut()) -> Spread {
    let calls = calls_per_round(&mut work);
    let rounds = (0..ROUNDS).map(|_| time(calls, &mut work).as_secs_f64() * 1e9 / calls as f64).collect();
    spread(rounds)
}

/// How many calls fill a round. Finding out also warms caches and branch prediction.
fn calls_per_round(work: &mut impl FnMut()) -> u32 {
    let mut calls = 1;
    while time(calls, work) < ROUND {
        calls *= 2;
    }
    calls
}

fn time(calls: u32, work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        work();
    }
    start.elapsed()
}

fn spread(mut rounds: Vec<f64>) -> Spread {
    rounds.sort_by(f64::total_cmp);
    Spread { median: rounds[rounds.len() / 2], lowest: rounds[0], highest: rounds[rounds.len() - 1] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides() {
        let measured = spread(vec![900.0, 100.0, 400.0, 300.0, 200.0]);
        assert_eq!((measured.lowest, measured.median, measured.highest), (100.0, 300.0, 900.0));
        let goal = |most| Figure {
            id: "P0",
            name: "a test",
            measured,
            unit: "ns",
            goal: Goal::AtMost(most),
            ceilings: vec![("nothing", 1.0)],
        };
        assert!(goal(300.0).holds());
        assert!(!goal(299.0).holds());
        assert!(goal(299.0).to_string().ends_with("ceiling nothing 1.0 ns  FAIL"));
        assert_eq!(goal(300.0).to_json()["holds"], true);
    }
}
