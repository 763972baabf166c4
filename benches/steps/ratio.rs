//! Two ways of doing one thing, in turns: on a noisy machine only the ratio of neighbours says something.

use std::fmt;
use std::time::Duration;

use cpu_time::ProcessTime;

/// How many times as long the first takes as the second.
pub struct Ratio {
    /// Of each pair of rounds, ascending.
    pairs: Vec<f64>,
    /// The median time of the first and of the second.
    pub medians: [Duration; 2],
}

impl Ratio {
    /// Of times measured in turns.
    pub fn of(first: &[Duration], second: &[Duration]) -> Self {
        let pairs = first.iter().zip(second);
        let mut pairs: Vec<f64> = pairs
            .map(|(one, other)| one.as_secs_f64() / other.as_secs_f64())
            .collect();
        pairs.sort_by(f64::total_cmp);
        Self {
            pairs,
            medians: [median(first), median(second)],
        }
    }

    /// Of the CPU time of both, run in the order ABBA.
    pub fn of_cpu(rounds: usize, mut first: impl FnMut(), mut second: impl FnMut()) -> Self {
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            if round % 2 == 0 {
                ones.push(cpu(&mut first));
                others.push(cpu(&mut second));
            } else {
                others.push(cpu(&mut second));
                ones.push(cpu(&mut first));
            }
        }
        Self::of(&ones, &others)
    }

    /// The median ratio.
    pub fn median(&self) -> f64 {
        self.pairs[self.pairs.len() / 2]
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.pairs[0], self.pairs[self.pairs.len() - 1]);
        write!(f, "{:.2} ({least:.2} to {most:.2})", self.median())
    }
}

fn cpu(work: &mut impl FnMut()) -> Duration {
    let began = ProcessTime::now();
    work();
    began.elapsed()
}

/// The middle one of `times`.
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}
