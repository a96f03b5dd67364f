//! The agent's own page and the query API behind it.
