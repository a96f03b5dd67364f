//! What a build saw.

/// Counts of one build. Rows are rows of call frame information before equal neighbours are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frame description entries that were used.
    pub entries: u32,
    /// Entries that could not be parsed.
    pub malformed_entries: u32,
    /// Entries for addresses outside of executable segments: discarded functions.
    pub foreign_entries: u32,
    /// Rows that were converted.
    pub rows: u32,
    /// Rows whose CFA is an expression of an unknown form.
    pub unsupported_cfa: u32,
    /// Rows with a number that a rule has no room for.
    pub unsupported_number: u32,
    /// Rows whose return address is in none of the places that a rule can name.
    pub unsupported_return_address: u32,
    /// Rows whose caller's stack pointer is not the CFA.
    pub unsupported_stack_pointer: u32,
    /// Instruction sequences that could not be decoded; the rest of their entry is unsupported.
    pub undecodable: u32,
    /// Rows that lose the frame pointer because of the form of its rule.
    pub lost_frame_pointer: u32,
    /// Rows that lose the base register because of the form of its rule.
    pub lost_base_register: u32,
    /// Rows whose CFA is on another register than stack pointer, frame pointer and base register.
    pub other_cfa_register: u32,
    /// Rows that became unsupported because the file has more rules than can be numbered.
    pub rules_full: u32,
    /// Functions of Go's line table.
    pub go_functions: u32,
    /// Functions without information whose rules were read off their instructions.
    pub inferred_functions: u32,
    /// Signal trampolines found by their instructions.
    pub trampolines: u32,
    /// Bytes of code without information that were not searched for trampolines.
    pub unsearched_bytes: u64,
}

impl Statistics {
    /// Rows that became `Rule::UNSUPPORTED`, whatever the cause.
    #[must_use]
    pub const fn unsupported(&self) -> u64 {
        self.unsupported_cfa as u64
            + self.unsupported_number as u64
            + self.unsupported_return_address as u64
            + self.unsupported_stack_pointer as u64
            + self.undecodable as u64
            + self.rules_full as u64
    }
}
