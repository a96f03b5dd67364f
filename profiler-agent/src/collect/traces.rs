//! The map in which OpenTelemetry's eBPF instrumentation (OBI) notes the trace and span that each thread works for:
//! an LRU hash, pid and thread id (u64) to trace id and span id (24 bytes), pinned. The kernel side looks into
//! it through a map of one map, so that it may come, go and be replaced while programs run.

use std::path::Path;

use aya::maps::{MapData, MapInfo, MapType};

use super::CollectError;
use super::error::{Attempt, Refusal, errno_of};
use super::of_maps::ArrayOf;
use crate::profile::{Degradation, Losses};

/// Where it is pinned.
pub const PINNED: &str = "/sys/fs/bpf/otel/traces_ctx_v1";
const KEY_BYTES: u32 = 8;
const VALUE_BYTES: u32 = 24;

/// What the kernel side looks into.
pub struct Traces {
    /// For maps with type information and for maps without: on some kernels an outer map takes one kind only.
    outer: [ArrayOf; 2],
    /// The id of the map that it looks into.
    current: Option<u32>,
    /// The id of a pinned map that is not what it should be.
    refused: Option<u32>,
    trouble: Option<String>,
    losses: Losses,
}

impl Traces {
    pub(super) fn new(outer: [ArrayOf; 2]) -> Self {
        Self {
            outer,
            current: None,
            refused: None,
            trouble: None,
            losses: Losses::default(),
        }
    }

    /// Lets the kernel side look into the map that is pinned at `path` now, or into none. To be called
    /// about once a second. That another map is pinned there is no trouble; what the kernel refuses is counted, and tried
    /// again the next time.
    pub fn follow(&mut self, path: &Path) {
        self.trouble = None;
        let info = match path.try_exists() {
            Ok(true) => MapInfo::from_pin(path).ok(),
            Ok(false) | Err(_) => None,
        };
        let id = info.as_ref().map(MapInfo::id);
        if id == self.current || (id.is_some() && id == self.refused) {
            return;
        }
        let Some(info) = info else {
            self.look_into_none();
            return;
        };
        let fits = matches!(info.map_type(), Ok(MapType::LruHash))
            && info.key_size() == KEY_BYTES
            && info.value_size() == VALUE_BYTES;
        if fits {
            match self.look_into(path) {
                Ok(()) => {
                    self.current = id;
                    self.refused = None;
                    tracing::info!(path = %path.display(), "links come from an instrumentation too");
                    return;
                }
                // Its flags are to be those of the template too: the kernel compares, and says so with this number.
                Err(error) if errno_of(&error) == Some(libc::EINVAL) => {}
                Err(error) => {
                    self.failed(&error);
                    return;
                }
            }
        }
        self.refused = id;
        tracing::warn!(path = %path.display(), "what is pinned here is no map of traces");
        self.look_into_none();
    }

    fn look_into(&mut self, path: &Path) -> Result<(), CollectError> {
        let map = MapData::from_pin(path).map_err(|source| CollectError::Map {
            map: "TRACES",
            source,
        })?;
        let [typed, untyped] = &mut self.outer;
        // One of them only: the other may hold the map that was pinned before.
        match typed.put(0, &map) {
            Err(error) if errno_of(&error) == Some(libc::EINVAL) => {
                untyped.put(0, &map)?;
                typed.remove(0)
            }
            result => result.and_then(|()| untyped.remove(0)),
        }
    }

    fn look_into_none(&mut self) {
        if self.current.is_none() {
            return;
        }
        let emptied = self.outer.iter_mut().try_for_each(|outer| outer.remove(0));
        match emptied {
            Ok(()) => self.current = None,
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &CollectError) {
        self.losses.add(Degradation::MapFailed, 1);
        self.trouble = Some(Refusal::of(Attempt::UseMap("TRACES"), error).to_string());
    }

    /// Why the last call of [`Traces::follow`] did not come to its end, if it did not.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What was lost since the last call.
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}
