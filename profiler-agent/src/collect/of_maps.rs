//! An array of maps whose places can be emptied again, for which the loader's library has no call.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya_obj::generated::bpf_cmd;

use super::CollectError;

/// An array of maps.
pub struct ArrayOf {
    name: &'static str,
    outer: MapData,
}

/// The part of `union bpf_attr` (`include/uapi/linux/bpf.h`) that commands on one element read.
#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl ArrayOf {
    /// Takes the map `name` of the object.
    pub(super) fn take(programs: &mut Ebpf, name: &'static str) -> Result<Self, CollectError> {
        match programs.take_map(name) {
            Some(Map::ArrayOfMaps(outer)) => Ok(Self { name, outer }),
            _ => Err(CollectError::System {
                call: format!("the object has no array of maps {name}"),
                source: io::ErrorKind::NotFound.into(),
            }),
        }
    }

    /// Puts `inner` at `index`.
    pub(super) fn put(&mut self, index: u32, inner: &MapData) -> Result<(), CollectError> {
        let descriptor = inner.fd().as_fd().as_raw_fd() as u32;
        self.change(
            bpf_cmd::BPF_MAP_UPDATE_ELEM,
            "putting a map into",
            index,
            Some(&descriptor),
        )
    }

    /// Leaves the place at `index` without a map. That there is none already is no error.
    pub(super) fn remove(&mut self, index: u32) -> Result<(), CollectError> {
        let result = self.change(
            bpf_cmd::BPF_MAP_DELETE_ELEM,
            "taking a map out of",
            index,
            None,
        );
        match result {
            Err(CollectError::System { source, .. })
                if source.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(())
            }
            result => result,
        }
    }

    fn change(
        &self,
        command: bpf_cmd,
        what: &str,
        index: u32,
        value: Option<&u32>,
    ) -> Result<(), CollectError> {
        let map: BorrowedFd<'_> = self.outer.fd().as_fd();
        let attributes = Element {
            map: map.as_raw_fd() as u32,
            key: (&raw const index) as u64,
            // A command that takes no value wants zero here.
            value: value.map_or(0, |value| std::ptr::from_ref(value) as u64),
            ..Element::default()
        };
        // SAFETY: the attributes are as long as is said; key and value, which they point to, outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command as libc::c_long,
                &raw const attributes,
                size_of::<Element>(),
            )
        };
        if result == 0 {
            return Ok(());
        }
        Err(CollectError::System {
            call: format!("{what} {}", self.name),
            source: io::Error::last_os_error(),
        })
    }
}
