//! What a record says of the request that its sample belongs to: entries behind the frames, in
//! `SampleHeader::context_bytes` bytes.
//!
//! An entry is an [`EntryHeader`], then its key, then its value, each padded with undefined bytes to
//! a multiple of eight. Native byte order.

/// Most labels of one sample.
pub const MAX_LABELS: usize = 16;
/// Most bytes of a label's key; a longer one is cut.
pub const MAX_KEY: usize = 64;
/// Most bytes of a label's value; a longer one is cut.
pub const MAX_VALUE: usize = 256;
/// Trace id and span id.
pub const LINK_BYTES: usize = 24;
/// Links of one sample: one of each source that the kernel side reads.
pub const MAX_LINKS: usize = 3;

/// The goroutine's id: no key, a value of 8 bytes.
pub const ENTRY_GOROUTINE: u8 = 1;
/// A label: key and value.
pub const ENTRY_LABEL: u8 = 2;
/// A link: no key, [`LINK_BYTES`] of value; the source is in [`EntryHeader::flags`], numbered as
/// [`LINK_THREAD_CONTEXT`] and the like.
pub const ENTRY_LINK: u8 = 3;
/// There were more labels, or some could not be read: no key, no value.
pub const ENTRY_INCOMPLETE: u8 = 4;

/// [`ENTRY_LABEL`]: key or value was longer, and cut.
pub const FLAG_CUT: u8 = 1;
/// [`ENTRY_LABEL`]: the key could not be read (its page is not in memory). Its address and its length stand in its place,
/// two words.
pub const FLAG_KEY_UNREAD: u8 = 2;
/// [`ENTRY_LABEL`]: the same of the value.
pub const FLAG_VALUE_UNREAD: u8 = 4;
/// Bytes of what stands in the place of a text that could not be read.
pub const UNREAD_BYTES: usize = 16;
/// [`ENTRY_LINK`] from the OpenTelemetry thread context.
pub const LINK_THREAD_CONTEXT: u8 = 1;
/// [`ENTRY_LINK`] from Elastic's correlation record.
pub const LINK_ELASTIC: u8 = 3;
/// [`ENTRY_LINK`] from the map that OpenTelemetry's eBPF instrumentation pins.
pub const LINK_INSTRUMENTATION: u8 = 4;

/// Before every entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryHeader {
    /// [`ENTRY_LABEL`] and the like.
    pub kind: u8,
    /// See the kind.
    pub flags: u8,
    /// Bytes of the key, without padding.
    pub key: u16,
    /// Bytes of the value, without padding.
    pub value: u16,
    /// Zero.
    pub reserved: u16,
}
const _: () = assert!(size_of::<EntryHeader>() == 8);

/// Most bytes of all entries of a record.
pub const MAX_CONTEXT_BYTES: usize = MAX_LABELS * (size_of::<EntryHeader>() + MAX_KEY + MAX_VALUE)
    + MAX_LINKS * (size_of::<EntryHeader>() + LINK_BYTES)
    + size_of::<EntryHeader>()
    + 8
    + size_of::<EntryHeader>();
const _: () = assert!(MAX_CONTEXT_BYTES.is_multiple_of(8));
