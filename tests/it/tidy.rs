//! The style of the house as a test: its walls, its sizes, its words. A failure names every file and line at once.

use std::fs;
use std::path::Path;

use regex::Regex;

/// Lines of a file.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function, from its name to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Functions that are longer, with the reason. The list only gets shorter.
const LONG_FUNCTIONS: [(&str, &str); 6] = [
    // One comparison from top to bottom, a few lines over.
    ("src/audit/gold.rs", "audit"),
    ("src/audit/silver.rs", "audit"),
    // Tables of broken declarations: rows, not steps.
    (
        "src/definition/contract/tests.rs",
        "what_the_subset_lacks_is_named_with_its_line",
    ),
    ("src/definition/tests/broken_layers.rs", "problems_of_bronze_are_found"),
    ("src/definition/tests/broken_layers.rs", "problems_of_silver_are_found"),
    ("src/definition/tests/broken_layers.rs", "problems_of_gold_are_found"),
];

/// The rooms and those that each may look into, the design's section 8.
const WALLS: [(&str, &[&str]); 14] = [
    (
        "cli",
        &[
            "run",
            "serve",
            "audit",
            "source",
            "table",
            "checkpoint",
            "definition",
            "clock",
            "metrics",
            "otel",
            "error",
        ],
    ),
    (
        "run",
        &[
            "source",
            "layer",
            "table",
            "checkpoint",
            "definition",
            "clock",
            "metrics",
            "otel",
            "error",
            "failpoint",
        ],
    ),
    (
        "audit",
        &["run", "layer", "table", "definition", "clock", "metrics", "error"],
    ),
    ("serve", &["run", "table", "definition", "clock", "metrics", "error"]),
    ("source", BASE),
    ("layer", BASE),
    ("table", BASE),
    ("checkpoint", BASE),
    ("definition", &["error"]),
    ("metrics", &["error"]),
    ("otel", &["metrics", "clock", "error"]),
    ("clock", &[]),
    ("error", &[]),
    ("failpoint", &[]),
];
const BASE: &[&str] = &["definition", "clock", "metrics", "error", "failpoint"];

/// Single things that a room may take through a wall: plain values, no behaviour.
const DOORS: [(&str, &str, &[&str]); 3] = [
    ("layer", "source", RECORD),
    ("audit", "source", RECORD),
    ("error", "definition", &["Problem"]),
];
const RECORD: &[&str] = &["PartitionId", "Record", "TimestampType"];

/// Files that may name the declared pipelines: the generator of view events and the demo that it feeds, and the
/// examples in the help.
const MAY_NAME_PIPELINES: [&str; 3] = ["src/source/generator/", "src/cli/demo.rs", "src/cli/args.rs"];

struct File {
    /// Relative to the repository.
    path: String,
    lines: Vec<String>,
}

impl File {
    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        let end = inside.find(['/', '.']).unwrap_or(inside.len());
        &inside[..end]
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path == "src/definition/samples.rs"
    }

    /// How deep its module lies under the crate.
    fn depth(&self) -> usize {
        self.path.matches('/').count() - usize::from(self.path.ends_with("/mod.rs"))
    }

    /// Numbered lines without those that are only a comment.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.lines.iter().enumerate();
        numbered
            .map(|(index, line)| (index + 1, line.as_str()))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The code that is in the program; a file's tests are its end.
    fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = |pair: &[String]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests");
        let end = match self.is_test() {
            true => 0,
            false => self.lines.windows(2).position(tests).unwrap_or(self.lines.len()),
        };
        self.code().take_while(move |(number, _)| *number <= end)
    }

    /// Its functions: line, name, number of lines. Rustfmt puts a closing brace under the line that opens it.
    fn functions(&self) -> Vec<(usize, String, usize)> {
        let head = Regex::new(r"^( *)(?:pub(?:\([a-z:]+\))? )?(?:(?:async|const|unsafe) )*fn (\w+)").unwrap();
        let mut found = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let Some(parts) = head.captures(line) else {
                continue;
            };
            let closing = format!("{}}}", &parts[1]);
            let declared = format!("{});", &parts[1]);
            let rest = &self.lines[index..];
            let one_line = line.ends_with(';') || line.ends_with('}');
            let end = rest
                .iter()
                .position(|line| one_line || *line == closing || line.starts_with(&declared));
            let length = end.map_or(rest.len(), |end| end + 1);
            found.push((index + 1, parts[2].to_owned(), length));
        }
        found
    }
}

fn files(folder: &str) -> Vec<File> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<File>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(File {
                    path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
                    lines: text.lines().map(str::to_owned).collect(),
                });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, &root.join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has no files");
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn all_files() -> Vec<File> {
    [files("src"), files("tests")].into_iter().flatten().collect()
}

#[track_caller]
fn none(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        violations.join("\n")
    );
}

/// Every line of `lines` that `shape` matches, as `path:line: text`.
fn matching<'a>(file: &'a File, lines: impl Iterator<Item = (usize, &'a str)>, shape: &Regex) -> Vec<String> {
    lines
        .filter(|(_, line)| shape.is_match(line))
        .map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim()))
        .collect()
}

#[test]
fn rooms_look_one_way() {
    let through = Regex::new(r"\bcrate::(?:(\w+)(?:::(\{[^}]*\}?|\w+))?|\{)").unwrap();
    let mut violations = Vec::new();
    for file in files("src")
        .iter()
        .filter(|file| !["lib", "main"].contains(&file.room()))
    {
        let room = file.room();
        let Some((_, seen)) = WALLS.iter().find(|(name, _)| *name == room) else {
            violations.push(format!("{}: the room {room} has no walls yet", file.path));
            continue;
        };
        for (number, line) in file.code() {
            for parts in through.captures_iter(line) {
                let target = parts.get(1).map_or("{", |target| target.as_str());
                let taken = parts.get(2).map_or("", |taken| taken.as_str()).trim_matches(['{', '}']);
                let door = DOORS.iter().find(|(from, to, _)| (*from, *to) == (room, target));
                let plain = door.is_some_and(|(_, _, things)| {
                    !taken.is_empty() && taken.split(", ").all(|thing| things.contains(&thing.trim()))
                });
                if target != room && !seen.contains(&target) && !plain {
                    violations.push(format!("{}:{number}: {room} -> {target}: {}", file.path, line.trim()));
                }
            }
        }
    }
    none(&violations);
}

#[test]
fn nobody_leaves_a_room_by_super() {
    let chain = Regex::new(r"(?:\bsuper::)+").unwrap();
    let mut violations = Vec::new();
    for file in &files("src") {
        for (number, line) in file.shipped() {
            let up = chain
                .find_iter(line)
                .map(|found| found.as_str().matches("super").count())
                .max();
            if up.is_some_and(|up| up >= file.depth()) {
                violations.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    none(&violations);
}

#[test]
fn one_room_knows_kafka_one_delta_and_one_opentelemetry() {
    let mut violations = Vec::new();
    for (library, room) in [("rdkafka", "source"), ("deltalake", "table"), ("opentelemetry", "otel")] {
        let shape = Regex::new(&format!(r"\b{library}\b")).unwrap();
        for file in files("src").iter().filter(|file| file.room() != room) {
            violations.extend(matching(file, file.code(), &shape));
        }
    }
    none(&violations);
}

#[test]
fn a_release_has_no_kill_points() {
    // Every mention is compiled in debug builds only, so that a release has neither a point nor the module.
    let mut violations = Vec::new();
    let module = Regex::new(r"\bmod (?:failpoint|failing);").unwrap();
    let use_of = Regex::new(r"\b(?:failpoint|failing)::").unwrap();
    for file in files("src") {
        let gated = |line: usize| line > 1 && file.lines[line - 2].trim() == "#[cfg(debug_assertions)]";
        let inside = ["src/failpoint.rs", "src/table/failing.rs"].contains(&file.path.as_str());
        for (number, line) in file.code() {
            if (module.is_match(line) || (!inside && use_of.is_match(line))) && !gated(number) {
                violations.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    none(&violations);
}

#[test]
fn every_kill_point_is_somewhere_and_in_one_place() {
    let list = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/failpoint.rs")).unwrap();
    let list = &list[list.find("POINTS: [").unwrap()..];
    let list = &list[..list.find("];").unwrap()];
    let name = Regex::new("\"([A-Z][0-9])\"").unwrap();
    let mut used: Vec<String> = Vec::new();
    for file in files("src").iter().filter(|file| file.path != "src/failpoint.rs") {
        for (_, line) in file.code() {
            used.extend(name.captures_iter(line).map(|parts| parts[1].to_owned()));
        }
    }
    let mut violations = Vec::new();
    for point in name.captures_iter(list).map(|parts| parts[1].to_owned()) {
        // A replay of silver and one of gold begin and write at places of their own; a vacuum's commits are two.
        let places = if ["R1", "R2", "M4"].contains(&point.as_str()) {
            2
        } else {
            1
        };
        let count = used.iter().filter(|found| **found == point).count();
        if count != places {
            violations.push(format!("{point}: in {count} places, wanted {places}"));
        }
        used.retain(|found| *found != point);
    }
    violations.extend(used.iter().map(|point| format!("{point}: not in failpoint::POINTS")));
    none(&violations);
}

#[test]
fn layers_do_no_io_and_read_no_clock() {
    let shape =
        Regex::new(r"\btokio\b|\bstd::(?:fs|net|thread|process|env)\b|\bSystemTime\b|\bInstant\b|\bnow\(").unwrap();
    let layer = files("src/layer");
    let violations: Vec<String> = layer
        .iter()
        .flat_map(|file| matching(file, file.shipped(), &shape))
        .collect();
    none(&violations);
}

#[test]
fn no_file_and_no_function_is_long() {
    let mut violations = Vec::new();
    let mut long = Vec::new();
    for file in &all_files() {
        if file.lines.len() > FILE_LINES_MAX {
            violations.push(format!("{}: {} lines", file.path, file.lines.len()));
        }
        for (number, name, length) in file.functions() {
            if length <= FUNCTION_LINES_MAX {
                continue;
            }
            if !LONG_FUNCTIONS.contains(&(file.path.as_str(), name.as_str())) {
                violations.push(format!("{}:{number}: {name} has {length} lines", file.path));
            }
            long.push((file.path.clone(), name));
        }
    }
    for (path, name) in LONG_FUNCTIONS {
        if !long.contains(&(path.to_owned(), name.to_owned())) {
            violations.push(format!("{path}: {name} is no longer long: take it off the list"));
        }
    }
    none(&violations);
}

#[test]
fn functions_are_measured_from_their_name_to_their_brace() {
    let text = "impl A {\n    pub fn one(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n}\ntrait B {\n    fn two();\n}\n\
                async fn three() {\n}\n";
    let file = File {
        path: "src/a.rs".to_owned(),
        lines: text.lines().map(str::to_owned).collect(),
    };
    let expected = [(2, "one", 5), (9, "two", 1), (11, "three", 2)].map(|(at, name, len)| (at, name.to_owned(), len));
    assert_eq!(file.functions(), expected);
}

#[test]
fn nothing_is_left_to_be_done_later() {
    // Not written out, or this file would be its own violation.
    let words = [
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let shape = Regex::new(&words.join("|")).unwrap();
    let mut violations = Vec::new();
    for file in &all_files() {
        let lines = file
            .lines
            .iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line.as_str()));
        violations.extend(matching(file, lines, &shape));
    }
    none(&violations);
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let mut violations = Vec::new();
    for file in all_files().iter().filter(|file| !file.path.ends_with("/tests.rs")) {
        if !file.lines.first().is_some_and(|line| line.starts_with("//! ")) {
            violations.push(file.path.clone());
        }
    }
    none(&violations);
}

#[test]
fn the_program_knows_no_pipeline_but_its_demo() {
    let shape = Regex::new("(?i)view_log|web_requests|campaign|banner").unwrap();
    let mut violations = Vec::new();
    for file in &files("src") {
        if !MAY_NAME_PIPELINES.iter().any(|may| file.path.starts_with(may)) {
            violations.extend(matching(file, file.shipped(), &shape));
        }
    }
    none(&violations);
}
