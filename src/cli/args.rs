//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "medallion",
    version,
    about = "From a Kafka topic of JSON events to bronze, silver and gold Delta tables, each row exactly once",
    after_help = "Examples:\n  \
        medallion demo                              the whole pipeline on an embedded broker, in a minute\n  \
        medallion check                             are the definitions right?\n  \
        medallion run -p view_log                   run the three layers of one pipeline\n  \
        medallion run gold --once                   one layer, up to what is there now, then exit\n  \
        medallion status                            where each layer stands\n  \
        medallion audit -p view_log                 prove that no row is lost, doubled or misplaced\n\n\
        Exit codes: 0 ok, 1 runtime error, 2 usage, 3 the audit failed, 4 invalid definitions,\n  \
        130 or 143 a signal ended it before it was done"
)]
pub struct Args {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Directory with layers/, schemas/, data/ and medallion.toml
    #[arg(
        long,
        global = true,
        default_value = ".",
        env = "MEDALLION_PROJECT",
        value_name = "DIR"
    )]
    pub project: PathBuf,
    /// The lake: a directory, file:// or s3:// URL [default: data/lake]
    #[arg(long, global = true, value_name = "URL")]
    pub lake: Option<String>,
    /// Where silver's state is saved for a fast restart: a local directory, or `off` [default: checkpoints]
    #[arg(long, global = true, value_name = "DIR")]
    pub checkpoints: Option<String>,
    /// What a commit survives once it is done: `process`, a killed process; `power`, a power cut too, by syncing to
    /// disk. For lakes on local disk: an object store answers for its own [default: power]
    #[arg(long, global = true, value_name = "WHAT")]
    pub durability: Option<String>,
    /// Where the status page, /metrics, /healthz and /readyz are served while running, or `off` [default: 127.0.0.1:9464]
    #[arg(long, global = true, value_name = "ADDR")]
    pub metrics: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// How log lines look on stderr: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// What is logged, for example `debug` or `medallion=debug,warn` [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs: one JSON value
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the layers: all of them, or one
    #[command(
        after_help = "Examples:\n  medallion run\n  medallion run silver -p view_log --metrics 127.0.0.1:9465   one layer; each process has its own port\n  \
        medallion run --once --close-windows   for batch input and tests: everything that is there, then end"
    )]
    Run(Run),
    /// Rebuild a layer's history, and what is computed from it, after its definition changed
    #[command(
        after_help = "Examples:\n  medallion replay silver -p view_log   silver and rejects from bronze, then gold\n  \
        medallion replay gold                 gold from silver\n\n\
        Readers see the old tables until one commit swaps each of them."
    )]
    Replay(Replay),
    /// Show where each layer stands and what it costs: position, lag, watermark, size, CPU time per row
    Status(Status),
    /// Prove the tables: recompute everything from bronze and compare; exit code 3 if a row differs
    Audit(Audit),
    /// Check all definitions and say everything that is wrong with them
    Check,
    /// Ask the tables in SQL, read-only
    #[command(after_help = "Example:\n  medallion query \
        \"select * from view_log.views_per_minute order by minute_timestamp desc limit 5\"\n\n\
        Tables: PIPELINE.bronze, PIPELINE.silver, PIPELINE.rejects, PIPELINE.GOLD_TABLE, PIPELINE.late_GOLD_TABLE,\n\
        PIPELINE.events\n\n\
        A query reads these tables and nothing else, and writes nothing, not even to a temporary file. It ends after\n\
        --timeout seconds, when its sorts, joins and aggregates need more than --memory-mib, or when the process holds\n\
        twice that.")]
    Query(Query),
    /// Write records into a Kafka topic: generated view events, or the lines of a file
    #[command(after_help = "Examples:\n  \
        medallion produce --topic view_log --count 1000000 --partitions 6\n  \
        medallion produce --topic web_requests --file requests.ndjson.gz --key request_id --partitions 4")]
    Produce(Box<Produce>),
    /// Run the whole pipeline on an embedded broker with generated events
    Demo(Demo),
    /// Accept that records are lost upstream, record that in bronze, and let `run` go on
    AcceptGap(AcceptGap),
    /// Keep the tables small: log checkpoint, log cleanup, compaction, vacuum
    Maintain(Maintain),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// A layer, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayerName {
    /// Records as they came
    Bronze,
    /// Valid, deduplicated, enriched events
    Silver,
    /// Per-window aggregates
    Gold,
}

/// `run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Only this layer
    pub layer: Option<LayerName>,
    /// Only this pipeline
    #[arg(short, long)]
    pub pipeline: Option<String>,
    /// Up to what is there now, then exit with a one-line JSON summary
    #[arg(long)]
    pub once: bool,
    /// The input has ended: close every window (later events of closed windows are late)
    #[arg(long, requires = "once")]
    pub close_windows: bool,
    /// Apply a changed definition to new rows and leave the rows that are there as they are
    #[arg(long)]
    pub apply_from_here: bool,
}

/// `replay`.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// silver (and gold after it), or gold
    #[arg(value_parser = ["silver", "gold"])]
    pub layer: String,
    /// Only this pipeline
    #[arg(short, long)]
    pub pipeline: Option<String>,
    /// Say what would be rebuilt and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Where rows upstream were let go (`keep`): rebuild from what is still there, and lose what came from the others
    #[arg(long)]
    pub kept_only: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `status`.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Only this pipeline
    #[arg(short, long)]
    pub pipeline: Option<String>,
    /// Ask the sources, too: what bronze has yet to read, and what is lost. Exit code 1 where anything is
    #[arg(long)]
    pub source: bool,
    /// Show it again every two seconds
    #[arg(long)]
    pub watch: bool,
}

/// `audit`.
#[derive(Debug, clap::Args)]
pub struct Audit {
    /// Only this pipeline
    #[arg(short, long)]
    pub pipeline: Option<String>,
}

/// `query`.
#[derive(Debug, clap::Args)]
pub struct Query {
    /// One SELECT
    pub sql: String,
    /// Print at most this many rows
    #[arg(long, default_value_t = 1000)]
    pub limit: usize,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Memory that the query may work with, in MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB", value_parser = clap::value_parser!(u64).range(64..))]
    pub memory_mib: u64,
}

/// `produce`.
#[derive(Debug, clap::Args)]
pub struct Produce {
    /// The topic; made if it is not there
    #[arg(long)]
    pub topic: String,
    /// Bootstrap servers
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092")]
    pub brokers: String,
    /// Partitions of a topic that is made; it keeps records forever (retention.ms=-1), because events may be old
    #[arg(long, default_value_t = 6)]
    pub partitions: i32,
    /// librdkafka options, NAME=VALUE; repeat; secrets as NAME=env:VARIABLE or NAME=file:PATH
    #[arg(short = 'X', value_name = "NAME=VALUE")]
    pub option: Vec<String>,
    /// Send the lines of this NDJSON file (.gz and .zst too) instead of generated events
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// With --file: the JSON field that is the record's key; without, records have none
    #[arg(long, requires = "file", value_name = "FIELD")]
    pub key: Option<String>,
    /// With --file: the JSON field with the record's timestamp (RFC 3339); without, now
    #[arg(long, requires = "file", value_name = "FIELD")]
    pub timestamp: Option<String>,
    /// Number of events
    #[arg(long, default_value_t = 100_000)]
    pub count: u64,
    /// Index of the first event: the same seed and index is the same event
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// Seed of the generator
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Events sent per second; 0: as fast as possible
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// Events per second of event time
    #[arg(long, default_value_t = 1000)]
    pub event_rate: u64,
    /// Event time of event 0, RFC 3339; `now` for the present [default: 2024-01-01T00:00:00Z]
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// Share of duplicates
    #[arg(long, default_value_t = 0.05)]
    pub duplicates: f64,
    /// Share of late events
    #[arg(long, default_value_t = 0.01)]
    pub late: f64,
    /// Share of events out of order
    #[arg(long, default_value_t = 0.10)]
    pub out_of_order: f64,
    /// Share of invalid events
    #[arg(long, default_value_t = 0.01)]
    pub invalid: f64,
    /// What is wrong with invalid events, as in `malformed,far_ahead` [default: everything there is]
    #[arg(long, value_name = "FLAWS", value_delimiter = ',')]
    pub flaws: Vec<String>,
}

/// `demo`.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Events of this run
    #[arg(long, default_value_t = 250_000)]
    pub events: u64,
}

/// `accept-gap`.
#[derive(Debug, clap::Args)]
pub struct AcceptGap {
    /// The pipeline
    #[arg(short, long)]
    pub pipeline: String,
    /// Record the loss; without, only show what is missing
    #[arg(short, long)]
    pub yes: bool,
}

/// `maintain`.
#[derive(Debug, clap::Args)]
pub struct Maintain {
    /// Only this pipeline
    #[arg(short, long)]
    pub pipeline: Option<String>,
    /// Size of compacted files in MiB, instead of the setting maintain.target_size
    #[arg(long)]
    pub target_mib: Option<u64>,
    /// Days that log entries are kept, instead of the setting maintain.keep_log
    #[arg(long)]
    pub log_days: Option<u64>,
    /// Hours that removed data files are kept, at least 1, instead of the setting maintain.keep_removed
    #[arg(long)]
    pub vacuum_hours: Option<u64>,
}
