//! One measured figure, and the timing that the small ones share.

use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, Instant};

/// Rounds of one measurement of a few hundred nanoseconds; the median is what counts. Odd, and many: a round that another
/// process interrupts is then one of a few, and does not reach the median.
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
    /// Unit of the value and the goal.
    pub(crate) unit: &'static str,
    /// What must hold.
    pub(crate) goal: Goal,
    /// What else was measured in the same run, to compare with.
    pub(crate) beside: Vec<Beside>,
    /// What a reader has to know to take the value right: what was scaled, or left out.
    pub(crate) remark: Option<String>,
}

/// What must hold of a median.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// A number of the same run beside the figure: the ceiling, the peer, or a part of the figure itself.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    /// What it is.
    pub(crate) name: String,
    /// How much.
    pub(crate) value: f64,
    /// Of what.
    pub(crate) unit: &'static str,
}

/// The rounds of one measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) rounds: usize,
}

impl Spread {
    /// Of these rounds, of which there is at least one.
    pub(crate) fn of(mut rounds: Vec<f64>) -> Spread {
        rounds.sort_by(f64::total_cmp);
        let (lowest, median, highest) = (rounds[0], rounds[rounds.len() / 2], rounds[rounds.len() - 1]);
        Spread { median, lowest, highest, rounds: rounds.len() }
    }
}

impl Beside {
    /// A number with its name.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Beside {
        Beside { name: name.into(), value, unit }
    }
}

impl Figure {
    /// Whether the goal holds.
    pub(crate) fn holds(&self) -> bool {
        match self.goal {
            Goal::AtMost(most) => self.measured.median <= most,
            Goal::AtLeast(least) => self.measured.median >= least,
        }
    }

    /// The figure as `bench.json` has it.
    pub(crate) fn to_json(&self) -> Value {
        let Spread { median, lowest, highest, rounds } = self.measured;
        let goal = match self.goal {
            Goal::AtMost(most) => json!({ "at_most": most }),
            Goal::AtLeast(least) => json!({ "at_least": least }),
        };
        let beside = |beside: &Beside| json!({ "name": beside.name, "value": beside.value, "unit": beside.unit });
        let beside: Vec<_> = self.beside.iter().map(beside).collect();
        json!({
            "id": self.id, "name": self.name, "unit": self.unit,
            "value": median, "lowest": lowest, "highest": highest, "rounds": rounds,
            "goal": goal, "holds": self.holds(), "beside": beside, "remark": self.remark,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (relation, limit) = match self.goal {
            Goal::AtMost(most) => ("<=", most),
            Goal::AtLeast(least) => (">=", least),
        };
        let verdict = if self.holds() { "pass" } else { "FAIL" };
        let Figure { id, name, unit, measured, .. } = self;
        write!(f, "{id:<8} {name:<54} {:>8} {unit:<3} goal {relation} {limit} {unit}", Short(measured.median))?;
        for (at, Beside { name, value, unit }) in self.beside.iter().enumerate() {
            write!(f, "{} {name} {} {unit}", if at == 0 { "  beside:" } else { "," }, Short(*value))?;
        }
        if let Some(remark) = &self.remark {
            write!(f, "  ({remark})")?;
        }
        write!(f, "  {verdict}")
    }
}

/// A number as it is read at a glance: two places below ten, one below a thousand, else none.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = match self.0.abs() {
            small if small < 10.0 => 2,
            middling if middling < 1_000.0 => 1,
            _ => 0,
        };
        f.pad(&format!("{:.places$}", self.0))
    }
}

/// Nanoseconds that one call of `work` takes.
pub(crate) fn nanoseconds(mut work: impl FnMut()) -> Spread {
    let calls = calls_per_round(&mut work);
    Spread::of((0..ROUNDS).map(|_| time(calls, &mut work).as_secs_f64() * 1e9 / f64::from(calls)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides() {
        let measured = Spread::of(vec![900.0, 100.0, 400.0, 300.0, 200.0]);
        assert_eq!((measured.lowest, measured.median, measured.highest, measured.rounds), (100.0, 300.0, 900.0, 5));
        let with = |goal| Figure {
            id: "P0",
            name: "a test",
            measured,
            unit: "ns",
            goal,
            beside: vec![Beside::new("nothing", 1.0, "ns"), Beside::new("much", 12_345.6, "B")],
            remark: None,
        };
        assert!(with(Goal::AtMost(300.0)).holds() && !with(Goal::AtMost(299.0)).holds());
        assert!(with(Goal::AtLeast(300.0)).holds() && !with(Goal::AtLeast(301.0)).holds());
        let line = with(Goal::AtMost(299.0)).to_string();
        assert!(line.ends_with("300.0 ns  goal <= 299 ns  beside: nothing 1.00 ns, much 12346 B  FAIL"), "{line}");
        let line = Figure { remark: Some("a part".to_owned()), ..with(Goal::AtLeast(0.5)) }.to_string();
        assert!(line.ends_with("goal >= 0.5 ns  beside: nothing 1.00 ns, much 12346 B  (a part)  pass"), "{line}");
        assert_eq!(with(Goal::AtMost(300.0)).to_json()["holds"], true);
        assert_eq!(with(Goal::AtLeast(2.0)).to_json()["goal"]["at_least"], 2.0);
    }
}
