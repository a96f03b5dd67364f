//! The kernel boundary: loads the eBPF programs, reads rings and side-band records, publishes tables.

pub mod sideband;
