//! The real binary, driven from outside: its contract with scripts, and what it makes of hostile clients.

mod data_plane;
mod demo;
mod hostile;
mod lifecycle;
mod running;
mod weak;

// Shared with the tests of sandboxes, and what it makes calls of the host with.
use libc as _;
#[path = "../../../sandbox/tests/common/container.rs"]
mod container;
