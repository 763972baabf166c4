//! Settings of the program, not of a pipeline: `medallion.toml`, then `MEDALLION_*` variables, then flags.
//!
//! None of them changes a row of any table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::maintenance::{self, Maintenance};
use super::raw::{self, Env, Reader, Report, Spot, parse_toml};
use super::{Problem, Secret, memory, secret};
use crate::error::{Error, Result};

/// The file of settings in the project's directory.
pub const FILE: &str = "medallion.toml";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What a commit on a local lake survives once it is reported as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, however it comes; a power cut may take what the system had not yet written.
    Process,
    /// A power cut: files and directories are synced before they count.
    Power,
}

impl Durability {
    /// The word for it in settings and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Power => "power",
        }
    }
}

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The project's directory: `layers/`, `schemas/`, `data/`.
    pub project: PathBuf,
    /// Where the tables are: a URL (`s3://...`, `file:///...`), or a directory, relative to the project.
    pub lake: String,
    /// Where silver's state is saved for a fast restart: a local directory, relative to the project; none: nowhere.
    pub checkpoints: Option<PathBuf>,
    /// Bronze rows after which it is saved again.
    pub checkpoint_rows: i64,
    /// What commits on a local lake survive.
    pub durability: Durability,
    /// Bytes that a run may take, state apart; see [`memory`].
    pub memory: u64,
    /// How tables are kept small.
    pub maintain: Maintenance,
    /// Where metrics are served; none: nowhere.
    pub metrics: Option<SocketAddr>,
    /// How long they are served on after a failure that a restart does not mend.
    pub linger: Duration,
    /// Where metrics are left for node-exporter: a file `*.prom`, relative to the project; none: nowhere.
    pub metrics_file: Option<PathBuf>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged, `info` or `medallion=debug,warn`.
    pub log: String,
    /// Options of the object store (`aws_region`, `aws_endpoint`, ...), added to what its own variables say.
    pub store: BTreeMap<String, Secret>,
}

/// Flags given on the command line; each wins over file and environment.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--lake`.
    pub lake: Option<String>,
    /// `--checkpoints`, a directory or `off`.
    pub checkpoints: Option<String>,
    /// `--durability`.
    pub durability: Option<String>,
    /// `--metrics`, an address or `off`.
    pub metrics: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--log`.
    pub log: Option<String>,
}

impl Settings {
    /// The settings where nothing is set.
    pub fn defaults(project: &Path) -> Self {
        Self {
            project: project.to_owned(),
            lake: "data/lake".to_owned(),
            checkpoints: Some(PathBuf::from("checkpoints")),
            checkpoint_rows: 1_000_000,
            durability: Durability::Power,
            memory: memory::DEFAULT,
            maintain: Maintenance::default(),
            metrics: Some(SocketAddr::from(([127, 0, 0, 1], 9464))),
            linger: Duration::from_secs(30),
            metrics_file: None,
            log_format: LogFormat::Text,
            log: "info".to_owned(),
            store: BTreeMap::new(),
        }
    }

    /// Puts `flags` over the settings.
    ///
    /// # Errors
    /// `Kind::Definition` where a flag's value does not parse.
    pub fn with(mut self, flags: Overrides) -> Result<Self> {
        let mut report = Report::new(Path::new("command line"));
        let values = [
            ("lake", flags.lake),
            ("checkpoints", flags.checkpoints),
            ("durability", flags.durability),
            ("metrics", flags.metrics),
            ("log_format", flags.log_format),
            ("log", flags.log),
        ];
        for (key, value) in values {
            if let Some(value) = value {
                let flag = format!("--{}", key.replace('_', "-"));
                self.set(key, &value, &Spot::new(0, flag), &mut report);
            }
        }
        checked(self, report.into_problems())
    }

    fn set(&mut self, key: &str, value: &str, at: &Spot, report: &mut Report) {
        if value.trim().is_empty() {
            report.add(at, "must not be empty", None);
            return;
        }
        match key {
            "lake" => value.trim_end_matches('/').clone_into(&mut self.lake),
            "log" => value.clone_into(&mut self.log),
            "checkpoints" if value == "off" => self.checkpoints = None,
            "checkpoints" if value.contains("://") => report.add(
                at,
                format!("{value:?} is not a local directory"),
                Some("checkpoints, or off; it is a cache, so it need not be where the lake is".to_owned()),
            ),
            "checkpoints" => self.checkpoints = Some(PathBuf::from(value)),
            "checkpoint_rows" => match value.parse() {
                Ok(rows) if rows > 0 => self.checkpoint_rows = rows,
                _ => report.add(
                    at,
                    format!("{value:?} is not a number of rows"),
                    Some("1000000".to_owned()),
                ),
            },
            "metrics" if value == "off" => self.metrics = None,
            "metrics" => match value.parse() {
                Ok(address) => self.metrics = Some(address),
                Err(_) => report.add(
                    at,
                    format!("{value:?} is not an address"),
                    Some("127.0.0.1:9464, or off".to_owned()),
                ),
            },
            "linger" => match raw::duration(value) {
                Ok(linger) => self.linger = linger,
                Err(why) => report.add(at, why, Some("30s, or 0s".to_owned())),
            },
            "metrics_file" => self.set_metrics_file(value, at, report),
            "memory" => match raw::bytes(value) {
                Ok(bytes) if bytes >= memory::LEAST => self.memory = bytes,
                Ok(_) => report.add(
                    at,
                    format!("{value:?} is too little"),
                    Some("512MiB, or 64MiB at least".to_owned()),
                ),
                Err(why) => report.add(at, format!("{value:?} is not a size: {why}"), Some("512MiB".to_owned())),
            },
            "durability" => match value {
                "process" => self.durability = Durability::Process,
                "power" => self.durability = Durability::Power,
                _ => report.add(
                    at,
                    format!("{value:?} is not a durability"),
                    Some("process or power".to_owned()),
                ),
            },
            "log_format" => match value {
                "text" => self.log_format = LogFormat::Text,
                "json" => self.log_format = LogFormat::Json,
                _ => report.add(
                    at,
                    format!("{value:?} is not a log format"),
                    Some("text or json".to_owned()),
                ),
            },
            _ => report.add(at, "is no setting", None),
        }
    }

    fn set_metrics_file(&mut self, value: &str, at: &Spot, report: &mut Report) {
        if value == "off" {
            self.metrics_file = None;
        } else if value.ends_with(".prom") && !value.contains("://") {
            self.metrics_file = Some(PathBuf::from(value));
        } else {
            let wanted = "a local file whose name ends in .prom, or off".to_owned();
            report.add(
                at,
                format!("{value:?} is not a file that node-exporter reads"),
                Some(wanted),
            );
        }
    }
}

const KEYS: [&str; 10] = [
    "lake",
    "checkpoints",
    CHECKPOINT_ROWS,
    "durability",
    "memory",
    "metrics",
    "linger",
    "metrics_file",
    "log_format",
    "log",
];
/// The one that is a number in the file.
const CHECKPOINT_ROWS: &str = "checkpoint_rows";

/// The settings of `medallion.toml`, where there is one, with `MEDALLION_*` over them.
///
/// # Errors
/// `Kind::Definition` with all problems of both.
pub fn load_settings(project: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Settings> {
    let mut settings = Settings::defaults(project);
    let here = project.as_os_str().is_empty() || project == Path::new(".");
    let file = if here { PathBuf::from(FILE) } else { project.join(FILE) };
    let mut problems = Vec::new();
    if file.exists() {
        let mut report = Report::new(&file);
        from_file(&mut settings, project, env, &mut report);
        problems.append(&mut report.into_problems());
    }
    let mut report = Report::new(Path::new("environment"));
    for key in KEYS {
        let variable = format!("MEDALLION_{}", key.to_uppercase());
        if let Some(value) = env(&variable) {
            settings.set(key, &value, &Spot::new(0, variable.as_str()), &mut report);
        }
    }
    for key in maintenance::KEYS {
        let variable = format!("MEDALLION_{}_{}", maintenance::TABLE, key).to_uppercase();
        if let Some(value) = env(&variable) {
            let at = Spot::new(0, variable.as_str());
            settings.maintain.set(key, &value, &at, &mut report);
        }
    }
    problems.append(&mut report.into_problems());
    checked(settings, problems)
}

fn from_file(settings: &mut Settings, project: &Path, env: Env<'_>, report: &mut Report) {
    let Some(text) = report.read() else { return };
    let Some(root) = parse_toml(&text, env, report) else {
        return;
    };
    let Some(mut reader) = Reader::new(&root, "", report) else {
        return;
    };
    for key in KEYS.into_iter().filter(|key| *key != CHECKPOINT_ROWS) {
        if let Some(value) = reader.text(key, report) {
            settings.set(key, &value.value, &value.at, report);
        }
    }
    if let Some(rows) = reader.integer(CHECKPOINT_ROWS, report) {
        settings.set(CHECKPOINT_ROWS, &rows.value.to_string(), &rows.at, report);
    }
    if let Some(mut maintain) = reader.table(maintenance::TABLE, report) {
        settings.maintain.read(&mut maintain, report);
        maintain.finish(report);
    }
    if let Some(store) = reader.table("store", report) {
        let options = secret::options(&store, project, env, report);
        settings.store = options
            .into_iter()
            .map(|(name, written)| (name, written.value))
            .collect();
    }
    reader.finish(report);
}

fn checked(settings: Settings, problems: Vec<Problem>) -> Result<Settings> {
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(Error::definition(problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        folder
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let folder = project("lake = \"s3://file/lake/\"\nlog = \"warn\"\nlog_format = \"json\"\nmetrics = \"off\"\n");
        let env = |name: &str| match name {
            "MEDALLION_DURABILITY" => Some("process".to_owned()),
            "MEDALLION_LOG" => Some("debug".to_owned()),
            "MEDALLION_METRICS" => Some("127.0.0.1:1".to_owned()),
            _ => None,
        };
        let settings = load_settings(folder.path(), &env).unwrap();
        assert_eq!(
            (settings.lake.as_str(), settings.log.as_str()),
            ("s3://file/lake", "debug")
        );
        assert_eq!(settings.log_format, LogFormat::Json);
        assert_eq!(settings.durability, Durability::Process);
        let flags = Overrides {
            metrics: Some("off".to_owned()),
            lake: Some("here".to_owned()),
            durability: Some("power".to_owned()),
            ..Overrides::default()
        };
        let settings = settings.with(flags).unwrap();
        assert_eq!((settings.lake.as_str(), settings.metrics), ("here", None));
        assert_eq!(settings.durability, Durability::Power);
    }

    #[test]
    fn checkpoints_are_a_directory_or_off_and_their_rows_a_number() {
        let folder = project("checkpoints = \"/var/cache/m\"\ncheckpoint_rows = 5_000\n");
        let settings = load_settings(folder.path(), &|_| None).unwrap();
        assert_eq!(settings.checkpoints.as_deref(), Some(Path::new("/var/cache/m")));
        assert_eq!(settings.checkpoint_rows, 5000);
        let flags = Overrides {
            checkpoints: Some("off".to_owned()),
            ..Overrides::default()
        };
        assert_eq!(settings.with(flags).unwrap().checkpoints, None);
        let folder = project("checkpoints = \"s3://bucket/c\"\ncheckpoint_rows = \"many\"\n");
        let env = |name: &str| (name == "MEDALLION_CHECKPOINT_ROWS").then(|| "0".to_owned());
        let error = load_settings(folder.path(), &env).unwrap_err();
        let told: Vec<_> = error.problems().iter().map(|it| (it.line, it.key.as_str())).collect();
        let expected = [
            (1, "checkpoints"),
            (2, "checkpoint_rows"),
            (0, "MEDALLION_CHECKPOINT_ROWS"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn lingering_is_a_duration_and_may_be_none() {
        let folder = project("linger = \"0s\"\n");
        assert_eq!(load_settings(folder.path(), &|_| None).unwrap().linger, Duration::ZERO);
        let env = |name: &str| (name == "MEDALLION_LINGER").then(|| "a while".to_owned());
        let error = load_settings(folder.path(), &env).unwrap_err();
        assert_eq!(error.problems().first().unwrap().key, "MEDALLION_LINGER");
    }

    #[test]
    fn memory_is_a_size_that_steps_fit_into() {
        let folder = project("memory = \"1GiB\"\n");
        assert_eq!(load_settings(folder.path(), &|_| None).unwrap().memory, 1 << 30);
        for wrong in ["63MiB", "much", "-1"] {
            let env = |name: &str| (name == "MEDALLION_MEMORY").then(|| wrong.to_owned());
            let error = load_settings(folder.path(), &env).unwrap_err();
            assert_eq!(error.problems().first().unwrap().key, "MEDALLION_MEMORY", "{wrong}");
        }
    }

    #[test]
    fn maintenance_is_a_table_of_its_own_with_variables_over_it() {
        let folder = project("[maintain]\nevery = \"6h\"\ntarget_size = \"64MiB\"\nkeep_log = \"2d\"\n");
        let env = |name: &str| (name == "MEDALLION_MAINTAIN_EVERY").then(|| "off".to_owned());
        let maintain = load_settings(folder.path(), &env).unwrap().maintain;
        assert_eq!((maintain.every, maintain.target_size), (None, 64 << 20));
        assert_eq!(maintain.keep_log.as_secs(), 2 * 86_400);
        let folder = project("[maintain]\nevery = \"0s\"\ntarget_size = \"1kB\"\nkeep_removed = \"1m\"\nkeeps = 1\n");
        let error = load_settings(folder.path(), &|_| None).unwrap_err();
        let told: Vec<_> = error.problems().iter().map(|it| (it.line, it.key.as_str())).collect();
        let expected = [
            (2, "maintain.every"),
            (3, "maintain.target_size"),
            (4, "maintain.keep_removed"),
            (5, "maintain.keeps"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_metrics_file_is_one_that_node_exporter_reads() {
        let folder = project("metrics_file = \"/var/lib/node/medallion.prom\"\n");
        let set = |value: &'static str| {
            let env = move |name: &str| (name == "MEDALLION_METRICS_FILE").then(|| value.to_owned());
            load_settings(folder.path(), &env)
        };
        let file = load_settings(folder.path(), &|_| None).unwrap().metrics_file;
        assert_eq!(file.as_deref(), Some(Path::new("/var/lib/node/medallion.prom")));
        assert_eq!(set("off").unwrap().metrics_file, None);
        for wrong in ["metrics.txt", "s3://bucket/a.prom", "on"] {
            let error = set(wrong).unwrap_err();
            assert_eq!(
                error.problems().first().unwrap().key,
                "MEDALLION_METRICS_FILE",
                "{wrong}"
            );
        }
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let folder = tempfile::tempdir().unwrap();
        let settings = load_settings(folder.path(), &|_| None).unwrap();
        assert_eq!(settings.lake, "data/lake");
        assert_eq!(settings.metrics.unwrap().to_string(), "127.0.0.1:9464");
    }

    #[test]
    fn the_shipped_file_shows_the_defaults() {
        let shipped = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)).unwrap();
        let keys = || KEYS.into_iter().chain(maintenance::KEYS);
        let setting =
            |line: &&str| *line == "# [maintain]" || keys().any(|key| line.starts_with(&format!("# {key} = ")));
        let shown: Vec<&str> = shipped
            .lines()
            .filter(setting)
            .map(|line| line.trim_start_matches("# "))
            .collect();
        assert_eq!(shown.len(), keys().count() + 1);
        let folder = project(&shown.join("\n"));
        let shown = load_settings(folder.path(), &|_| None).unwrap();
        assert_eq!(format!("{shown:?}"), format!("{:?}", Settings::defaults(folder.path())));
    }

    #[test]
    fn problems_of_file_and_environment_come_together() {
        let folder = project("lakes = \"x\"\nmetrics = \"nowhere\"\n[store]\naws_secret_access_key = \"abc\"\n");
        let env = |name: &str| match name {
            "MEDALLION_LOG_FORMAT" => Some("xml".to_owned()),
            "MEDALLION_DURABILITY" => Some("forever".to_owned()),
            _ => None,
        };
        let error = load_settings(folder.path(), &env).unwrap_err();
        let told: Vec<_> = error.problems().iter().map(|it| (it.line, it.key.as_str())).collect();
        let expected = [
            (1, "lakes"),
            (2, "metrics"),
            (4, "store.aws_secret_access_key"),
            (0, "MEDALLION_DURABILITY"),
            (0, "MEDALLION_LOG_FORMAT"),
        ];
        assert_eq!(told, expected);
        assert!(!error.to_string().contains("abc"), "{error}");
    }
}
