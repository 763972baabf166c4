//! Variables in string values: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, and `$${` for a plain `${`.

use super::Env;

/// The text with its variables filled in, and whether there were any; or what is wrong with it.
/// As in a shell, `:-` and `:?` treat an empty variable like an unset one.
pub(super) fn interpolate(text: &str, env: Env<'_>) -> Result<(String, bool), String> {
    let mut out = String::with_capacity(text.len());
    let mut filled = false;
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, marked) = rest.split_at(at);
        let tail = marked.strip_prefix("${").unwrap_or(marked);
        if let Some(plain) = before.strip_suffix('$') {
            out.push_str(plain);
            out.push_str("${");
            rest = tail;
            continue;
        }
        let Some((inside, after)) = tail.split_once('}') else {
            return Err("has ${ without }".to_owned());
        };
        out.push_str(before);
        out.push_str(&value(inside, env)?);
        filled = true;
        rest = after;
    }
    out.push_str(rest);
    Ok((out, filled))
}

fn value(inside: &str, env: Env<'_>) -> Result<String, String> {
    let name_end = inside
        .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .unwrap_or(inside.len());
    let (name, rule) = inside.split_at(name_end);
    if name.is_empty() || name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Err(format!("${{{inside}}} names no variable"));
    }
    let found = env(name);
    let full = found.clone().filter(|value| !value.is_empty());
    if rule.is_empty() {
        return found.ok_or_else(|| format!("the variable {name} is not set"));
    }
    if let Some(default) = rule.strip_prefix(":-") {
        return Ok(full.unwrap_or_else(|| default.to_owned()));
    }
    if let Some(message) = rule.strip_prefix(":?") {
        return full.ok_or_else(|| format!("the variable {name} is not set: {message}"));
    }
    Err(format!(
        "${{{inside}}} is none of ${{VAR}}, ${{VAR:-default}}, ${{VAR:?message}}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let env = |name: &str| match name {
            "HOST" => Some("broker".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        interpolate(text, &env).map(|(text, _)| text)
    }

    #[test]
    fn variables_are_filled_in_and_the_rest_stays() {
        for (text, expected) in [
            ("plain $5 }", "plain $5 }"),
            ("${HOST}:9092", "broker:9092"),
            ("${HOST}${HOST}", "brokerbroker"),
            ("${PORT:-9092}", "9092"),
            ("${HOST:-other}", "broker"),
            ("${EMPTY:-other}", "other"),
            ("[${EMPTY}]", "[]"),
            ("${PORT:-}", ""),
            ("$${HOST}", "${HOST}"),
            ("$${HOST} ${HOST}", "${HOST} broker"),
            ("ü${HOST}ü", "übrokerü"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_said() {
        for (text, word) in [
            ("${PORT}", "PORT is not set"),
            ("${PORT:?set the port}", "set the port"),
            ("${EMPTY:?must be full}", "must be full"),
            ("${HOST", "without }"),
            ("${}", "names no variable"),
            ("${9A}", "names no variable"),
            ("${HOST-x}", "is none of"),
            ("${${HOST}}", "names no variable"),
        ] {
            let message = filled(text).expect_err(text);
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
