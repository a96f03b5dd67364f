//! The composition root: builds the stages from the configuration, runs them, shuts them down.
