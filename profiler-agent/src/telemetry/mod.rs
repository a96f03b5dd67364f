//! What the agent says about itself.
