//! The local store of windows.
