//! What came of the checks, for README's table: `target/kernels/results.json`.
//!
//! A run adds to what is there: each check replaces what an earlier run said of the same check of the same kernel.

use std::any::Any;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Kernel, directory};

/// Held while the file is read and written.
static FILE: Mutex<()> = Mutex::new(());

/// Runs a check and keeps what came of it, with the facts that it returns.
///
/// # Panics
///
/// When the check does.
pub fn check(kernel: Kernel, check: &str, run: impl FnOnce() -> Value) {
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    let (passed, facts) = match &outcome {
        Ok(facts) => (true, facts.clone()),
        Err(_) => (false, json!({})),
    };
    let result = json!({
        "kernel": kernel.series,
        "release": kernel.release(),
        "cpu": kernel.cpu.name(),
        "hardware": kernel.hardware.name(),
        "check": check,
        "passed": passed,
        "facts": facts,
    });
    keep(&directory().join("results.json"), result);
    if let Err(reason) = outcome {
        fail(reason);
    }
}

fn fail(reason: Box<dyn Any + Send>) -> ! {
    panic::resume_unwind(reason)
}

fn keep(file: &Path, result: Value) {
    let _alone = FILE.lock().expect("nobody panics with it");
    let text = fs::read(file).unwrap_or_default();
    let mut results: Vec<Value> = serde_json::from_slice(&text).unwrap_or_default();
    results.retain(|other| key(other) != key(&result));
    results.push(result);
    results.sort_by_key(key);
    let lines: Vec<String> = results.iter().map(Value::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// Kernels in the order of their numbers.
fn key(result: &Value) -> (Vec<u64>, [String; 3]) {
    let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
    let series = text("kernel");
    let numbers = series.split('.').filter_map(|part| part.parse().ok());
    let names = ["cpu", "hardware", "check"].map(text);
    (numbers.collect(), names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_result_replaces_an_earlier_one_and_no_other() {
        let directory = tempfile::TempDir::new().expect("a temporary directory");
        let file = directory.path().join("results.json");
        let result = |kernel: &str, check: &str, passed: bool| json!({"kernel": kernel, "cpu": "arm64", "check": check, "passed": passed});
        keep(&file, result("6.12", "load", false));
        keep(&file, result("6.1", "load", true));
        keep(&file, result("6.12", "chain", false));
        keep(&file, result("6.12", "load", true));
        let text = fs::read(&file).expect("it was written");
        let kept: Value = serde_json::from_slice(&text).expect("it is JSON");
        assert_eq!(
            kept,
            json!([
                result("6.1", "load", true),
                result("6.12", "chain", false),
                result("6.12", "load", true),
            ])
        );
    }
}
