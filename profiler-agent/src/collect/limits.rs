//! The limits of this process that the kernel boundary depends on.

use aya::maps::MapData;
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::CollectError;
use super::error::capability::{self, Capability};
use super::error::{Attempt, Cause, Host, Refusal};

/// Descriptors that are in use beside those of CPUs and executables: maps, programs, stores, connections.
const OTHERS: u64 = 64;
/// Descriptors of a CPU: its sampling event, its ring, its side-band.
const OF_A_CPU: u64 = 3;

/// Raises the limits of open files (executables are kept open) and of locked memory (which some kernels count BPF
/// memory as) as far as they can be raised. Where they cannot, what is refused later says so.
pub fn raise() {
    let _ = raise_to(Resource::Nofile, getrlimit(Resource::Nofile).maximum);
    if raise_to(Resource::Memlock, None).is_err() {
        // Without CAP_SYS_RESOURCE: as much as the hard limit lets.
        let _ = raise_to(Resource::Memlock, getrlimit(Resource::Memlock).maximum);
    }
}

/// `None` is no limit.
fn raise_to(resource: Resource, limit: Option<u64>) -> rustix::io::Result<()> {
    let hard = getrlimit(resource).maximum;
    let maximum = match (hard, limit) {
        (Some(hard), Some(limit)) => Some(hard.max(limit)),
        _ => None,
    };
    let raised = Rlimit {
        current: limit,
        maximum,
    };
    setrlimit(resource, raised)
}

/// May this process load programs at all? Asked before anything of the agent's is touched: a small map is made, which is
/// gone at once.
///
/// # Errors
/// A privilege is missing, and which. Whatever else fails is left to who needs it.
pub fn require_privilege() -> Result<(), CollectError> {
    const NAME: &str = "privilege";
    let definition = aya_obj::Map::new_from_params(BPF_MAP_TYPE_ARRAY as u32, 4, 8, 1, 0);
    let refused = MapData::create(definition, NAME, None).err();
    let refused = refused.map(|error| CollectError::explained(Attempt::CreateMap(NAME), &error));
    match refused {
        Some(error) if error.is_privilege() => Err(error),
        _ => Ok(()),
    }
}

/// Are descriptors enough for a machine with so many CPUs online? Pure.
///
/// # Errors
/// The sentence that names the limit.
pub fn check_open_files(cpus: usize, host: &Host) -> Result<(), Refusal> {
    let needed = OTHERS + OF_A_CPU * cpus as u64;
    match host.open_files {
        Some(limit) if limit < needed => Err(Refusal {
            what: "starting".to_owned(),
            call: "getrlimit",
            why: format!(
                "the agent may have {limit} files open (RLIMIT_NOFILE), and {cpus} CPUs need {needed}"
            ),
            fix: super::error::MORE_FILES.to_owned(),
            cause: Cause::Limit,
        }),
        _ => Ok(()),
    }
}

/// What the agent goes without on this host: a sentence for each capability that it lacks. Pure.
#[must_use]
pub fn missing_capabilities(host: &Host) -> Vec<String> {
    let words = |capability: &Capability| {
        let Capability { name, cost, .. } = capability;
        format!("{name} is missing: {cost}")
    };
    capability::losses(host).iter().map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_small_is_named_before_anything_fails() {
        let host = |limit| Host {
            open_files: limit,
            ..Host::unrestricted()
        };
        let refused = check_open_files(2, &host(Some(24))).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "starting: the agent may have 24 files open (RLIMIT_NOFILE), and 2 CPUs need 70. Raise the limit to 65536 or \
             more: LimitNOFILE=65536 (systemd), --ulimit nofile=65536 (docker), ulimit -n 65536."
        );
        assert!(check_open_files(2, &host(Some(70))).is_ok());
        assert!(check_open_files(256, &host(Some(1024))).is_ok());
        assert!(check_open_files(512, &host(Some(1024))).is_err());
        assert!(check_open_files(512, &host(None)).is_ok());
    }

    #[test]
    fn what_is_lost_is_said_in_a_sentence() {
        let host = Host {
            capabilities: capability::Capabilities::ALL.without(capability::SYSLOG),
            ..Host::unrestricted()
        };
        assert_eq!(
            missing_capabilities(&host),
            ["CAP_SYSLOG is missing: functions of the kernel have no names"]
        );
        assert_eq!(
            missing_capabilities(&Host::unrestricted()),
            <[&str; 0]>::default()
        );
    }
}
