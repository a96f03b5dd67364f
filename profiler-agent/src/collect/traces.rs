//! The map in which OpenTelemetry's eBPF instrumentation (OBI) notes the trace and span that each thread works for:
//! an LRU hash, pid and thread id (u64) to trace id and span id (24 bytes), pinned. The kernel side looks into
//! it through a map of one map, so that it may come, go and be replaced while programs run.

use std::path::Path;

use aya::maps::{MapData, MapError, MapInfo, MapType};

use super::CollectError;
use super::of_maps::ArrayOf;

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
}

impl Traces {
    pub(super) const fn new(outer: [ArrayOf; 2]) -> Self {
        Self {
            outer,
            current: None,
            refused: None,
        }
    }

    /// Lets the kernel side look into the map that is pinned at `path` now, or into none. To be called
    /// now and then.
    ///
    /// # Errors
    /// The kernel refuses a map operation. That another map is pinned there is none.
    pub fn follow(&mut self, path: &Path) -> Result<(), CollectError> {
        let info = match path.try_exists() {
            Ok(true) => MapInfo::from_pin(path).ok(),
            Ok(false) | Err(_) => None,
        };
        let id = info.as_ref().map(MapInfo::id);
        if id == self.current || (id.is_some() && id == self.refused) {
            return Ok(());
        }
        let Some(info) = info else {
            return self.look_into_none();
        };
        let fits = matches!(info.map_type(), Ok(MapType::LruHash))
            && info.key_size() == KEY_BYTES
            && info.value_size() == VALUE_BYTES;
        let map = MapData::from_pin(path).map_err(map_error)?;
        // Its flags are to be those of the template too: the kernel compares.
        if fits
            && self
                .outer
                .iter_mut()
                .any(|outer| outer.put(0, &map).is_ok())
        {
            self.current = id;
            self.refused = None;
            tracing::info!(path = %path.display(), "links come from an instrumentation too");
            return Ok(());
        }
        self.refused = id;
        tracing::warn!(path = %path.display(), "what is pinned here is no map of traces");
        self.look_into_none()
    }

    fn look_into_none(&mut self) -> Result<(), CollectError> {
        if self.current.take().is_none() {
            return Ok(());
        }
        for outer in &mut self.outer {
            outer.remove(0)?;
        }
        Ok(())
    }
}

fn map_error(source: MapError) -> CollectError {
    CollectError::Map {
        map: "TRACES",
        source,
    }
}
