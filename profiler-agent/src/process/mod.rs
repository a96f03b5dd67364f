//! Processes, their mappings and executables.
