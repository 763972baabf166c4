//! The command line: what is typed becomes settings and definitions, then one function of another room.
//!
//! Data goes to stdout, logs and progress to stderr. The exit code is the error's kind.

mod args;
mod audit;
mod check;
mod demo;
mod gap;
mod maintain;
mod output;
mod produce;
mod progress;
mod query;
mod replay;
mod run;
mod session;
mod show;
mod signals;
mod status;

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use clap::{CommandFactory, Parser};
use tokio::runtime::Runtime;

use crate::error::{Error, Kind, Result};
use args::{Args, Command};
use session::Session;

/// Threads for blocking work that are kept: every layer needs one that may wait for another.
const BLOCKING_THREADS: usize = 16;
/// How long they may take to start.
const THREAD_STARTS: Duration = Duration::from_secs(10);

/// Parses the command line, runs the command, reports its error. The process' whole life.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match dispatch(args) {
        Ok(code) => code,
        Err(error) => {
            // A reader that went away (`| head`) is no failure of ours.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// The I/O threads, with those for blocking work that never end: where the system later refuses new threads, tokio queues
/// such work for the threads there are, and would wait for ever where these are none or all wait for work of their own.
fn start_runtime() -> Result<Runtime> {
    let failed = |why: String| {
        Error::new(Kind::Unavailable, format!("starting the I/O threads: {why}"))
            .with_next("raise the limits on memory and threads of this process")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(Duration::from_secs(u64::from(u32::MAX)))
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    // All of them are there when each has met the others.
    let met = Arc::new(Barrier::new(BLOCKING_THREADS));
    let start = || {
        let met = met.clone();
        runtime.spawn_blocking(move || {
            met.wait();
        })
    };
    // Tokio panics where it gets not even one.
    let threads = std::panic::catch_unwind(AssertUnwindSafe(|| {
        (0..BLOCKING_THREADS).map(|_| start()).collect::<Vec<_>>()
    }));
    let Ok(threads) = threads else {
        runtime.shutdown_background();
        return Err(failed("the system gives no threads".to_owned()));
    };
    let all = futures::future::try_join_all(threads);
    let started = runtime.block_on(async { tokio::time::timeout(THREAD_STARTS, all).await });
    match started {
        Ok(Ok(_)) => Ok(runtime),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => {
            // Those that are there wait for those that never come, so the runtime is not waited for.
            runtime.shutdown_background();
            Err(failed("the system gives no more threads".to_owned()))
        }
    }
}

fn dispatch(args: Args) -> Result<ExitCode> {
    if let Command::Completions { shell } = args.command {
        // Into memory first: the generator panics where stdout's reader went away.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "medallion", &mut script);
        output::line(String::from_utf8_lossy(&script).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = start_runtime()?;
    let session = Session::open(&args.global, runtime.handle().clone())?;
    let mut code = ExitCode::SUCCESS;
    let done = match args.command {
        Command::Run(command) => run::run(&session, &command).map(|ended| code = ended),
        Command::Replay(command) => replay::replay(&session, &command),
        Command::Status(command) => status::status(&session, &command),
        Command::Audit(command) => audit::audit(&session, &command),
        Command::Check => check::check(&session),
        Command::Query(command) => query::query(&session, &command),
        Command::Produce(command) => produce::produce(&session, &command),
        Command::Demo(command) => demo::demo(&session, &command),
        Command::AcceptGap(command) => gap::accept_gap(&session, &command),
        Command::Maintain(command) => maintain::maintain(&session, &command),
        Command::Completions { .. } => Ok(()),
    };
    #[cfg(feature = "otel")]
    crate::otel::end();
    // Whatever counts was awaited, and the rest ends with the process. Shutting the runtime down would drop tasks under
    // a query that was given up, whose reader panics where an answer never comes.
    std::mem::forget(runtime);
    done.map(|()| code)
}
