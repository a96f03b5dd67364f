//! What leaves the collector.

use std::sync::mpsc::SyncSender;

use crate::profile::{ClockPair, LocatedFrame, Window, WindowUuid};

/// A window that was closed, on its way.
#[derive(Debug)]
pub struct ClosedWindow {
    /// The window.
    pub window: Window,
    /// Both clocks when it was closed.
    pub clocks: ClockPair,
    /// Its name for ever.
    pub name: WindowUuid,
    /// Its span.
    pub span: tracing::Span,
}

/// Where windows go.
pub struct WindowSink {
    /// Closed windows.
    pub windows: SyncSender<ClosedWindow>,
    /// Locations that were seen for the first time in the open window.
    pub new_locations: Box<dyn FnMut(Vec<LocatedFrame>) + Send>,
}
