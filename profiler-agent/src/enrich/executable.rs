//! What the executable of a process says of it: its file name, which is better than no name.

use std::sync::Arc;

use crate::profile::{AttributeValue, Process, ResourceAttribute};

/// The attributes of a process by its executable; none where that is not known.
#[must_use]
pub fn attributes(process: &Process) -> Arc<[ResourceAttribute]> {
    let name = process.executable_name().map(|name| ResourceAttribute {
        key: Process::SERVICE_NAME.into(),
        value: AttributeValue::Text(name.into()),
    });
    name.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::example::process;

    #[test]
    fn a_process_is_called_after_its_file_and_by_nothing_else() {
        let name = |executable: &str, kernel| {
            let mut process = process(7, executable, None);
            process.kernel = kernel;
            let attributes = attributes(&process);
            attributes.first().map(|first| first.value.clone())
        };
        let text = |name: &str| Some(AttributeValue::Text(name.into()));
        assert_eq!(name("/usr/bin/java", false), text("java"));
        for unnamed in ["", "/usr/bin/"] {
            assert_eq!(name(unnamed, false), None);
        }
        assert_eq!(name("/usr/bin/java", true), None);
    }
}
