//! The valid form of a declared pipeline: what the other rooms work from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One declared pipeline, every name resolved.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its directory name under `layers/`: `[a-z][a-z0-9_]{0,62}`, a path segment of the lake.
    pub name: String,
    /// Where records come from and when bronze commits.
    pub bronze: Bronze,
    /// How a record becomes a row.
    pub silver: Silver,
    /// The aggregates, at least one, in declared order.
    pub gold: Vec<Gold>,
}

/// The bronze layer of a pipeline.
#[derive(Debug, Clone)]
pub struct Bronze {
    /// Where records come from.
    pub source: SourceKind,
    /// When a commit is due.
    pub commit: CommitPolicy,
    /// How long rows stay, by when they were taken in; none: forever.
    pub keep: Option<Duration>,
}

/// Where a pipeline's records come from.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// A Kafka topic.
    Kafka(KafkaSource),
    /// NDJSON files, plain, `.gz` or `.zst`.
    Files(FileSource),
}

/// A Kafka topic and how to reach it.
#[derive(Debug, Clone)]
pub struct KafkaSource {
    /// Bootstrap servers, `host:port,host:port`.
    pub brokers: String,
    /// The topic's name, `[A-Za-z0-9._-]{1,249}`.
    pub topic: String,
    /// A partition is idle when it is caught up and nothing came for this long.
    pub idle_after: Duration,
    /// The topic is quiet after this long without any record; none: it never is.
    pub quiet_after: Option<Duration>,
    /// The client is made anew when the broker has had more of a partition for this long and none of it came.
    pub stalled_after: Duration,
    /// librdkafka options passed through (`security.protocol`, `ssl.ca.location`, `sasl.password`, ...).
    pub options: BTreeMap<String, Secret>,
}

/// Files of one JSON value per line.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// Paths or glob patterns (`*` and `?` in the last segment), taken in sorted order.
    pub paths: Vec<String>,
}

/// A value that never shows itself in logs, errors or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A commit is due when the first of these is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitPolicy {
    /// Records in the step.
    pub max_rows: usize,
    /// Payload bytes in the step.
    pub max_bytes: usize,
    /// Time since the first record of the step.
    pub max_delay: Duration,
}

/// The silver layer of a pipeline.
#[derive(Debug, Clone)]
pub struct Silver {
    /// The typed columns every valid event has.
    pub contract: Contract,
    /// The timestamp column that is the event's time; required and not null.
    pub event_time: String,
    /// Events further ahead of their Kafka timestamp than this are rejected.
    pub max_ahead: Option<Duration>,
    /// Columns computed from the event and earlier columns, in declared order.
    pub derive: Vec<Derive>,
    /// Reference data joined by equality, in declared order.
    pub lookups: Vec<Lookup>,
    /// Rules over the row, in declared order.
    pub expects: Vec<Expect>,
    /// How duplicates are recognised; none: every accepted row stays.
    pub dedupe: Option<Dedupe>,
    /// Partition columns of the silver table; `event_date` is always available.
    pub partition_by: Vec<String>,
    /// Hash of the meaning of this definition, schema included, reference data excluded (hex).
    pub fingerprint: String,
    /// When a commit is due: most bronze rows of one step.
    pub commit: CommitPolicy,
    /// How far behind the watermark rows stay, in event time; none: forever. At least as long as keys are remembered.
    pub keep: Option<Duration>,
}

/// The event contract: the JSON object's members as typed columns.
#[derive(Debug, Clone)]
pub struct Contract {
    /// What an event is, for the table's comment.
    pub description: String,
    /// Columns in declared order.
    pub fields: Vec<Field>,
    /// Whether members the contract does not name are an error (`additionalProperties: false`) or ignored.
    pub closed: bool,
}

/// One member of the event.
#[derive(Debug, Clone)]
pub struct Field {
    /// Member name and column name.
    pub name: String,
    /// Column type.
    pub kind: FieldKind,
    /// Whether the member must be there.
    pub required: bool,
    /// Whether `null` is a value of it; an absent optional member is null too.
    pub nullable: bool,
    /// The column's comment.
    pub description: String,
    /// Constraints on a value that is there, all of which must hold.
    pub checks: Vec<Check>,
}

/// The types an event's member can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// `"type": "string"`.
    String,
    /// `"type": "boolean"`.
    Boolean,
    /// `"type": "integer", "format": "int32"`.
    Int32,
    /// `"type": "integer"`, or with `"format": "int64"`.
    Int64,
    /// `"type": "number"`.
    Float64,
    /// `"type": "string", "format": "date-time"`: an instant in UTC microseconds; RFC 3339, or the same without
    /// zone meaning UTC, with `T` or a space between date and time.
    Timestamp,
    /// `"type": "string", "format": "date"`.
    Date,
}

/// A constraint of the contract on one value.
#[derive(Debug, Clone)]
pub enum Check {
    /// `minimum` on an integer.
    MinInt(i64),
    /// `maximum` on an integer.
    MaxInt(i64),
    /// `minimum` on a number, `true` where exclusive.
    MinFloat(f64, bool),
    /// `maximum` on a number, `true` where exclusive.
    MaxFloat(f64, bool),
    /// `minLength`, in Unicode scalar values.
    MinLength(usize),
    /// `maxLength`, in Unicode scalar values.
    MaxLength(usize),
    /// `pattern`: the expression must match somewhere in the string.
    Pattern(regex::Regex),
    /// `enum` or `const` of strings.
    OneOf(Vec<String>),
    /// `enum` or `const` of integers.
    OneOfInt(Vec<i64>),
}

/// A computed column.
#[derive(Debug, Clone)]
pub struct Derive {
    /// Column name.
    pub name: String,
    /// SQL expression over the contract's columns, looked-up columns and earlier derived ones.
    pub sql: String,
    /// The column's comment.
    pub description: String,
}

/// Reference data joined to the row by equality of key columns.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The CSV file, relative to the project directory.
    pub file: PathBuf,
    /// Columns of the row and of the file that must be equal.
    pub on: Vec<String>,
    /// Columns of the file that come into the row, with their types.
    pub take: Vec<(String, FieldKind)>,
    /// What happens to a row without a match.
    pub on_missing: OnMissing,
}

/// What happens to a row without a match in the reference data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// The row is rejected with reason `lookup`.
    Reject,
    /// The taken columns are null.
    Null,
}

/// A rule over the row; it passes only when its value is true.
#[derive(Debug, Clone)]
pub struct Expect {
    /// The rule's name, unique in the pipeline.
    pub name: String,
    /// SQL boolean over the columns of the row.
    pub sql: String,
    /// What happens to a row that does not pass.
    pub on_fail: OnFail,
}

/// What happens to a row that does not pass a rule. The strongest wins: halt, reject, drop, warn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnFail {
    /// It is counted and passes.
    Warn,
    /// It goes to `rejects` with reason `dropped`, without its value.
    Drop,
    /// It goes to `rejects` with reason `expectation`.
    Reject,
    /// The layer stops before it.
    Halt,
}

/// How duplicates are recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedupe {
    /// Columns that identify an event.
    pub key: Vec<String>,
    /// How long a key is remembered in event time; none: forever.
    pub within: Option<Duration>,
}

/// One gold table: aggregates of event-time windows.
#[derive(Debug, Clone)]
pub struct Gold {
    /// Table name, a path segment.
    pub name: String,
    /// What a row of it is, for the table's comment.
    pub description: String,
    /// The windows.
    pub window: Window,
    /// How long after its end a window stays open, in event time.
    pub watermark: Duration,
    /// Silver columns that split a window into groups, in declared order.
    pub group_by: Vec<String>,
    /// Output columns computed by aggregate expressions, in declared order.
    pub columns: Vec<Aggregate>,
    /// Partition columns of the gold table.
    pub partition_by: Vec<String>,
    /// The output columns in the table's order: group columns, window start, window date, aggregates, rearranged
    /// by `column_order` where it is declared.
    pub column_order: Vec<String>,
    /// How long windows stay behind the last that closed, with their late rows; none: forever.
    pub keep: Option<Duration>,
    /// Hash of the meaning of this definition and of the silver columns it reads (hex).
    pub fingerprint: String,
}

/// The windows of a gold table: `[start, start + length)`, starts at multiples of the length since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Window length; a whole number of microseconds.
    pub length: Duration,
    /// Output column with the window's start.
    pub start: String,
    /// Output column with the UTC date of the window's start, where declared.
    pub date: Option<String>,
}

/// One aggregate output column.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// Output column name.
    pub name: String,
    /// SQL aggregate expression over the silver columns.
    pub sql: String,
    /// The column's comment.
    pub description: String,
}
