//! Who was sampled.

use std::sync::Arc;

use super::BootTime;

/// Identity of a process image on this machine: pids are reused, and an exec starts a new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// When the image started: its exec, or the fork that copied it.
    pub started: BootTime,
}

/// The id of a container: 64 hexadecimal digits, or what its runtime uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub Box<str>);

/// The value of an attribute of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttributeValue {
    /// Text.
    Text(Arc<str>),
    /// A number.
    Integer(i64),
    /// True or false.
    Truth(bool),
}

/// An attribute of a process (stage `enrich`). Untrusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceAttribute {
    /// Key.
    pub key: Arc<str>,
    /// Value.
    pub value: AttributeValue,
}

/// What is known of a process image. Never changed once shared: a changed fact makes a new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its identity.
    pub key: ProcessKey,
    /// Parent's pid; 0 where unknown.
    pub parent: u32,
    /// Its name (`/proc/PID/comm` of the main thread). Untrusted.
    pub comm: Box<str>,
    /// Path of its executable as its own root sees it; empty for kernel threads and where unknown.
    pub executable: Box<str>,
    /// Path of its cgroup (v2 if there is one, else the first v1 hierarchy with a path).
    pub cgroup: Box<str>,
    /// The container that its cgroup names.
    pub container: Option<ContainerId>,
    /// Is it a kernel thread?
    pub kernel: bool,
    /// Its attributes, of whatever source, sorted by key, each key once.
    pub resource: Arc<[ResourceAttribute]>,
}

impl Process {
    /// The attribute that says what a process is called.
    pub const SERVICE_NAME: &str = "service.name";

    /// What a process of which nothing is known is called (OpenTelemetry semantic conventions, `service.name`).
    pub const UNKNOWN_SERVICE: &str = "unknown_service";

    /// What a person calls this process: what its attributes call it, else [`Process::name`], else
    /// [`Process::UNKNOWN_SERVICE`].
    #[must_use]
    pub fn service(&self) -> &str {
        match self.service_name().map(|attribute| &attribute.value) {
            Some(AttributeValue::Text(name)) if !name.is_empty() => name,
            _ if self.name().is_empty() => Self::UNKNOWN_SERVICE,
            _ => self.name(),
        }
    }

    /// The attribute that says what it is called, whoever says it.
    #[must_use]
    pub fn service_name(&self) -> Option<&ResourceAttribute> {
        let found = self
            .resource
            .binary_search_by(|attribute| (*attribute.key).cmp(Self::SERVICE_NAME));
        found.ok().map(|index| &self.resource[index])
    }

    /// The file name of its executable, else its name.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.kernel {
            return "kernel";
        }
        self.executable_name().unwrap_or(&self.comm)
    }

    /// The file name of its executable, where it has one.
    #[must_use]
    pub fn executable_name(&self) -> Option<&str> {
        let name = self.executable.rsplit('/').next();
        name.filter(|name| !name.is_empty() && !self.kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::example::process;

    #[test]
    fn every_process_has_a_service() {
        let service = |executable| process(7, executable, None).service().to_owned();
        assert_eq!(service("/bin/program"), "program");
        assert_eq!(service("/bin/"), Process::UNKNOWN_SERVICE);
        assert_eq!(service(""), "kernel");
    }
}
