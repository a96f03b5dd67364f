//! A configuration as YAML: what is in effect, without its secrets.

use serde_json::Value;

use super::AgentConfig;

impl AgentConfig {
    /// The whole configuration with its defaults; secrets are `****`. Keys are in alphabetical order.
    #[must_use]
    pub fn show(&self) -> String {
        let value = serde_json::to_value(self).expect("all keys are texts");
        let mut text = String::new();
        write(&value, 0, &mut text);
        text
    }
}

/// Writes a map's entries or a list's items, one a line, each line indented.
fn write(value: &Value, indent: usize, text: &mut String) {
    let Value::Object(entries) = value else {
        return;
    };
    for (key, value) in entries {
        text.push_str(&" ".repeat(indent));
        let is_plain = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        // A JSON text is a YAML text in quotes.
        text.push_str(&if is_plain && !key.is_empty() {
            key.clone()
        } else {
            Value::from(key.as_str()).to_string()
        });
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(":\n");
                write(value, indent + 2, text);
            }
            _ => {
                text.push_str(": ");
                text.push_str(&value.to_string());
                text.push('\n');
            }
        }
    }
}
