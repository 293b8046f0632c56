//! The control plane: verify, authorize, apply, commit, record, answer.
