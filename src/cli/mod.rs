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
mod signals;
mod status;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::error::{Error, Kind, Result};
use args::{Args, Command};
use session::Session;

/// Parses the command line, runs the command, reports its error. The process' whole life.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match dispatch(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that went away (`| head`) is no failure of ours.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(args: Args) -> Result<()> {
    if let Command::Completions { shell } = args.command {
        // Into memory first: the generator panics where stdout's reader went away.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "medallion", &mut script);
        return output::line(String::from_utf8_lossy(&script).trim_end());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Unavailable, format!("starting the I/O threads: {error}")))?;
    let session = Session::open(&args.global, runtime.handle().clone())?;
    let done = match args.command {
        Command::Run(command) => run::run(&session, &command),
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
    // Requests still on the wire need no waiting for: whatever counts was awaited.
    runtime.shutdown_background();
    done
}
