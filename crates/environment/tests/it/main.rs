//! Real functions in real processes. Needs `node` (20 or newer) and `python3` (3.11 or newer) on the path.

mod custom;
mod failures;
mod late;
mod node;
mod python;
mod ranked;
mod streaming;
mod watched;
mod world;
