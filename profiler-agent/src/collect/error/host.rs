//! What of the machine and of this process explains why the kernel refuses something.

use rustix::process::{Resource, getrlimit};

use super::capability::Capabilities;

/// How much of itself the kernel hides from root (`Documentation/security/lockdown`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lockdown {
    /// Nothing.
    #[default]
    Off,
    /// Root may not change the running kernel.
    Integrity,
    /// Root may not read its memory either.
    Confidentiality,
}

/// The facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Effective capabilities of this process.
    pub capabilities: Capabilities,
    /// The highest capability that the kernel knows.
    pub last_capability: u8,
    /// Is this process in the first user namespace? Capabilities of another one do not count here.
    pub initial_user_namespace: bool,
    /// `kernel.perf_event_paranoid`; `None` where there is no such setting.
    pub perf_event_paranoid: Option<i32>,
    /// May everybody read the addresses of kernel symbols?
    pub kernel_symbols_are_public: bool,
    /// The lockdown of the kernel, where it can be read.
    pub lockdown: Lockdown,
    /// Does a seccomp filter decide which system calls this process may make?
    pub seccomp_filter: bool,
    /// The profile of a security module (AppArmor, SELinux) that confines this process.
    pub confined_by: Option<String>,
    /// Descriptors that this process may have; `None` for no limit.
    pub open_files: Option<u64>,
    /// Bytes of memory that this process may lock; `None` for no limit.
    pub locked_memory: Option<u64>,
}

impl Host {
    /// A machine on which nothing stands in the way.
    #[must_use]
    pub const fn unrestricted() -> Self {
        Self {
            capabilities: Capabilities::ALL,
            last_capability: 40,
            initial_user_namespace: true,
            perf_event_paranoid: Some(2),
            kernel_symbols_are_public: false,
            lockdown: Lockdown::Off,
            seccomp_filter: false,
            confined_by: None,
            open_files: None,
            locked_memory: None,
        }
    }

    /// Reads the facts; what cannot be read is taken for no restriction.
    #[must_use]
    pub fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).ok();
        let number = |path: &str| text(path)?.trim().parse::<i32>().ok();
        let status = text("/proc/self/status").unwrap_or_default();
        let perf_event_paranoid = number("/proc/sys/kernel/perf_event_paranoid");
        let capabilities = status_field(&status, "CapEff:")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map_or(Capabilities::ALL, Capabilities);
        Self {
            capabilities,
            last_capability: number("/proc/sys/kernel/cap_last_cap")
                .and_then(|last| u8::try_from(last).ok())
                .unwrap_or(40),
            initial_user_namespace: std::fs::read_link("/proc/self/ns/user")
                .is_ok_and(|link| link.as_os_str() == INITIAL_USER_NAMESPACE)
                // A kernel without user namespaces has no such link.
                || !std::fs::exists("/proc/self/ns/user").unwrap_or(false),
            perf_event_paranoid,
            kernel_symbols_are_public: number("/proc/sys/kernel/kptr_restrict") == Some(0)
                && perf_event_paranoid.is_some_and(|level| level <= 1),
            lockdown: text("/sys/kernel/security/lockdown")
                .map_or(Lockdown::Off, |text| lockdown(&text)),
            seccomp_filter: status_field(&status, "Seccomp:") == Some("2"),
            confined_by: text("/proc/self/attr/current").and_then(|text| confinement(&text)),
            open_files: getrlimit(Resource::Nofile).current,
            locked_memory: getrlimit(Resource::Memlock).current,
        }
    }
}

/// `PROC_USER_INIT_INO` of `include/linux/proc_ns.h`.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim())
}

/// `none integrity [confidentiality]`: the one in brackets.
fn lockdown(text: &str) -> Lockdown {
    let in_brackets = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    match in_brackets {
        Some(("integrity", _)) => Lockdown::Integrity,
        Some(("confidentiality", _)) => Lockdown::Confidentiality,
        _ => Lockdown::Off,
    }
}

/// `docker-default (enforce)` of AppArmor, `system_u:system_r:container_t:s0:c1,c2` of SELinux.
fn confinement(text: &str) -> Option<String> {
    let text = text.trim_end_matches(['\0', '\n']);
    if let Some(profile) = text.strip_suffix(" (enforce)") {
        return Some(format!("the AppArmor profile `{profile}`"));
    }
    let domain = text.split(':').nth(2)?;
    (!domain.starts_with("unconfined")).then(|| format!("the SELinux domain `{domain}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(
            lockdown("[none] integrity confidentiality\n"),
            Lockdown::Off
        );
        assert_eq!(
            lockdown("none [integrity] confidentiality\n"),
            Lockdown::Integrity
        );
        assert_eq!(
            lockdown("none integrity [confidentiality]\n"),
            Lockdown::Confidentiality
        );
        assert_eq!(lockdown("garbage"), Lockdown::Off);
        let named = confinement("docker-default (enforce)\n");
        assert_eq!(
            named.as_deref(),
            Some("the AppArmor profile `docker-default`")
        );
        assert_eq!(confinement("unconfined\n"), None);
        assert_eq!(confinement("docker-default (complain)\n"), None);
        let named = confinement("system_u:system_r:container_t:s0:c1,c2\0");
        assert_eq!(named.as_deref(), Some("the SELinux domain `container_t`"));
        assert_eq!(
            confinement("unconfined_u:unconfined_r:unconfined_t:s0\0"),
            None
        );
        assert_eq!(confinement(""), None);
        let status = "Name:\tx\nCapEff:\t000001ffffffffff\nSeccomp:\t2\n";
        assert_eq!(status_field(status, "CapEff:"), Some("000001ffffffffff"));
        assert_eq!(status_field(status, "Seccomp:"), Some("2"));
    }

    #[test]
    fn this_process_is_described() {
        let host = Host::read();
        // The tests need the same privileges as the agent.
        assert!(host.capabilities.has(super::super::capability::SYS_ADMIN));
        assert!(host.initial_user_namespace);
        assert!(host.open_files.is_some_and(|limit| limit > 0));
    }
}
