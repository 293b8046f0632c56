//! Operations that stream or wait, one file each. Everything else is a pure change of state.

pub mod invoke;
pub mod logs;
pub mod lookup_events;
pub(crate) mod s3;
pub(crate) mod test_invoke;
