//! The real binary, driven from outside: its contract with scripts, and what it makes of hostile clients.

mod data_plane;
mod demo;
mod hostile;
mod lifecycle;
mod running;
mod weak;

#[path = "../../../sandbox/tests/common/container.rs"]
mod container;
