//! Why a walk ended.

/// The end of a user stack: the root, or a named reason why it is not there.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// There is no user stack: a kernel thread.
    NoUserStack = 0,
    /// The root was reached: a rule said that there is no caller, or the return address or the
    /// frame pointer of the last frame is zero.
    Root = 1,
    /// More than `MAX_USER_FRAMES` frames.
    Truncated = 2,
    /// Stack memory could not be read (not resident, or a bad address).
    MemoryUnreadable = 3,
    /// The pc lies in a mapped file that has no rule for it, and its frame pointer led nowhere.
    NoRule = 4,
    /// The pc lies in no mapping that the kernel side knows, and its frame pointer led nowhere.
    UnknownCode = 5,
    /// The file's table was not there (yet), and the frame pointer led nowhere.
    TablePending = 6,
    /// The stack did not grow from callee to caller: the frames would repeat.
    NotAdvancing = 7,
    /// The rule needs a DWARF expression that is not evaluated.
    UnsupportedRule = 8,
    /// The rule needs a register that is not recovered in this frame.
    RegisterUnavailable = 9,
    /// The process runs in another mode (32-bit): not unwound.
    ForeignMode = 10,
    /// The unwind table is inconsistent: an index outside of it.
    TableCorrupt = 11,
    /// The user registers of the task were not available.
    RegistersMissing = 12,
    /// The stack goes on where Go's runtime says, and what the thread runs could not be found.
    GoroutineUnknown = 13,
}

impl Outcome {
    /// Every outcome, in order of number.
    pub const ALL: [Self; 14] = [
        Self::NoUserStack,
        Self::Root,
        Self::Truncated,
        Self::MemoryUnreadable,
        Self::NoRule,
        Self::UnknownCode,
        Self::TablePending,
        Self::NotAdvancing,
        Self::UnsupportedRule,
        Self::RegisterUnavailable,
        Self::ForeignMode,
        Self::TableCorrupt,
        Self::RegistersMissing,
        Self::GoroutineUnknown,
    ];

    /// The outcome with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Is the stack complete?
    #[must_use]
    pub const fn complete(self) -> bool {
        matches!(self, Self::NoUserStack | Self::Root)
    }

    /// The outcome's name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoUserStack => "no_user_stack",
            Self::Root => "root",
            Self::Truncated => "truncated",
            Self::MemoryUnreadable => "memory_unreadable",
            Self::NoRule => "no_rule",
            Self::UnknownCode => "unknown_code",
            Self::TablePending => "table_pending",
            Self::NotAdvancing => "not_advancing",
            Self::UnsupportedRule => "unsupported_rule",
            Self::RegisterUnavailable => "register_unavailable",
            Self::ForeignMode => "foreign_mode",
            Self::TableCorrupt => "table_corrupt",
            Self::RegistersMissing => "registers_missing",
            Self::GoroutineUnknown => "goroutine_unknown",
        }
    }
}
