//! Tables of options whose values may be secrets: taken from the environment or a file, never from a declaration.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::Secret;
use super::raw::{Entry, Env, Reader, Report, Spot, Value, Written};

/// Words that make an option's value a secret.
const SECRET_WORDS: [&str; 4] = ["password", "secret", "key", "token"];

/// Secrets without such a word in their name.
const SECRETS: [&str; 1] = ["sasl.oauthbearer.config"];

/// Options with such a word whose value is a path or a name, not a secret.
const NO_SECRET: [&str; 8] = [
    "ssl.key.location",
    "ssl.keystore.location",
    "sasl.kerberos.keytab",
    "sasl.oauthbearer.token.endpoint.url",
    "enable.ssl.certificate.verification",
    "aws_access_key_id",
    "access_key_id",
    "sasl.oauthbearer.grant.type",
];

/// Longest secret that is read from a file, in bytes: no key and no chain of certificates is longer.
const LONGEST: u64 = 1 << 20;

/// Whether the option of this name is a secret: its value is never shown and never taken from where others can see it.
pub fn is_secret(option: &str) -> bool {
    let option = option.to_lowercase();
    let mut words = option.split(['.', '_', '-']);
    SECRETS.contains(&option.as_str())
        || (!NO_SECRET.contains(&option.as_str())
            && !option.ends_with(".location")
            && words.any(|word| SECRET_WORDS.contains(&word)))
}

/// The secret in a file, less a line break at its end.
///
/// # Errors
/// Those of reading it, and where it is longer than any secret.
pub fn secret_in_file(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(std::io::Error::other("it is longer than any secret"));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

/// The options of a table: strings, numbers and booleans as they are, `{ env = ".." }` and `{ file = ".." }` resolved.
/// Files are relative to `project`; a trailing line break of one is not part of the secret.
pub(super) fn options(
    reader: &Reader<'_>,
    project: &Path,
    env: Env<'_>,
    report: &mut Report,
) -> BTreeMap<String, Written<Secret>> {
    let mut found = BTreeMap::new();
    for entry in reader.entries() {
        let at = Spot::new(entry.line, reader.path(&entry.key));
        if let Some(value) = value(entry, &at, project, env, report) {
            found.insert(entry.key.clone(), Written::new(Secret(value), at));
        }
    }
    found
}

fn value(entry: &Entry, at: &Spot, project: &Path, env: Env<'_>, report: &mut Report) -> Option<String> {
    match &entry.node.value {
        Value::Text { text, filled } => {
            if !filled && is_secret(&entry.key) {
                let suggestion = "write { env = \"VARIABLE\" } or { file = \"path\" }".to_owned();
                report.add(
                    at,
                    "is a secret: take it from the environment or a file",
                    Some(suggestion),
                );
            }
            Some(text.clone())
        }
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Table(_) => taken(entry, at, project, env, report),
        other => {
            report.add(at, format!("must be a string, not {}", other.kind()), None);
            None
        }
    }
}

fn taken(entry: &Entry, at: &Spot, project: &Path, env: Env<'_>, report: &mut Report) -> Option<String> {
    let mut reader = Reader::new(&entry.node, &at.key, report)?;
    let variable = reader.text("env", report);
    let file = reader.text("file", report);
    reader.finish(report);
    match (variable, file) {
        (Some(variable), None) => {
            let value = env(&variable.value);
            if value.is_none() {
                report.add(
                    &variable.at,
                    format!("the variable {} is not set", variable.value),
                    None,
                );
            }
            value
        }
        (None, Some(file)) => match secret_in_file(&project.join(&file.value)) {
            Ok(text) => Some(text),
            Err(error) => {
                report.add(&file.at, format!("{:?} cannot be read: {error}", file.value), None);
                None
            }
        },
        _ => {
            report.add(at, "must have exactly one of env and file", None);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for option in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "aws_secret_access_key",
            "aws_session_token",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.client.secret",
        ] {
            assert!(is_secret(option), "{option}");
        }
        for option in [
            "ssl.key.location",
            "ssl.ca.location",
            "security.protocol",
            "sasl.username",
            "aws_access_key_id",
        ] {
            assert!(!is_secret(option), "{option}");
        }
    }
}
