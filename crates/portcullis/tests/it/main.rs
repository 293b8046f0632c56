//! The real binary, driven from outside: its contract with scripts, and what it makes of hostile clients.

mod demo;
mod hostile;
mod lifecycle;
mod running;
