//! The address of a trace in another user interface.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An http or https address with `{trace_id}` or `{span_id}` in it; the empty text stands for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceUrl(pub Option<String>);

/// Bytes of an address.
const MAX: usize = 2_000;

impl<'de> Deserialize<'de> for TraceUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        match problem(&text) {
            None => Ok(Self(Some(text))),
            Some(problem) => Err(de::Error::custom(format!(
                "`{text}` {problem}: write an address like https://ui.example/trace/{{trace_id}}"
            ))),
        }
    }
}

impl Serialize for TraceUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_deref().unwrap_or_default())
    }
}

fn problem(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let rest = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| lower.strip_prefix(scheme));
    let Some(rest) = rest else {
        return Some("is not http or https");
    };
    let is_plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`|".contains(c);
    if rest.is_empty() || rest.starts_with(['/', '?', '#']) {
        return Some("has no host");
    }
    if text.len() > MAX || !text.chars().all(is_plain) {
        return Some("is too long or has characters that an address may not have");
    }
    let without = text.replace("{trace_id}", "").replace("{span_id}", "");
    if without.len() == text.len() {
        return Some("has neither {trace_id} nor {span_id}");
    }
    without
        .contains(['{', '}'])
        .then_some("has braces around something else than trace_id or span_id")
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn an_address_of_traces_is_http_and_has_a_place_for_an_id() {
        for right in [
            "https://ui.example/trace/{trace_id}",
            "HTTP://localhost:16686/trace/{trace_id}?uiFind={span_id}",
            "https://grafana.example/explore?left=%7B%22query%22%3A%22{trace_id}%22%7D",
        ] {
            assert_eq!(problem(right), None, "{right}");
        }
        for wrong in [
            "javascript:alert({trace_id})",
            "data:text/html,{trace_id}",
            " https://ui.example/{trace_id}",
            "https:///{trace_id}",
            "https://ui.example/trace/",
            "https://ui.example/{trace_id}/{user}",
            "https://ui.example/{trace_id}\"onclick=",
            "https://ui.example/{trace_id}\n",
        ] {
            assert!(problem(wrong).is_some(), "{wrong}");
        }
    }
}
