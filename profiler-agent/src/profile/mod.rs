//! The vocabulary that the stages share: values without I/O, clocks or threads.
//!
//! The type's name is the stage: [`RawSample`] (from a ring) -> [`LocatedSample`] (in files) ->
//! [`Window`] (aggregated) -> [`Profile`] (named) -> [`Payload`] (encoded).

pub mod address;
pub mod builder;
pub mod context;
pub mod cover;
pub mod delivery;
pub mod distinct;
pub mod endpoint;
#[cfg(test)]
pub(crate) mod example;
pub mod executable;
pub mod explanation;
mod frames;
#[cfg(test)]
mod glossary;
pub mod hexadecimal;
pub mod kernel_code;
pub mod kind;
pub mod lifecycle;
pub mod links;
pub mod loss;
pub mod mapping;
pub mod mark;
pub mod merge;
pub mod named;
pub mod occurrences;
pub mod pairs;
pub mod payload;
pub mod plain;
pub mod process;
pub mod quantity;
pub mod sample;
pub mod summary;
pub mod symbol;
pub mod time;
pub mod unwind_table;
pub mod window;

pub use address::{ElfAddress, FileOffset, KernelAddress, Pc, VirtualAddress};
pub use builder::{ProfileBuilder, SampleKey};
pub use context::{
    ContextIndex, Label, LabelPart, LabelSet, LabelSetIndex, Link, LinkSource, RawContext,
    RawLabel, SampleContext, UnreadText,
};
pub use executable::{BuildId, Executable, ExecutableId, HtlHash, Segment, mapping_bias};
pub use explanation::Explanation;
pub use kernel_code::{KernelCode, KernelCodeId, KernelCodeKind};
pub use kind::{ProfileKind, STATE_BLOCKED, STATE_RUNNABLE, SampleKind, THREAD_STATE, samples_of};
pub use lifecycle::{FileIdentity, ProcessEvent, ProcessEventKind};
pub use links::{LinkFilter, WindowLinks};
pub use loss::{Degradation, DeliveryCause, DeliveryLoss, DeliveryLosses, Losses, SampleLoss};
pub use mapping::{ExecutableMapping, MappingKind};
pub use mark::Mark;
pub use merge::{Merger, filter, merge};
pub use named::{
    Function, FunctionIndex, LineEntry, Location, LocationIndex, Mapping, MappingIndex, Profile,
    ProfileSample, StackIndex, Stacks, Thread, ThreadIndex,
};
pub use occurrences::Occurrences;
pub use payload::{Coding, Delivery, Destination, Payload, PayloadId, WindowUuid};
pub use process::{AttributeValue, ContainerId, Process, ProcessKey, ResourceAttribute};
pub use sample::{
    LocatedFrame, LocatedSample, LocationKey, RawSample, StackBytes, StackSnapshot, ThreadName,
};
pub use summary::{
    ArchiveError, ArchivedWindow, MergedSpan, NamedCount, ProcessTotal, WindowArchive, WindowId,
    WindowSummary,
};
pub use symbol::{FrameName, FrameType, LocationKind, ResolvedFrames, SourceLine};
pub use time::{BootTime, ClockPair, SamplePeriod, UnixTime};
pub use unwind_table::UnwindTable;
pub use window::{Window, WindowSample};
