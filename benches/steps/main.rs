//! What each step costs per event, on events of the project's own generator: `cargo bench`.
//!
//! Steps that only compute are measured in CPU time of the process, all threads together, because that is what an
//! event costs and a busy machine does not change it; whatever waits for a disk or a broker also by the clock on the
//! wall. Every measurement checks what was done: a step that does something else is no faster step.
//!
//! `cargo bench -- ratios` compares decoders in turns; `cargo bench -- growth` shows what commits cost on tables with
//! a long history.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark: a failure is its end"
)]

mod bronze;
mod commit;
mod consume;
mod cpu;
mod decode;
mod dedupe;
mod events;
mod expect;
mod growth;
mod lake;
mod lookup;
mod ratio;
mod silver;
mod window;

use criterion::Criterion;

use cpu::ProcessCpu;

fn main() {
    let asked = |mode: &str| std::env::args().any(|argument| argument == mode);
    if asked("growth") {
        return growth::run();
    }
    if asked("ratios") {
        return decode::ratios();
    }
    let mut computing = Criterion::default()
        .with_measurement(ProcessCpu)
        .sample_size(10)
        .configure_from_args();
    decode::bench(&mut computing);
    lookup::bench(&mut computing);
    expect::bench(&mut computing);
    dedupe::bench(&mut computing);
    silver::bench(&mut computing);
    bronze::bench(&mut computing);
    window::bench(&mut computing);
    let mut waiting = Criterion::default().sample_size(10).configure_from_args();
    consume::bench(&mut waiting);
    bronze::bench_wall(&mut waiting);
    commit::bench(&mut waiting);
    waiting.final_summary();
}
