//! `${env:NAME}` and `${env:NAME:-default}`, as the OpenTelemetry collector writes them; `$$` is a dollar sign.

/// `text` with what the environment says; `None` where nothing of it is named.
///
/// # Errors
/// What is wrong and the fix: a variable that is not set and has no default, another kind of reference.
pub(super) fn substitute(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    let mut result = String::new();
    let mut changed = false;
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
            changed = true;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let (reference, after) = inner
                .split_once('}')
                .ok_or("`${` without `}`: write ${env:NAME}, or $$ for a dollar sign")?;
            result.push_str(&value(reference, environment)?);
            rest = after;
            changed = true;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    Ok(changed.then_some(result))
}

fn value(reference: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let name = reference.strip_prefix("env:").ok_or_else(|| {
        format!("`${{{reference}}}` is not known: write ${{env:NAME}}, or $$ for a dollar sign")
    })?;
    let (name, default) = match name.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (name, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!(
            "`{name}` is no name of a variable: letters, digits and `_`"
        ));
    }
    match (environment(name).filter(|value| !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {name} is not set: set it, or write a default: ${{env:{name}:-default}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::substitute;

    fn of(text: &str) -> Result<Option<String>, String> {
        substitute(text, &|name| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${env:A}".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_put_in_once() {
        for (text, expected) in [
            ("plain", None),
            ("5$ a day", None),
            ("${env:A}", Some("one")),
            ("x-${env:A}-${env:A}", Some("x-one-one")),
            ("${env:B:-two}", Some("two")),
            ("${env:B:-}", Some("")),
            ("${env:EMPTY:-two}", Some("two")),
            ("$${env:A}", Some("${env:A}")),
            ("${env:TRICK}", Some("${env:A}")),
        ] {
            assert_eq!(of(text).unwrap().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_put_in_is_refused_with_the_fix() {
        for (text, fix) in [
            ("${env:B}", "set it, or write a default: ${env:B:-default}"),
            ("${A}", "write ${env:NAME}"),
            ("${env:A", "without `}`"),
            ("${env:}", "no name"),
            ("${env:A B}", "no name"),
            ("${file:/etc/passwd}", "write ${env:NAME}"),
        ] {
            assert!(
                of(text).unwrap_err().contains(fix),
                "{text}: {:?}",
                of(text)
            );
        }
    }
}
