//! Call frame information to compact unwind tables.
