//! Execution environments: the processes functions run in.
//!
//! One environment is one process (with whatever it starts) that serves one revision of one function, one request at
//! a time, for its whole life. [`Supervisor`] keeps them: it starts, reuses, bounds, times out and reaps them, and
//! implements [`lambda::invoke::Run`].
//!
//! What is decided (who gets which environment, when one is started or killed) is the pure state machine in
//! [`state`]; what is said to a runtime is the pure codec in [`frame`], or, to one
//! that a function brings along, AWS's HTTP Runtime API (`runtime_api`); how a process comes to be is behind the trait
//! [`launch::Launch`]. [`Isolated`] gives every environment a sandbox of its own. **[`launch::Plain`] isolates
//! nothing**: functions run as the server's own user, with its files and its network. It is for single-tenant use and
//! for tests.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

mod clock;
pub mod egress;
pub mod frame;
mod freezer;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod invocation;
mod isolated;
pub mod launch;
mod log;
mod options;
pub mod package;
mod pool;
mod process;
mod runtime_api;
pub mod runtimes;
mod shaper;
mod spec;
pub mod state;
mod supervisor;
mod trees;

pub use isolated::Isolated;
pub use options::{
    Credentials, DeprecatedRuntimes, LogSink, NoCredentials, Options, RoleCredentials, Standbys, TracingLogs,
};
pub use supervisor::{Provisioned, RUNTIME_DIR, Supervisor, prepare, prepare_open};
