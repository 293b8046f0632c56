//! Generated.
/// All services.
pub static SERVICES: &[&super::Service] = &[];
